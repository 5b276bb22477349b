"""Writes the files of NYU Depth V2 as its authors' MATLAB wrote them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import scipy.io

USERBLOCK = 512
CLASSES = {"double": "f8", "single": "f4", "uint8": "u1", "uint16": "u2"}


def write_mat73(path: Path, arrays: Mapping[str, np.ndarray], cells: Mapping[str, Sequence[str]], **storage) -> None:
    """A MATLAB 7.3 file; `arrays` have the axes of the file, the reverse of MATLAB's.

    `storage` goes to h5py's `create_dataset`; without it, one compressed chunk per row.
    """
    with h5py.File(path, "w", userblock_size=USERBLOCK) as file:
        for name, values in arrays.items():
            options = storage or {"chunks": (1, *values.shape[1:]), "compression": "gzip"}
            array = file.create_dataset(name, data=values, **options)
            (matlab_class,) = (key for key, code in CLASSES.items() if values.dtype == code)
            array.attrs["MATLAB_class"] = np.bytes_(matlab_class)
        for name, texts in cells.items():
            write_cells(file, name, texts)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)


def write_cells(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    cells = file.create_dataset(name, (1, len(texts)), h5py.ref_dtype)
    cells.attrs["MATLAB_class"] = np.bytes_("cell")
    for index, text in enumerate(texts):
        if text:
            units = np.frombuffer(text.encode("utf-16-le"), "u2")[:, None]
            item = file.create_dataset(f"#refs#/{name}{index}", data=units)
        else:
            item = file.create_dataset(f"#refs#/{name}{index}", data=np.zeros(2, "u8"))
            item.attrs["MATLAB_empty"] = np.uint8(1)
        item.attrs["MATLAB_class"] = np.bytes_("char")
        cells[0, index] = item.ref


def write_splits(folder: Path, train: Sequence[int], test: Sequence[int]) -> None:
    columns = {"trainNdxs": train, "testNdxs": test}
    scipy.io.savemat(
        folder / "splits.mat",
        {name: np.array(numbers, "u2")[:, None] for name, numbers in columns.items()},
        do_compression=True,
    )


def real_frames(rgbd: Path) -> dict[str, np.ndarray]:
    """Arrays of three real frames (official numbers 19, 494 and 1031) with all variables of the labelled set.

    Pixels, filled depth and classes are real. Each of the 40 classes is written as the first of the 894 that map to it;
    holes, readings of 10 m and instances are made up.
    """
    with h5py.File(rgbd / "formats/constructed/nyu_depth_v2_labeled_3frames.mat") as file:
        images, depths, labels40 = (file[name][()] for name in ("images", "depths", "labels"))
    class40 = scipy.io.loadmat(rgbd / "formats/nyuv2_meta/classMapping40.mat")["mapClass"].ravel()
    first894 = np.array([0, *(1 + np.flatnonzero(class40 == label)[0] for label in range(1, 41))], "u2")
    measured = depths.copy()
    measured[:, 100:140, 200:300] = 0
    measured[:, 500:520, 20:60] = 10
    instances = np.zeros(depths.shape, "u1")
    instances[:, :320], instances[:, 320:600] = 1, 2
    return {
        "images": images,
        "depths": depths,
        "rawDepths": measured,
        "labels": first894[labels40],
        "instances": instances,
    }


REAL_NUMBERS = (19, 494, 1031)
SCENES = ("bedroom_0004", "office_0011", "bedroom_0004")
"""Invented: the frames came without the names of their scenes."""


def write_labeled(folder: Path, arrays: Mapping[str, np.ndarray], **storage) -> Path:
    """The labelled set with frames 1 and 2 for training and frame 3 for testing."""
    path = folder / "nyu_depth_v2_labeled.mat"
    sources = [f"{scene}/d-1294886362.665769-31432557{index}.pgm" for index, scene in enumerate(SCENES)]
    write_mat73(path, arrays, {"scenes": SCENES, "rawDepthFilenames": sources}, **storage)
    write_splits(folder, [1, 2], [3])
    return path
