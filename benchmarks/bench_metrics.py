"""What metrics cost beside the forward pass: at most 5 % of it is the aim, for 654 frames of 640 x 480.

Times the meters of a protocol of each task on one frame against a ViT with a linear head on the same frame; random
weights and labels, which cost the same as others. On a CPU it is processor time, which a busy machine leaves alone.

    python benchmarks/bench_metrics.py --size vit_tiny --frames 20 --threads 1
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rgbd3d.backbones.vit import SIZES
from rgbd3d.evaluation.metrics import DepthMeter, SemanticMeter
from rgbd3d.evaluation.metrics.depth import EIGEN_CROP, Scoring
from rgbd3d.evaluation.metrics.segmentation import BENCHMARK

HEIGHT, WIDTH, PATCH = 480, 640, 16
CLASSES = 40
FRAMES_OF_THE_TEST = 654


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="vit_tiny")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    draws = torch.Generator().manual_seed(0)
    frame = (1, HEIGHT, WIDTH)
    labels = torch.randint(0, CLASSES, frame, generator=draws).to(device)
    guesses = torch.randint(0, CLASSES, frame, generator=draws).to(device)
    labels[:, :20] = 255
    truth, depth = (1 + 3 * torch.rand(1, *frame, generator=draws).to(device) for _ in range(2))
    classes, metres = SemanticMeter(CLASSES, BENCHMARK), DepthMeter(Scoring(1e-3, 10.0, EIGEN_CROP))
    forward = model(options.size, device)

    steps: dict[str, Callable[[], object]] = {
        "forward": forward,
        "classes": lambda: classes.update(guesses, labels),
        "depth": lambda: metres.update(depth, truth),
    }
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(options.frames + 2):
        for name, step in steps.items():
            start = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if index >= 2:
                times[name].append(clock() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        share = 100 * seconds / medians["forward"]
        print(f"{name:<8}{1000 * seconds:9.2f} ms a frame {FRAMES_OF_THE_TEST * seconds:8.1f} s in all {share:7.2f} %")


def model(size: str, device: torch.device) -> Callable[[], Tensor]:
    """A forward pass of a plain ViT with a linear head."""
    from timm.models.vision_transformer import VisionTransformer

    width, depth, heads = SIZES[size]
    backbone = VisionTransformer(
        (HEIGHT, WIDTH), PATCH, embed_dim=width, depth=depth, num_heads=heads, num_classes=0, global_pool=""
    )
    network = nn.Sequential(backbone, nn.Linear(width, CLASSES)).to(device).eval()
    image = torch.randn(1, 3, HEIGHT, WIDTH, device=device)

    def forward() -> Tensor:
        with torch.inference_mode():
            return network(image)

    return forward


if __name__ == "__main__":
    main()
