"""Frames per second of the procedural renderer on one thread: python benchmarks/bench_render.py --size 320x240."""

from __future__ import annotations

import argparse
import time

import torch

from rgbd3d.cli_parsing import size
from rgbd3d.data.synthrooms.render import default_renderer, render_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=size, default=(240, 320), metavar="WxH", help="default: 320x240")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--frames-per-scene", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    default_renderer()
    render_scene(0, 1, arguments.size)
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(1, arguments.scenes + 1):
        render_scene(seed, arguments.frames_per_scene, arguments.size)
    frames = arguments.scenes * arguments.frames_per_scene
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    height, width = arguments.size
    print(
        f"{width}x{height}: {frames / wall:.1f} frames/s, {frames / cpu:.1f} per second of CPU time ({frames} frames)"
    )


if __name__ == "__main__":
    main()
