"""Depth as TIFF: lossless, read by Pillow and `datasets` as it is, safe whatever the bytes say."""

import io
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from rgbd3d.data import codec, tiff
from rgbd3d.data.codec import DataError
from rgbd3d.data.schema import decode_row, encode_sample, write_shard
from tests.data.readers.mutations import mutations

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (1500 + 3 * y + 2 * x + 400 * (x > width // 2)).astype(np.uint16)


def depth_of(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(1000))[None]


def with_field(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + struct.pack("<I", value) + data[position + 4 :]


@pytest.mark.parametrize("pixels", [RAMP, smooth(48, 64), smooth(1, 1), smooth(3, 7), smooth(5, 641)])
def test_pillow_reads_the_same_pixels(pixels):
    data = tiff.encode(pixels)
    assert np.array_equal(tiff.decode(data, pixels.size), pixels)
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.mode) == ("TIFF", "I;16")
    assert np.array_equal(np.array(picture), pixels)


def test_both_encodings_give_the_same_depth():
    depth = depth_of(RAMP)
    files = [codec.encode_depth(depth, encoding) for encoding in ("png", "tiff")]
    assert [data[:4] for data in files] == [b"\x89PNG", tiff.MAGIC]
    for data in files:
        assert torch.equal(codec.decode_depth(data, "x"), depth)
    with pytest.raises(ValueError, match=r"no depth encoding 'exr'; there are \['png', 'tiff'\]"):
        codec.encode_depth(depth, "exr")


def test_saturated_pixels_and_units():
    pixels = smooth(8, 8)
    pixels[0, :2] = 0, 65535
    depth = codec.decode_depth(tiff.encode(pixels), "x", units_per_metre=5000, saturated=65535)
    assert depth[0, 0, :2].tolist() == [0, 0]
    assert torch.equal(depth[0, 1:], torch.from_numpy(pixels[1:] / np.float32(5000)))
    with pytest.raises(DataError, match="median depth would be 60 m"):
        codec.decode_depth(tiff.encode(np.full((8, 8), 60_000, np.uint16)), "x")


def test_real_depth_takes_less_space_than_png(rgbd_frames):
    for path in sorted((rgbd_frames / "frames7" / "sun3d_lounge_a" / "depth").glob("*.png"))[::10]:
        depth = codec.decode_depth(path.read_bytes(), str(path))
        small, large = (codec.encode_depth(depth, encoding) for encoding in ("tiff", "png"))
        assert len(small) < len(large)
        assert torch.equal(codec.decode_depth(small, "x"), depth)


def test_stored_png_files_are_written_anew():
    depth = depth_of(smooth(24, 32))
    frame = {"image": torch.zeros(3, 24, 32, dtype=torch.uint8), "depth": codec.encode_depth(depth)}
    assert encode_sample(frame)["depth"]["bytes"] == frame["depth"]
    row = encode_sample(frame, depth_encoding="tiff")
    assert row["depth"]["bytes"] == codec.encode_depth(depth, "tiff")
    assert torch.equal(decode_row(row)["depth"], depth)
    clip = {"frames": torch.zeros(2, 3, 24, 32, dtype=torch.uint8), "depth_frames": torch.stack([depth, 2 * depth])}
    row = encode_sample(clip, kind="clips", depth_encoding="tiff")
    assert all(file["bytes"].startswith(tiff.MAGIC) for file in row["depth_frames"])
    assert torch.equal(decode_row(row, kind="clips")["depth_frames"], clip["depth_frames"])


def test_datasets_reads_the_folder_without_this_package(tmp_path):
    frames = [{"depth": depth_of(smooth(24, 32) + number), "frame_id": number} for number in range(3)]
    rows = [encode_sample(frame, depth_encoding="tiff") for frame in frames]
    write_shard(tmp_path / "rooms/train-00000-of-00001.parquet", rows)
    program = """
        import sys
        import datasets, numpy as np
        frames = datasets.load_dataset(sys.argv[1], split="train", cache_dir=sys.argv[2])
        pixels = np.stack([np.array(frame["depth"]) for frame in frames])
        assert not any(name.split(".")[0] == "rgbd3d" for name in sys.modules)
        np.save(sys.argv[3], pixels)
    """
    arguments = [tmp_path / "rooms", tmp_path / "cache", tmp_path / "pixels.npy"]
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *arguments], check=True, cwd=tmp_path)
    pixels = np.load(tmp_path / "pixels.npy")
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, np.stack([smooth(24, 32) + number for number in range(3)]))


def saved(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(smooth(24, 32)).save(buffer, "TIFF", **options)
    return buffer.getvalue()


GOOD = tiff.encode(smooth(24, 32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD[:4], "ends after 4 bytes"),
        (GOOD[:134], "ends after 134 bytes"),
        (GOOD[:-1], "of TIFF files only"),
        (GOOD + b"x", "of TIFF files only"),
        (with_field(GOOD, 18, 33), "damaged zstd strip at byte 134"),
        (with_field(GOOD, 18, 2**31), "2147483648 x 24 pixels, the limit is"),
        (with_field(GOOD, 18, 0), "0 x 24 pixels"),
        (with_field(GOOD, 4, 0xFFFFFFF0), "of TIFF files only"),
        (GOOD[:150] + bytes(len(GOOD) - 150), "damaged zstd strip"),
        (saved(), "of TIFF files only"),
        (saved(compression="tiff_lzw"), "of TIFF files only"),
    ],
)
def test_other_bytes_are_refused(data, message):
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        codec.decode_depth(data, "here")


def test_a_bomb_is_refused_before_memory_is_taken(monkeypatch):
    """A strip of a few bytes that claims the pixels of the header, and a strip that holds more than the header says."""
    monkeypatch.setattr(pa, "decompress", None)
    with pytest.raises(DataError, match="the limit is"):
        codec.decode_depth(tiff._header(2**14, 2**13, 4) + b"zstd", "bomb")
    monkeypatch.undo()
    strip = pa.compress(bytes(2**24), codec="zstd", asbytes=True)
    bomb = tiff._header(24, 32, len(strip)) + strip
    with pytest.raises(DataError, match="damaged zstd strip"):
        codec.decode_depth(bomb, "bomb")


@pytest.mark.parametrize("count", [100, pytest.param(4000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_or_read(count):
    refused = 0
    for data in mutations(GOOD, count, header=134):
        try:
            assert codec.decode_depth(data, "x").ndim == 3
        except DataError:
            refused += 1
    assert refused > count / 2
