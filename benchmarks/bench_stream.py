"""Frames per second and core from Parquet to prepared tensors, beside plain Pillow on the same bytes.

    python benchmarks/bench_stream.py FOLDER_OF_FRAMES

The frames are resized to each size and written to a temporary Parquet folder. Times are CPU times of one thread, the
best of several passes, so that other load on the machine disturbs little.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.nn import functional as F

from rgbd3d.cards import Augment
from rgbd3d.data.base import Source
from rgbd3d.data.loader import make_loader
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.sources import open_source
from rgbd3d.types import RGBDSample

FRAMES = 128
BATCH = 32
PASSES = 3
SIZES = {(120, 160): (108, 144), (480, 640): (240, 320)}
AUGMENTS = {
    "prepared, only resized": Augment(),
    "crop, flip": Augment(crop_scale=(0.5, 1.0), flip=0.5),
    "crop, flip, colour, blur, holes": Augment(
        crop_scale=(0.5, 1.0), flip=0.5, color_jitter=0.3, blur=0.1, depth_holes=0.1
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", help="source of frames, see rgbd3d.data.sources.open_source")
    source = open_source(parser.parse_args().frames, columns=["image", "depth"])
    torch.set_num_threads(1)
    for size, prepared in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            write_frames(source, size, Path(folder))
            report(Path(folder), size, prepared)


def write_frames(source: Source, size: tuple[int, int], folder: Path) -> None:
    chosen = np.linspace(0, len(source) - 1, FRAMES).astype(int)
    rows = (encode_sample(resized(source[int(index)], size)) for index in chosen)
    write_shard(folder / "train-00000.parquet", rows)


def resized(frame: RGBDSample, size: tuple[int, int]) -> RGBDSample:
    image = F.interpolate(frame["image"][None], size, mode="bilinear", antialias=True)[0]
    return {"image": image, "depth": F.interpolate(frame["depth"][None], size, mode="nearest")[0]}


def report(folder: Path, size: tuple[int, int], prepared: tuple[int, int]) -> None:
    stored = pq.read_table(folder / "train-00000.parquet").to_pylist()
    source = open_source(folder)
    image, depth = (sum(len(row[column]["bytes"]) for row in stored) / FRAMES / 1000 for column in ("image", "depth"))
    print(f"{size[1]} x {size[0]}, JPEG {image:.0f} kB, depth {depth:.0f} kB")
    line("Pillow alone, image and depth", lambda: [decode(row) for row in stored])
    line("source, image and depth", lambda: [source[index] for index in range(FRAMES)])
    for name, augment in AUGMENTS.items():
        loader = make_loader(source, augment, prepared, batch_size=BATCH, seed=0)
        line(f"{name}, {prepared[1]} x {prepared[0]}", lambda loader=loader: list(islice(loader, FRAMES // BATCH)))


def decode(row: dict) -> list[np.ndarray]:
    return [np.array(Image.open(io.BytesIO(row[column]["bytes"]))) for column in ("image", "depth")]


def line(name: str, work: Callable[[], object]) -> None:
    work()
    seconds = min(cpu_seconds(work) for _ in range(PASSES))
    print(f"  {name:<52} {FRAMES / seconds:7.0f} frames/s   {1000 * seconds / FRAMES:6.2f} ms/frame")


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
