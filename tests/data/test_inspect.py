import re

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.inspect import inspect
from rgbd3d.data.schema import encode_sample, write_shard


def write(folder, with_depth: bool = True, count: int = 20) -> None:
    """Frames: a quarter without depth, a half at 1.5 m, a quarter at 3.5 m."""
    depth = torch.tensor([0.0, 1.5, 1.5, 3.5]).repeat_interleave(5).expand(1, 12, 20)
    sample = {"image": torch.full((3, 12, 20), 90, dtype=torch.uint8), "scene_id": "room"}
    if with_depth:
        sample["depth"] = depth
    rows = [encode_sample({**sample, "frame_id": number}) for number in range(count)]
    write_shard(folder / "train-00000.parquet", rows)


def facts_of(text: str) -> dict[str, str]:
    return dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in text.splitlines() if re.match(r"  \w", line))


def test_summary_says_what_is_in_the_data_set(tmp_path):
    write(tmp_path)
    text = inspect(tmp_path)
    assert text.splitlines()[0] == str(tmp_path)
    facts = facts_of(text)
    assert facts["frames"] == "20"
    assert facts["columns"] == "image, depth, scene_id, frame_id"
    assert facts["size"] == "20 x 12 (width x height)"
    assert facts["labels"] == "none"
    assert facts["looked at"] == "20 of 20 rows; what follows is about these"
    assert facts["depth"] == "25.0% of the pixels have none, median 1.50 m"
    bars = {line[:17].strip(): line[17:].split() for line in text.splitlines() if re.match(r" {4}.* m ", line)}
    assert bars["1.5 - 2 m"] == ["66.7%", "█" * 40]
    assert bars["2 - 2.5 m"] == ["0.0%"]
    assert bars["3.5 - 4 m"] == ["33.3%", "█" * 20]
    assert "poses" not in facts


def test_the_stride_is_told_in_text_and_page(tmp_path):
    sample = {"image": torch.zeros(3, 12, 20, dtype=torch.uint8)}
    write_shard(tmp_path / "train-0.parquet", [encode_sample(sample)], stride=25)
    stride = "25 (data.every is 1 or a multiple of it)"
    assert facts_of(inspect(tmp_path, sheet=tmp_path / "sheet.png"))["stride"] == stride
    assert f">{stride}<" in (tmp_path / "sheet.html").read_text()


def test_large_data_sets_are_sampled(tmp_path):
    write(tmp_path, count=300)
    assert facts_of(inspect(tmp_path))["looked at"] == "65 of 300 rows; what follows is about these"


def test_colour_alone_is_fine(tmp_path):
    write(tmp_path, with_depth=False)
    sheet = tmp_path / "sheet.png"
    assert "depth" not in inspect(tmp_path, sheet=sheet)
    assert Image.open(sheet).width > 100


def test_depth_without_any_measurement(tmp_path):
    sample = {"image": torch.zeros(3, 12, 20, dtype=torch.uint8), "depth": torch.zeros(1, 12, 20)}
    write_shard(tmp_path / "train-0.parquet", [encode_sample(sample)])
    text = inspect(tmp_path, sheet=tmp_path / "sheet.png")
    assert facts_of(text)["depth"] == "100.0% of the pixels have none, median unknown"


def test_real_labels_are_named_and_drawn(rgbd_frames, tmp_path):
    sheet = tmp_path / "sheet.png"
    text = inspect(rgbd_frames / "labelled" / "nyuv2_train795", sheet=sheet)
    assert re.search(r"classes +\d+ of 40 occur; \d+\.\d% of the pixels have no label\n +\d+\.\d%  wall\n", text)
    assert text.endswith(f"written: {sheet} and {tmp_path / 'sheet.html'}")
    picture = np.asarray(Image.open(sheet).convert("RGB"))
    assert min(picture.shape[:2]) > 1000
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 5000
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("<img") == 36, "colour, depth and labels of twelve frames"
    assert {"wall", "floor", "nyuv2_train795 / 3"} <= set(re.findall(r">([^<>]+)<", page))
    assert "http" not in page.replace("data:image", ""), "nothing is fetched"
    assert len(page) < 4_000_000


def test_real_poses_are_checked(rgbd_frames, tmp_path):
    text = inspect(rgbd_frames / "frames7" / "sun3d_lounge_b")
    (near, far) = re.findall(r"poses +(\d+) rows? apart: poses fit\n +median error of the depth +(\d\.\d\d)%", text)
    assert (near[0], far[0]) == ("1", "15")
    assert 0.3 < float(near[1]) < 0.55
    assert 0.5 < float(far[1]) < 0.8


