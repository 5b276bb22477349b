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
from rgbd3d.evaluation.tables import Rows, as_text

HEIGHT, WIDTH, PATCH = 480, 640, 16
CLASSES = 40
FRAMES_OF_THE_TEST = 654
FORWARD = "forward pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="vit_tiny")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(as_text(table(measure(options.size, options.frames, torch.device(options.device)))))


def measure(size: str, frames: int, device: torch.device) -> dict[str, float]:
    """Seconds of a forward pass and of the metrics of each task on one frame, median over `frames` of them."""
    draws = torch.Generator().manual_seed(0)
    frame = (1, HEIGHT, WIDTH)
    labels = torch.randint(0, CLASSES, frame, generator=draws).to(device)
    guesses = torch.randint(0, CLASSES, frame, generator=draws).to(device)
    labels[:, :20] = 255
    truth, depth = (1 + 3 * torch.rand(1, *frame, generator=draws).to(device) for _ in range(2))
    classes, metres = SemanticMeter(CLASSES, BENCHMARK), DepthMeter(Scoring(1e-3, 10.0, EIGEN_CROP))
    steps: dict[str, Callable[[], object]] = {
        FORWARD: model(size, device),
        "metrics of classes": lambda: classes.update(guesses, labels),
        "metrics of depth": lambda: metres.update(depth, truth),
    }
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(frames + 2):
        for name, step in steps.items():
            start = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if index >= 2:
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def table(times: dict[str, float]) -> Rows:
    """What `measure` found."""
    rows = [("", "ms a frame", f"s for {FRAMES_OF_THE_TEST} frames", "of the forward pass")]
    for name, seconds in times.items():
        share = 100 * seconds / times[FORWARD]
        rows.append((name, f"{1000 * seconds:.2f}", f"{FRAMES_OF_THE_TEST * seconds:.1f}", f"{share:.2f} %"))
    return rows


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
