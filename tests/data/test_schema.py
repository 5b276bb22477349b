import io
import os

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rgbd3d.data import codec, schema
from rgbd3d.data.codec import DataError
from rgbd3d.data.columns import COLUMNS
from rgbd3d.data.schema import (
    ROW_GROUP_ROWS,
    arrow_schema,
    decode_row,
    encode_sample,
    stored_label_space,
    write_shard,
)
from rgbd3d.data.sources import open_source


def make_sample(index: int = 0, height: int = 12, width: int = 16) -> dict:
    generator = torch.Generator().manual_seed(index)
    return {
        "image": torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator),
        "depth": torch.randint(0, 65536, (1, height, width), generator=generator) / 2000,
        "semantic": torch.randint(0, 256, (height, width), generator=generator),
        "depth_filled": torch.randint(1, 9000, (1, height, width), generator=generator) / 1000,
        "depth_edges": torch.randint(0, 2, (height, width), dtype=torch.uint8, generator=generator),
        "planes": torch.randint(0, 256, (height, width), dtype=torch.uint8, generator=generator),
        "instance": torch.randint(0, 65536, (height, width), generator=generator, dtype=torch.int32),
        "intrinsics": torch.rand(3, 3, generator=generator),
        "pose": torch.rand(4, 4, generator=generator),
        "plane_normals": torch.rand(index % 3 + 1, 4, generator=generator),
        "scene_id": f"room {index // 5}",
        "frame_id": index,
        "class_id": 1000 - index,
    }


def make_cloud(points: int) -> dict:
    generator = torch.Generator().manual_seed(points)
    return {
        "position": torch.randn(points, 3, generator=generator),
        "color": torch.randint(0, 256, (points, 3), dtype=torch.uint8, generator=generator),
        "normal": torch.randn(points, 3, generator=generator),
        "semantic": torch.randint(0, 256, (points,), generator=generator),
        "instance": torch.randint(-(2**31), 2**31, (points,), generator=generator, dtype=torch.int64).int(),
        "scene_id": "room",
    }


def make_clip(frames: int) -> dict:
    samples = [make_sample(index) for index in range(frames)]
    return {
        "frames": torch.stack([sample["image"] for sample in samples]),
        "depth_frames": torch.stack([sample["depth_filled"] for sample in samples]),
        "class_id": 3,
        "scene_id": "video",
        "frame_id": 160,
    }


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_column_survives_the_round_trip():
    sample = make_sample()
    row = decode_row(encode_sample(sample, quality=None))
    assert list(row) == list(COLUMNS["frames"])
    for key in ("image", "depth_edges", "planes", "plane_normals", "semantic", "instance", "intrinsics", "pose"):
        assert row[key].dtype == sample[key].dtype
        assert torch.equal(row[key], sample[key])
    assert (row["depth"] - sample["depth"]).abs().max() <= 0.5e-3 + 1e-6
    assert (row["scene_id"], row["frame_id"], row["class_id"]) == ("room 0", 0, 1000)


def test_clouds_of_any_size_survive_a_file_exactly(tmp_path):
    clouds = [make_cloud(points) for points in (5000, 1, 70)]
    rows = (encode_sample(cloud, kind="clouds") for cloud in clouds)
    write_shard(tmp_path / "train-00000.parquet", rows, "nyu40", kind="clouds")
    source = open_source(tmp_path)
    assert (source.kind, source.label_space) == ("clouds", "nyu40")
    for read, cloud in zip([source[0], source[1], source[2]], clouds, strict=True):
        assert list(read) == list(COLUMNS["clouds"])
        assert read.pop("scene_id") == cloud.pop("scene_id")
        for key, values in cloud.items():
            assert read[key].dtype == values.dtype
            assert torch.equal(read[key], values)


def test_clips_survive_a_file(tmp_path):
    clip = make_clip(3)
    write_shard(tmp_path / "train-00000.parquet", [encode_sample(clip, kind="clips")], "ucf101", kind="clips")
    source = open_source(tmp_path)
    read = source[0]
    assert (source.kind, read["class_id"], read["frame_id"]) == ("clips", 3, 160)
    assert read["frames"].shape == (3, 3, 12, 16)
    assert torch.equal(read["depth_frames"], clip["depth_frames"])


def test_files_that_are_pictures_already_are_stored_untouched():
    jpeg, depth = codec.encode_color(make_sample()["image"], 80), codec.encode_depth(make_sample()["depth"])
    row = encode_sample({"image": jpeg, "depth": depth})
    assert (row["image"]["bytes"], row["depth"]["bytes"]) == (jpeg, depth)
    assert encode_sample({"frames": [jpeg, jpeg]}, kind="clips")["frames"][1]["bytes"] == jpeg
    with pytest.raises(DataError, match=r"column .image..*not a readable"):
        encode_sample({"image": jpeg[:100]})
    with pytest.raises(DataError, match=r"differ.*'depth': \(24, 16\)"):
        encode_sample({"image": jpeg, "depth": torch.zeros(1, 24, 16)})


