"""Images per second of backbone, segmentation and depth models against the same architecture of timm and transformers.

Ours are the models that `rgbd3d.create_model` gives. The others are built straight from the library: timm's
VisionTransformer, transformers' UperNetForSemanticSegmentation on its BEiT (without relative positions a plain ViT) and
its DPTForDepthEstimation. Both run in turns in one process, changing who goes first, so that a busy machine slows both
alike; the ratio is the median over pairs, and 0.97 or more is the aim. That the work is the same is seen from the
numbers of operations beside it. Last comes what metrics cost, see bench_metrics.py. On a CPU all times are processor
time, which a busy machine leaves alone.

    python benchmarks/bench_inference.py --card mask3d-vitt-synthrooms --side 384 --rounds 9 --threads 1
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import bench_metrics
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BeitConfig,
    DPTConfig,
    DPTForDepthEstimation,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

import rgbd3d
from rgbd3d.backbones.vit import SIZES, timm_config
from rgbd3d.cards import Backbone
from rgbd3d.evaluation.tables import as_text

AIM = 0.97
BATCHES = (1, 8)
CLASSES = 40
SAME_WORK = 0.02  # relative difference of operations that is still called the same architecture

Forward = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", default="mask3d-vitt-synthrooms", help="gives size and patch of the backbone")
    parser.add_argument("--side", type=int, default=384, help="of the square images, a multiple of twice the patch")
    parser.add_argument("--rounds", type=int, default=9, help="timed pairs, after one to warm up")
    parser.add_argument("--frames", type=int, default=9, help="frames that the metrics are timed on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    backbone = rgbd3d.get_card(options.card).backbone
    if options.side % (2 * backbone.patch_size):
        parser.error(
            f"--side {options.side} is no multiple of twice the patch of {options.card}, {backbone.patch_size}"
        )
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    print(f"{backbone.architecture}, patch {backbone.patch_size}, {options.side} x {options.side}, {name}\n")

    rows = [("model", "against", "batch", "GFLOP", "theirs", "images/s", "theirs", "ratio")]
    with torch.inference_mode():
        for model, (against, ours, theirs) in pairs(options.card, backbone, options.side, device).items():
            for batch in BATCHES:
                images = torch.randn(batch, 3, options.side, options.side, device=device)
                rows.append((model, against, str(batch), *compare(ours, theirs, images, options.rounds)))
                print(*rows[-1], sep="  ", flush=True)  # the whole takes minutes
    print(as_text(rows))

    print(f"\nmetrics beside the forward pass of one frame of {bench_metrics.WIDTH} x {bench_metrics.HEIGHT}\n")
    print(as_text(bench_metrics.table(bench_metrics.measure(backbone.architecture, options.frames, device))))


def pairs(card: str, backbone: Backbone, side: int, device: torch.device) -> dict[str, tuple[str, Forward, Forward]]:
    """Model -> what it is compared with, its forward pass, and that of the other."""
    plain = rgbd3d.create_model(card)
    segmenter = rgbd3d.create_model(card, "semantic-segmentation", head="upernet", num_labels=CLASSES)
    depth = rgbd3d.create_model(card, "depth-estimation", head="dpt")
    for model in (plain, segmenter, depth):
        model.to(device).eval()

    reference = timm_config(backbone)
    by_timm: Any = timm.create_model(reference["architecture"], **reference["model_args"])
    by_timm.load_state_dict(plain.backbone.state_dict())
    upernet = upernet_of_transformers(backbone, side, segmenter.model.objective.head.width)
    dpt = dpt_of_transformers(backbone, side, depth.model.objective.head)
    for module in (by_timm, upernet, dpt):
        module.to(device).eval()

    def logits(images: Tensor) -> Tensor:
        """At the size of the images, as transformers' model gives them."""
        size = (images.shape[-2], images.shape[-1])
        return F.interpolate(segmenter(images).logits, size, mode="bilinear", align_corners=False)

    return {
        "backbone": ("timm", lambda images: plain(images).last_hidden_state, by_timm.forward_features),
        "segmentation, UPerNet": ("transformers", logits, lambda images: upernet(images).logits),
        "depth, DPT": (
            "transformers",
            lambda images: depth(images).predicted_depth,
            lambda images: dpt(images).predicted_depth,
        ),
    }


def vit_arguments(backbone: Backbone, side: int) -> dict[str, Any]:
    """A ViT in transformers' words."""
    dim, depth, heads = SIZES[backbone.architecture]
    return {
        "hidden_size": dim,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": 4 * dim,
        "image_size": side,
        "patch_size": backbone.patch_size,
    }


def four_levels(depth: int) -> list[int]:
    """Numbers of the last blocks of the four quarters, from 1."""
    return [depth * quarter // 4 for quarter in range(1, 5)]


def upernet_of_transformers(backbone: Backbone, side: int, width: int) -> nn.Module:
    vit = BeitConfig(
        **vit_arguments(backbone, side),
        use_absolute_position_embeddings=True,
        use_relative_position_bias=False,
        layer_scale_init_value=0.0,
        out_indices=four_levels(SIZES[backbone.architecture].depth),
        add_fpn=True,
        reshape_hidden_states=True,
    )
    config = UperNetConfig(backbone_config=vit, hidden_size=width, num_labels=CLASSES, use_auxiliary_head=False)
    return UperNetForSemanticSegmentation(config)


def dpt_of_transformers(backbone: Backbone, side: int, head: Any) -> nn.Module:
    config = DPTConfig(
        **vit_arguments(backbone, side),
        backbone_out_indices=[level - 1 for level in four_levels(SIZES[backbone.architecture].depth)],
        neck_hidden_sizes=list(head.level_dims),
        fusion_hidden_size=head.feature_dim,
        readout_type="ignore",
        use_bias_in_fusion_residual=True,
    )
    return DPTForDepthEstimation(config)


def compare(ours: Forward, theirs: Forward, images: Tensor, rounds: int) -> tuple[str, ...]:
    """Operations and images per second of both, and the ratio of the latter.

    Raises:
        RuntimeError: The two do not compute the same.
    """
    shapes = ours(images).numel(), theirs(images).numel()
    work = operations(ours, images), operations(theirs, images)
    if abs(work[0] / work[1] - 1) > SAME_WORK or abs(shapes[0] / shapes[1] - 1) > SAME_WORK:
        raise RuntimeError(f"not the same architecture: {work} operations, {shapes} numbers")
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds + 1):
        turns = [(times[0], ours), (times[1], theirs)]
        for kept, forward in turns if index % 2 else reversed(turns):
            kept.append(seconds(forward, images))
    pairs_of_times = [*zip(*times, strict=True)][1:]
    speeds = [len(images) / statistics.median(values[1:]) for values in times]
    ratio = statistics.median(other / mine for mine, other in pairs_of_times)
    verdict = "" if ratio >= AIM else f" (below {AIM})"
    return (*(f"{count / 1e9:.2f}" for count in work), *(f"{speed:.2f}" for speed in speeds), f"{ratio:.3f}{verdict}")


def operations(forward: Forward, images: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        forward(images)
    return counter.get_total_flops()


def seconds(forward: Forward, images: Tensor) -> float:
    """Time of one forward pass."""
    if images.device.type != "cuda":
        start = time.process_time()
        forward(images)
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    forward(images)
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
