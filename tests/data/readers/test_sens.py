import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.sens import read_sens, read_sens_header
from tests.data.readers.mutations import assert_survives
from tests.data.readers.scannet_files import sens_bytes

NAME_AT, DEPTH_CAMERA_AT = 12, 12 + 15 + 128
CODECS_AT = 12 + 15 + 256
SIZES_AT, SCALE_AT, COUNT_AT = CODECS_AT + 8, CODECS_AT + 24, CODECS_AT + 28
FRAME_AT = COUNT_AT + 8
COLOR_BYTES_AT, DEPTH_BYTES_AT = FRAME_AT + 80, FRAME_AT + 88


@pytest.fixture(scope="module")
def redkitchen(rgbd_frames: Path) -> Path:
    return rgbd_frames / "formats" / "constructed" / "redkitchen_6frames.sens"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three frames of 80 x 60."""
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    jpeg = codec.encode_color(torch.from_numpy(smooth).permute(2, 0, 1))
    depth = (1000 + 2000 * rng.random((60, 80))).astype(np.uint16)
    path = tmp_path / "small.sens"
    frames = [(np.eye(4), jpeg, depth + number) for number in range(3)]
    path.write_bytes(sens_bytes(frames, (60, 80), np.array([[70, 0, 40], [0, 70, 30], [0, 0, 1]])))
    return path


def read_all(path: Path) -> int:
    count = 0
    for header, frame in read_sens(path):
        frame.decode_depth(header)
        codec.decode_color(frame.color, frame.where)
        count += 1
    return count


def test_a_file_is_read_as_its_layout_says(redkitchen: Path) -> None:
    data = redkitchen.read_bytes()
    at = 12 + struct.unpack_from("<Q", data, 4)[0]
    depth_camera = np.frombuffer(data, "<f4", 16, at + 128).reshape(4, 4)
    width, height, columns, rows, scale, count = struct.unpack_from("<4IfQ", data, at + 264)
    header = read_sens_header(redkitchen)
    np.testing.assert_array_equal(header.intrinsics, depth_camera[:3, :3])
    assert (header.color_size, header.depth_size) == ((height, width), (rows, columns)) == ((480, 640), (480, 640))
    assert (header.units_per_metre, header.frames) == (scale, count) == (1000, 6)

    at += 264 + 28
    for index, (_, frame) in enumerate(read_sens(redkitchen)):
        color, depth = struct.unpack_from("<2Q", data, at + 80)
        assert frame.index == index
        np.testing.assert_array_equal(frame.pose.ravel(), np.frombuffer(data, "<f4", 16, at))
        assert frame.color == data[at + 96 : at + 96 + color]
        at += 96 + color
        millimetres = np.frombuffer(zlib.decompress(data[at : at + depth]), "<u2").reshape(rows, columns)
        np.testing.assert_array_equal(frame.decode_depth(header)[0].numpy(), millimetres.astype(np.float32) / 1000)
        at += depth
    assert index == 5
    assert data[at:] == bytes(8), "no IMU records"


def test_a_stride_passes_over_frames(redkitchen: Path) -> None:
    everything = [frame for _, frame in read_sens(redkitchen)]
    some = [frame for _, frame in read_sens(redkitchen, stride=4)]
    assert [frame.index for frame in some] == [0, 4]
    assert [frame.color for frame in some] == [everything[0].color, everything[4].color]


def test_frames_are_read_one_at_a_time(redkitchen: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.sens"
    path.write_bytes(redkitchen.read_bytes()[:-1000])
    frames = read_sens(path)
    assert [frame.index for _, frame in itertools.islice(frames, 5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match=r"cut.sens at byte \d+: depth of frame 5 would need"):
        next(frames)


def patch(path: Path, at: int, layout: str, *values: float) -> Path:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, at, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("at", "layout", "values", "message"),
    [
        (0, "<I", (3,), "version 3, only version 4"),
        (4, "<Q", (2**63,), "name of 9223372036854775808 bytes"),
        (DEPTH_CAMERA_AT, "<f", (-1,), "not a pinhole camera"),
        (DEPTH_CAMERA_AT, "<f", (float("nan"),), "not a pinhole camera"),
        (CODECS_AT, "<2i", (0, 1), "only JPEG and zlib"),
        (CODECS_AT, "<2i", (2, 2), "only JPEG and zlib"),
        (SIZES_AT, "<2I", (2**31, 2**31), "pictures of 2147483648 x 2147483648 pixels"),
        (SIZES_AT + 8, "<2I", (0, 60), "pictures of 0 x 60 pixels"),
        (SCALE_AT, "<f", (0,), "0.0 depth units per metre"),
        (SCALE_AT, "<f", (float("nan"),), "nan depth units per metre"),
        (COUNT_AT, "<Q", (2**60,), "1152921504606846976 frames cannot be in"),
        (COUNT_AT, "<Q", (0,), "0 frames cannot be in"),
    ],
)
def test_an_impossible_header_is_refused(small: Path, at: int, layout: str, values: tuple, message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)small.sens at byte \d+.*{message}"):
        read_sens_header(patch(small, at, layout, *values))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (COLOR_BYTES_AT, 2**62, "colour of 4611686018427387904 and depth of"),
        (DEPTH_BYTES_AT, 2**25, "depth of frame 0 would need 33554432 bytes"),
    ],
)
def test_a_frame_of_an_absurd_size_is_refused(small: Path, at: int, value: int, message: str) -> None:
    with pytest.raises(DataError, match=rf"small.sens at byte \d+.*{message}"):
        read_all(patch(small, at, "<Q", value))


def rewritten(path: Path, depth: np.ndarray | bytes, units_per_metre: float = 1000) -> Path:
    """One frame of 80 x 60 with another depth, or with these bytes in its place."""
    _, frame = next(read_sens(path))
    pixels = np.ones((60, 80), np.uint16) if isinstance(depth, bytes) else depth
    data = sens_bytes([(np.eye(4), frame.color, pixels)], (60, 80), np.diag([70, 70, 1]), units_per_metre)
    if isinstance(depth, bytes):
        packed = len(zlib.compress(pixels.tobytes()))
        data = bytearray(data[: -8 - packed] + depth)
        struct.pack_into("<Q", data, DEPTH_BYTES_AT, len(depth))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (b"PNG, you say?", "not zlib data"),
        (zlib.compress(bytes(100)), "fewer than the 9600 bytes"),
        (zlib.compress(bytes(2**24)), "more than the 9600 bytes"),
    ],
)
def test_depth_of_another_size_or_kind_is_refused(small: Path, depth: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"small.sens at byte \d+, frame 0, depth: .*{message}"):
        read_all(rewritten(small, depth))


def test_depth_in_another_unit_is_refused(small: Path) -> None:
    with pytest.raises(DataError, match=r"small.sens at byte \d+, frame 0.*median depth would be 2000 m at 1 units"):
        read_all(rewritten(small, np.full((60, 80), 2000, np.uint16), units_per_metre=1))


def test_damaged_files_are_read_or_refused(small: Path, tmp_path: Path) -> None:
    assert read_all(small) == 3
    (tmp_path / "work").mkdir()
    assert_survives(small, 100, read_all, tmp_path / "work")


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert_survives(small, 4000, read_all, tmp_path / "work", seed=1)