def test_a_row_group_ends_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "ROW_GROUP_BYTES", 2500)
    path = tmp_path / "train-00000.parquet"
    write_shard(path, (encode_sample(make_cloud(40), kind="clouds") for _ in range(9)), "nyu40", kind="clouds")
    sizes = [pq.ParquetFile(path).metadata.row_group(group).num_rows for group in range(5)]
    assert sizes == [2, 2, 2, 2, 1]  # of 40 * 32 bytes each


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": torch.zeros(4, 2)}, r"column 'position'.*\(N, 3\)"),
        ({"position": torch.full((4, 3), torch.nan)}, "column 'position'.*not finite"),
        ({"color": torch.zeros(4, 3)}, "column 'color'.*uint8"),
        ({"semantic": torch.full((4,), 256)}, "column 'semantic'.*cannot hold"),
        ({"depth": torch.zeros(1, 4, 4)}, "unknown columns"),
    ],
)
def test_what_a_cloud_cannot_hold_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        encode_sample({**make_cloud(4), **change}, kind="clouds")


def test_depth_of_whole_millimetres_is_exact_over_the_full_range():
    millimetres = torch.arange(65536, dtype=torch.float64).view(1, 256, 256)
    sample = {"depth": (millimetres / 1000).float()}
    # The median of this ramp, 32.8 m, passes as a unit.
    assert torch.equal(decode_row(encode_sample(sample))["depth"], sample["depth"])


def test_jpeg_is_close_and_smaller():
    smooth = torch.linspace(0, 255, 64 * 64 * 3).view(3, 64, 64).byte()
    lossy = encode_sample({"image": smooth}, quality=90)["image"]["bytes"]
    assert lossy[:2] == b"\xff\xd8"
    error = (decode_row({"image": {"bytes": lossy}})["image"].float() - smooth.float()).abs().mean()
    assert error < 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": torch.full((1, 12, 16), 65.536)}, "65.536 m but 16-bit millimetres end at 65.535"),
        ({"depth": torch.full((1, 12, 16), -0.1)}, "negative"),
        ({"depth": torch.full((1, 12, 16), float("nan"))}, "NaN"),
        ({"depth": torch.full((1, 12, 16), float("inf"))}, "infinite"),
        ({"depth": torch.ones(1, 12, 16, dtype=torch.int32)}, "floating point"),
        ({"depth": torch.ones(12, 16)}, r"\(1, H, W\)"),
        ({"depth": torch.ones(1, 6, 8)}, "differ in"),
        ({"image": torch.rand(3, 12, 16)}, "uint8"),
        ({"semantic": torch.full((12, 16), 256)}, "outside 0..255"),
        ({"semantic": torch.full((12, 16), -1)}, "outside 0..255"),
        ({"instance": torch.full((12, 16), 65536)}, "outside 0..65535"),
        ({"pose": torch.eye(3)}, r"\(4, 4\) matrix"),
        ({"normal": torch.zeros(3, 12, 16)}, "unknown columns"),
    ],
)
def test_what_cannot_be_stored_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        encode_sample({**make_sample(), **change})


def test_only_asked_columns_are_decoded():
    row = encode_sample(make_sample())
    row["depth"] = {"bytes": b"rubbish", "path": None}
    assert set(decode_row(row, ["image", "frame_id"])) == {"image", "frame_id"}
    with pytest.raises(DataError, match="here, column 'depth': not a readable"):
        decode_row(row, ["depth"], "here")


def test_missing_values_are_named():
    row = encode_sample({"image": make_sample()["image"]})
    with pytest.raises(DataError, match="no value in column 'depth'"):
        decode_row(row, ["image", "depth"])
    with pytest.raises(DataError, match="unknown columns"):
        decode_row(row, ["colour"])


