"""Frames per second of the procedural renderer on one thread: python benchmarks/bench_render.py --size 240x320."""

from __future__ import annotations

import argparse
import time

import torch

from rgbd3d.data.synthrooms.render import default_renderer, render_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="240x320", help="height x width in pixels")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--frames-per-scene", type=int, default=8)
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    torch.set_num_threads(1)
    default_renderer()
    render_scene(0, 1, (height, width))
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(1, arguments.scenes + 1):
        render_scene(seed, arguments.frames_per_scene, (height, width))
    frames = arguments.scenes * arguments.frames_per_scene
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{height}x{width}: {frames / wall:.1f} frames/s, {frames / cpu:.1f} per second of CPU time ({frames} frames)"
    )


if __name__ == "__main__":
    main()
