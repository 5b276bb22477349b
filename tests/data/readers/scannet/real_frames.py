"""ScanNet's two layouts, holding real frames with real labels: NYUv2's, since their ids are ScanNet's, too."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.readers.frame_files import matrix_text, png
from tests.data.readers.scannet_files import png_bytes, raw_ids, sens_bytes, write_zip

TRAIN, VAL, TEST = "scene0000_00", "scene0011_01", "scene0707_00"
FRAMES = (3, 19, 494)
SIZE, LARGE = (240, 320), (484, 648)
INTRINSICS = np.array([[288.9, 0, 159.5], [0, 288.9, 119.5], [0, 0, 1]], np.float32)
LOST = np.full((4, 4), -np.inf)


def pose(number: int) -> np.ndarray:
    matrix = np.eye(4)
    angle = 0.1 * number
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [number, 2, 1]
    return matrix


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def enlarged(labels: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(labels).resize(LARGE[::-1], Image.Resampling.NEAREST))


def instances(labels: np.ndarray) -> np.ndarray:
    """Two objects per class: its left and its right part."""
    right = np.arange(labels.shape[1]) >= labels.shape[1] // 2
    return np.where(labels > 0, 2 * labels.astype(int) - 1 + right, 0)


def write_stream(folder: Path, nyu: Path, labelled: bool = True, large: bool = True) -> None:
    frames, label_files, instance_files = [], {}, {}
    for number, name in enumerate(FRAMES):
        color = Image.open(nyu / f"color/{name:04d}.jpg")
        data = jpeg(color.resize(LARGE[::-1])) if large else (nyu / f"color/{name:04d}.jpg").read_bytes()
        frames.append((pose(number), data, png(nyu / f"depth/{name:04d}.png")))
        labels = enlarged(png(nyu / f"label40/{name:04d}.png"))
        label_files[f"label-filt/{number}.png"] = png_bytes(raw_ids(labels))
        instance_files[f"instance-filt/{number}.png"] = png_bytes(instances(labels).astype(np.uint8))
    folder.mkdir(parents=True)
    (folder / f"{folder.name}.sens").write_bytes(sens_bytes(frames, LARGE if large else SIZE, INTRINSICS))
    if labelled:
        write_zip(folder / f"{folder.name}_2d-label-filt.zip", label_files)
        write_zip(folder / f"{folder.name}_2d-instance-filt.zip", instance_files)


def write_export(folder: Path, nyu: Path) -> None:
    for kind in ("color", "depth", "pose", "label", "instance"):
        (folder / kind).mkdir(parents=True)
    (folder / "intrinsics_depth.txt").write_text(matrix_text(np.pad(INTRINSICS, ((0, 1), (0, 1)))))
    for index, name in enumerate(FRAMES):
        number = f"{100 * index:06d}"
        shutil.copy(nyu / f"color/{name:04d}.jpg", folder / f"color/{number}.jpg")
        shutil.copy(nyu / f"depth/{name:04d}.png", folder / f"depth/{number}.png")
        (folder / f"pose/{number}.txt").write_text(matrix_text(pose(index)))
        labels = png(nyu / f"label40/{name:04d}.png")
        (folder / f"label/{number}.png").write_bytes(png_bytes(labels))
        numbered = 1000 * labels.astype(np.uint16) + 1 + (instances(labels) + 1) % 2
        (folder / f"instance/{number}.png").write_bytes(png_bytes(numbered.astype(np.uint16)))


def train_ids(nyu: Path, name: int, space: str, golden: Path) -> np.ndarray:
    """Labels of a frame by the reference tables."""
    maps = json.loads((golden / "label_maps.json").read_text())
    zero = np.arange(41) if space == "nyu40" else np.array(maps["nyu40_to_scannet20_train_id_with_void0"])
    labels = zero[png(nyu / f"label40/{name:04d}.png")]
    return np.where(labels == 0, 255, labels - 1)