@pytest.mark.parametrize("size", [(24, 32), (23, 31), (1, 1)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_pixels_are_those_of_pillow(size, subsampling, progressive):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    for mode in ("RGB", "L", "CMYK"):
        buffer = io.BytesIO()
        options = {} if mode == "L" else {"subsampling": subsampling}
        picture.convert(mode).save(buffer, "JPEG", quality=80, progressive=progressive, **options)
        expected = np.array(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
        decoded = codec.decode_color(buffer.getvalue(), "file").permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(decoded, expected)


def test_truncated_jpeg_is_refused():
    data = codec.encode_color(make_sample()["image"])
    for length in (3, 200, len(data) // 2, len(data) - 20):
        with pytest.raises(DataError, match=r"x.jpg: not a readable"):
            codec.decode_color(data[:length], "x.jpg")


def test_a_path_without_bytes_is_refused():
    with pytest.raises(DataError, match="embed"):
        decode_row({"image": {"bytes": None, "path": "/etc/passwd"}})


@pytest.mark.parametrize(
    ("column", "data", "message"),
    [
        ("depth", png(np.full((8, 8), 100, np.uint8)), "16-bit"),
        ("depth", png(np.full((8, 8, 3), 100, np.uint8)), "16-bit"),
        ("depth", png(np.full((8, 8), 60_000, np.uint16)), "median depth would be 60 m"),
        ("semantic", png(np.full((8, 8, 3), 1, np.uint8)), "label map"),
        ("image", b"", "not a readable"),
        ("image", png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))[:1500], "not a readable"),
        ("image", b"GIF89a\x01\x00\x01\x00\x80\x00\x00", "not a readable"),
    ],
)
def test_wrong_files_are_refused(column, data, message):
    with pytest.raises(DataError, match=message):
        decode_row({column: {"bytes": data, "path": None}})


def test_decoding_is_bounded(monkeypatch):
    data = png(np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(codec, "MAX_PIXELS", 64 * 63)
    with pytest.raises(DataError, match="64 x 64 pixels"):
        codec.decode_color(data, "bomb.png")
    monkeypatch.setattr(codec, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(DataError, match="MiB"):
        codec.decode_color(data, "bomb.png")


@pytest.mark.parametrize(("far_share", "fine"), [(0.3, True), (0.49, True), (0.51, False), (1.0, False)])
def test_the_unit_is_judged_by_the_median_of_measured_pixels(far_share, fine):
    values = np.zeros((160, 160), np.uint16)
    measured = values[:80].ravel()
    measured[:] = 49_000
    measured[: int(far_share * measured.size)] = 51_000
    if fine:
        assert codec.decode_depth(png(values), "x").max() == 51
    else:
        with pytest.raises(DataError, match="median depth would be 51 m at 1000 units"):
            codec.decode_depth(png(values), "x")


def test_grey_and_transparent_images_become_rgb():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert torch.equal(codec.decode_color(png(grey), "x"), torch.from_numpy(grey).expand(3, 8, 8))
    rgba = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    assert torch.equal(codec.decode_color(png(rgba), "x"), torch.from_numpy(rgba[..., :3]).permute(2, 0, 1))


def test_colour_is_that_of_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    expected = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
    assert torch.equal(codec.decode_color(buffer.getvalue(), "x"), expected)


def test_shard_has_small_row_groups_and_names_its_label_space(tmp_path):
    path = tmp_path / "deep" / "train-00000.parquet"
    assert write_shard(path, (encode_sample(make_sample(index)) for index in range(130)), "nyu40") == 130
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(group).num_rows for group in range(3)] == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 2]
    assert stored_label_space(file.schema_arrow) == "nyu40"
    expected = arrow_schema(COLUMNS["frames"], "nyu40")
    assert file.schema_arrow.equals(expected)
    assert file.schema_arrow.metadata == expected.metadata
    assert path.stat().st_mode & 0o777 == 0o644


def test_label_space_goes_with_labels_only():
    with pytest.raises(DataError, match="label_space"):
        arrow_schema(["image", "semantic"])
    with pytest.raises(DataError, match="label_space"):
        arrow_schema(["image"], "nyu40")
    assert stored_label_space(arrow_schema(["image"])) is None
    assert stored_label_space(arrow_schema(["image", "class_id"])) is None
    assert stored_label_space(arrow_schema(["image", "class_id"], "places")) == "places"


def test_a_shard_is_complete_or_absent(tmp_path):
    path = tmp_path / "train-00000.parquet"

    def rows():
        for index in range(100):
            yield encode_sample(make_sample(index))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(path, rows(), "nyu40")
    assert os.listdir(tmp_path) == []

    write_shard(path, [encode_sample(make_sample())], "nyu40")
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_shard(path, rows(), "nyu40")
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before


def test_shards_of_nothing_or_of_mixed_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="no rows"):
        write_shard(tmp_path / "x.parquet", [])
    image = {"image": make_sample()["image"]}
    mixed = [encode_sample(image), encode_sample({**image, "frame_id": 1})]
    with pytest.raises(DataError, match="cannot share a file"):
        write_shard(tmp_path / "x.parquet", mixed)


def test_datasets_streams_the_same_pixels_without_this_package(tmp_path):
    samples = [make_sample(index) for index in range(3)]
    write_shard(tmp_path / "train-00000.parquet", [encode_sample(sample, quality=None) for sample in samples], "nyu40")
    stream = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "*.parquet"), split="train", streaming=True, cache_dir=str(tmp_path / "c")
    )
    assert stream.features["depth"] == datasets.Image()
    rows = list(stream)
    for sample, row in zip(samples, rows, strict=True):
        assert np.array_equal(np.array(row["image"]), sample["image"].permute(1, 2, 0).numpy())
        assert np.array(row["depth"]).dtype == np.uint16
        assert np.array_equal(np.array(row["depth"]), np.rint(sample["depth"][0].double().numpy() * 1000))
        assert np.array_equal(np.array(row["semantic"]), sample["semantic"].numpy())
        assert np.array_equal(np.array(row["instance"]), sample["instance"].numpy())
        assert np.array_equal(np.float32(row["pose"]).reshape(4, 4), sample["pose"].numpy())
        assert (row["scene_id"], row["frame_id"]) == (sample["scene_id"], sample["frame_id"])
