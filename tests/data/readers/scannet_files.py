"""ScanNet's files, written from real pixels and points as the official documentation describes them."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from rgbd3d.data.label_spaces import class_names

TSV = "scannetv2-labels.combined.tsv"
SPARE_ID = 900
"""Raw id of a category of no NYU40 class."""


def raw_ids(nyu40: np.ndarray) -> np.ndarray:
    """Raw label ids (uint16) of NYU40 ids in the tsv written here; above 255, as many of the real ones are."""
    return np.where(nyu40 > 0, 300 + 7 * nyu40.astype(np.uint16), 0).astype(np.uint16)


def write_tsv(raw: Path) -> None:
    """The tsv with one category per NYU40 class, named as it is, and one without."""
    raw.mkdir(parents=True, exist_ok=True)
    names, numbers = class_names("nyu40"), raw_ids(np.arange(1, 41)).tolist()
    lines = ["id\traw_category\tcategory\tcount\tnyu40id\teigen13id"]
    lines += [
        f"{number}\t{name}\t{name}\t1\t{i}\t" for i, (number, name) in enumerate(zip(numbers, names, strict=True), 1)
    ]
    lines += [f"{SPARE_ID}\tnothing known\tnothing known\t1\t\t"]
    (raw / TSV).write_text("\n".join(lines) + "\n")


def write_lists(folder: Path, train: Iterable[str], val: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scannetv2_train.txt").write_text("\n".join(train) + "\n")
    (folder / "scannetv2_val.txt").write_text("\n".join(val) + "\n")


def sens_bytes(
    frames: Iterable[tuple[np.ndarray, bytes, np.ndarray]],
    color_size: tuple[int, int],
    intrinsics: np.ndarray,
    units_per_metre: float = 1000,
) -> bytes:
    """A `.sens` file of (pose, JPEG file, depth in its units) frames and no IMU records."""
    frames = list(frames)
    camera = np.eye(4, dtype=np.float32)
    camera[:3, :3] = intrinsics
    identity = np.eye(4, dtype=np.float32)
    name = b"StructureSensor"
    rows, columns = frames[0][2].shape
    data = struct.pack("<IQ", 4, len(name)) + name
    data += b"".join(matrix.astype("<f4").tobytes() for matrix in (2 * camera, identity, camera, identity))
    data += struct.pack("<2i4IfQ", 2, 1, color_size[1], color_size[0], columns, rows, units_per_metre, len(frames))
    for number, (pose, color, depth) in enumerate(frames):
        packed = zlib.compress(depth.astype("<u2").tobytes())
        data += np.asarray(pose, "<f4").tobytes() + struct.pack("<4Q", number, number, len(color), len(packed))
        data += color + packed
    return data + struct.pack("<Q", 0)


def png_bytes(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def write_ply(path: Path, vertex: Mapping[str, np.ndarray], faces: np.ndarray | None, order: str = "<") -> None:
    """A binary PLY file; faces are (F, corners)."""
    names = {"f4": "float", "u1": "uchar", "u2": "ushort", "i4": "int"}
    format_name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    lines = ["ply", f"format {format_name} 1.0", "comment VCGLIB generated"]
    count = len(next(iter(vertex.values())))
    table = np.zeros(count, [(name, order + values.dtype.str[1:]) for name, values in vertex.items()])
    lines.append(f"element vertex {count}")
    for name, values in vertex.items():
        table[name] = values
        lines.append(f"property {names[values.dtype.str[1:]]} {name}")
    data = table.tobytes()
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        corners = np.zeros(len(faces), [("n", "u1"), ("i", order + "i4", faces.shape[1])])
        corners["n"], corners["i"] = faces.shape[1], faces
        data += corners.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*lines, "end_header\n"]).encode() + data)


def write_scene(folder: Path, vertex: Mapping[str, np.ndarray], faces: np.ndarray, labelled: bool = True) -> None:
    """Files of vertices with a NYU40 `label` and a 1-based `instance`; each object has three segments."""
    name = folder.name
    mesh = {key: values for key, values in vertex.items() if key not in ("label", "instance")}
    mesh["alpha"] = np.full(len(mesh["x"]), 255, np.uint8)
    write_ply(folder / f"{name}_vh_clean_2.ply", mesh, faces)
    if not labelled:
        return
    label, instance = vertex["label"].astype(int), vertex["instance"].astype(int)
    segments = 10 * instance + np.arange(len(label)) % 3 + 10_000
    groups = [
        {
            "id": number - 1,
            "objectId": number - 1,
            "segments": np.unique(segments[instance == number]).tolist(),
            "label": class_names("nyu40")[label[instance == number][0] - 1],
        }
        for number in np.unique(instance[instance > 0]).tolist()
    ]
    (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(
        json.dumps({"params": {"kThresh": "0.01"}, "sceneId": name, "segIndices": segments.tolist()})
    )
    (folder / f"{name}.aggregation.json").write_text(
        json.dumps({"sceneId": f"scannet.{name}", "appId": "Aggregator.v2", "segGroups": groups})
    )
