"""Frames per second and core: from Parquet to samples and prepared tensors, beside plain Pillow and OpenCV.

    python benchmarks/bench_stream.py FOLDER_OF_FRAMES

The frames are resized to each size and written to temporary Parquet folders, once with each depth encoding. Times are
CPU times of one thread, the best of several passes, so that other load on the machine disturbs little. The plain
decoders stop at interleaved uint8 colour and uint16 depth; a sample has planar colour and depth in metres. Each frame
is let go before the next one is made, as in a stream: keeping them all would mostly measure fresh memory.
"""

import argparse
import io
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.nn import functional as F

from rgbd3d.cards import Augment
from rgbd3d.data.base import Source
from rgbd3d.data.codec import DepthEncoding
from rgbd3d.data.loader import make_loader
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.sources import open_source
from rgbd3d.types import RGBDSample

try:
    import cv2
except ImportError:
    cv2 = None

FRAMES = 128
BATCH = 32
PASSES = 5
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
    if cv2 is not None:
        cv2.setNumThreads(1)
    for size, prepared in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            for encoding in get_args(DepthEncoding):
                write_frames(source, size, Path(folder) / encoding, encoding)
            print(f"{size[1]} x {size[0]}")
            report(Path(folder), prepared)


def write_frames(source: Source, size: tuple[int, int], folder: Path, encoding: DepthEncoding) -> None:
    chosen = np.linspace(0, len(source) - 1, FRAMES).astype(int)
    rows = (encode_sample(resized(source[int(index)], size), depth_encoding=encoding) for index in chosen)
    write_shard(folder / "train-00000.parquet", rows)


def resized(frame: RGBDSample, size: tuple[int, int]) -> RGBDSample:
    image = F.interpolate(frame["image"][None], size, mode="bilinear", antialias=True)[0]
    return {"image": image, "depth": F.interpolate(frame["depth"][None], size, mode="nearest")[0]}


def report(folder: Path, prepared: tuple[int, int]) -> None:
    stored = {name: files(folder / name) for name in get_args(DepthEncoding)}
    line("Pillow, JPEG alone", lambda: (with_pillow(image) for image, _ in stored["png"]))
    for name, pairs in stored.items():
        line(f"Pillow, JPEG + {sizes(name, pairs)}", lambda pairs=pairs: (with_pillow(*pair) for pair in pairs))
    if cv2 is not None:  # its wheels lack zstd
        line("OpenCV, JPEG + PNG", lambda: (with_opencv(*pair) for pair in stored["png"]))
    for name in stored:
        source = open_source(folder / name)
        line(f"source, JPEG + {name.upper()}", lambda source=source: (source[index] for index in range(FRAMES)))
        for title, augment in AUGMENTS.items():
            loader = make_loader(source, augment, prepared, batch_size=BATCH, seed=0)
            line(f"  {title}, {prepared[1]} x {prepared[0]}", lambda loader=loader: islice(loader, FRAMES // BATCH))


def files(folder: Path) -> list[tuple[bytes, bytes]]:
    rows = pq.read_table(folder / "train-00000.parquet").to_pylist()
    return [(row["image"]["bytes"], row["depth"]["bytes"]) for row in rows]


def sizes(name: str, pairs: list[tuple[bytes, bytes]]) -> str:
    image, depth = (sum(map(len, one)) / FRAMES / 1000 for one in zip(*pairs, strict=True))
    return f"{name.upper()} ({image:.0f} + {depth:.0f} kB)"


def with_pillow(*data: bytes) -> list[np.ndarray]:
    return [np.array(Image.open(io.BytesIO(one))) for one in data]


def with_opencv(*data: bytes) -> list[np.ndarray]:
    return [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_UNCHANGED) for one in data]


def line(name: str, work: Callable[[], Iterable[object]]) -> None:
    cpu_seconds(work)
    seconds = min(cpu_seconds(work) for _ in range(PASSES))
    print(f"  {name:<52} {FRAMES / seconds:7.0f} frames/s   {1000 * seconds / FRAMES:6.2f} ms/frame")


def cpu_seconds(work: Callable[[], Iterable[object]]) -> float:
    start = time.process_time()
    deque(work(), maxlen=0)
    return time.process_time() - start


if __name__ == "__main__":
    main()
