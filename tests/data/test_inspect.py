import numpy as np
import torch
from PIL import Image

from rgbd3d.data.inspect import inspect
from rgbd3d.data.schema import encode_sample, write_shard


def write(folder, with_depth: bool = True) -> None:
    """Twenty frames: a quarter without depth, a half at 1.5 m, a quarter at 3.5 m."""
    depth = torch.tensor([0.0, 1.5, 1.5, 3.5]).repeat_interleave(5).expand(1, 12, 20)
    sample = {"image": torch.full((3, 12, 20), 90, dtype=torch.uint8), "scene_id": "room"}
    if with_depth:
        sample["depth"] = depth
    rows = [encode_sample({**sample, "frame_id": number}) for number in range(20)]
    write_shard(folder / "train-00000.parquet", rows)


def test_summary_says_what_is_in_the_data_set(tmp_path):
    write(tmp_path)
    lines = inspect(tmp_path).splitlines()
    assert lines[0] == str(tmp_path)
    facts = dict(line.split(maxsplit=1) for line in lines[1:7])
    assert facts["frames"] == "20"
    assert facts["columns"] == "image, depth, scene_id, frame_id"
    assert facts["size"] == "20 x 12 (width x height)"
    assert facts["labels"] == "none"
    assert facts["depth"] == "of 12 frames: 25.0% of the pixels have none, median 1.50 m"
    bars = {line[:16].strip(): line[16:].split() for line in lines[7:]}
    assert bars["1.5 - 2 m"] == ["66.7%", "█" * 40]
    assert bars["2 - 2.5 m"] == ["0.0%"]
    assert bars["3.5 - 4 m"] == ["33.3%", "█" * 20]


def test_colour_alone_is_fine(tmp_path):
    write(tmp_path, with_depth=False)
    sheet = tmp_path / "sheet.png"
    assert "depth" not in inspect(tmp_path, sheet=sheet)
    assert Image.open(sheet).width > 100


def test_contact_sheet_shows_colour_depth_and_labels(rgbd_frames, tmp_path):
    sheet = tmp_path / "sheet.png"
    inspect(rgbd_frames / "labelled" / "nyuv2_train795", sheet=sheet)
    picture = np.asarray(Image.open(sheet).convert("RGB"))
    assert min(picture.shape[:2]) > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 5000