def test_inverted_poses_show_in_the_summary(rgbd_frames, tmp_path):
    from rgbd3d.data.sources import open_source

    source = open_source(rgbd_frames / "frames7" / "7scenes_redkitchen_b")
    rows = [encode_sample({**(frame := source[i]), "pose": torch.linalg.inv(frame["pose"])}) for i in range(40)]
    write_shard(tmp_path / "train-0.parquet", rows)
    assert "INVERTED? world to camera fits better" in inspect(tmp_path)


def test_unusable_poses_are_counted(tmp_path):
    sample = {
        "image": torch.zeros(3, 12, 20, dtype=torch.uint8),
        "depth": torch.ones(1, 12, 20),
        "intrinsics": torch.eye(3),
        "scene_id": "a",
    }
    poses = [torch.eye(4), torch.full((4, 4), -torch.inf), torch.zeros(4, 4), torch.eye(4)]
    rows = [encode_sample({**sample, "pose": pose, "frame_id": i}) for i, pose in enumerate(poses)]
    write_shard(tmp_path / "train-0.parquet", rows)
    assert facts_of(inspect(tmp_path))["bad poses"].startswith("2 of the rows")


def test_point_clouds(tmp_path):
    generator = torch.Generator().manual_seed(0)
    rows = []
    for count in (500, 800):
        position = torch.rand(count, 3, generator=generator) * torch.tensor([4.0, 3.0, 1.0])
        position[:2] = torch.tensor([[0.0, 0, 0], [4, 3, 1]])
        cloud = {
            "position": position,
            "color": torch.full((count, 3), 120, dtype=torch.uint8),
            "semantic": torch.full((count,), 4),
            "instance": torch.arange(count, dtype=torch.int32) % 3,
            "scene_id": f"room {count}",
        }
        rows.append(encode_sample(cloud, kind="clouds"))
    write_shard(tmp_path / "train-0.parquet", rows, "nyu40", kind="clouds")
    text = inspect(tmp_path, sheet=tmp_path / "sheet.png")
    facts = facts_of(text)
    assert facts["clouds"] == "2"
    assert facts["size"] == "500 to 800 points"
    assert facts["extent"] == "4.0 x 3.0 x 1.0 m, median"
    assert facts["instances"] == "2"
    assert "100.0%  chair" in text
    assert (tmp_path / "sheet.html").read_text().count("<img") == 8
    assert Image.open(tmp_path / "sheet.png").height > 500


def test_clips(tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (10, 3, 24, 32), dtype=torch.uint8, generator=generator)
    clip = {"frames": frames, "depth_frames": torch.full((10, 1, 24, 32), 1.2), "class_id": 1, "scene_id": "v"}
    rows = [encode_sample({**clip, "frame_id": 16 * number}, kind="clips") for number in range(3)]
    write_shard(tmp_path / "train-0.parquet", rows, "ucf101", kind="clips")
    text = inspect(tmp_path, sheet=tmp_path / "sheet.png")
    facts = facts_of(text)
    assert (facts["clips"], facts["size"]) == ("3", "10 frames of 32 x 24")
    assert facts["depth"] == "0.0% of the pixels have none, median 1.20 m"
    assert "100.0%  ApplyLipstick" in text
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("<img") == 3 * 2 * 8
    assert "v / 32 \N{EN DASH} ApplyLipstick" in page


def test_classes_of_images(tmp_path):
    image = torch.zeros(3, 12, 20, dtype=torch.uint8)
    rows = [encode_sample({"image": image, "class_id": class_id}) for class_id in (255, 999, 255, 3)]
    write_shard(tmp_path / "train-0.parquet", rows)
    text = inspect(tmp_path, sheet=tmp_path / "sheet.png")
    assert "3 occur; 0.0% of the frames have no label" in text
    assert " 50.0%  class 255" in text


def test_bad_input_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        inspect(tmp_path / "missing")
    write(tmp_path)
    with pytest.raises(ValueError, match=r"sheet.jpg: a contact sheet is a .png file"):
        inspect(tmp_path, sheet=tmp_path / "sheet.jpg")
    shard = tmp_path / "train-00000.parquet"
    data = shard.read_bytes()
    position = data.index(b"\x89PNG")
    shard.write_bytes(data[:position] + b"rubbish" + data[position + 7 :])
    sheet = tmp_path / "sheet.png"
    with pytest.raises(DataError, match=r"train-00000.parquet, row group 0, kept row 0, column 'depth'"):
        inspect(tmp_path, sheet=sheet)
    assert not sheet.exists()


def test_names_in_the_page_are_escaped(tmp_path):
    sample = {
        "image": torch.zeros(3, 12, 20, dtype=torch.uint8),
        "scene_id": "<script>alert(1)</script>",
        "frame_id": 1,
    }
    write_shard(tmp_path / "train-0.parquet", [encode_sample(sample)])
    inspect(tmp_path, sheet=tmp_path / "sheet.png")
    assert "<script" not in (tmp_path / "sheet.html").read_text()
