"""Photographs get a depth by a model, and the prepared data say by which."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from rgbd3d.cli import main
from rgbd3d.data.pseudo_depth import PseudoDepth
from rgbd3d.data.rows import DepthModel
from rgbd3d.data.sources import open_source
from tests.data.depth_models import depth_anything, dpt

PHOTOGRAPHS = ("0003", "0019", "0494")


@pytest.fixture(scope="module")
def photographs(rgbd_frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs") / "train"
    folder.mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(rgbd_frames / f"labelled/nyuv2_train795/color/{name}.jpg", folder)
    return folder.parent


def prepare(raw: Path, out: Path, model: str) -> int:
    options = ["--size", "64x48", "--workers", "1", "--pseudo-depth", model]
    return main(["data", "prepare", "images", "--raw", str(raw), "--out", str(out), *options])


def test_prepared_photographs_have_the_models_depth(photographs: Path, tmp_path: Path):
    folder, out = depth_anything(tmp_path / "my estimator", "metric"), tmp_path / "out"
    assert prepare(photographs, out, str(folder)) == 0
    model, source = PseudoDepth(str(folder)), open_source(out)
    assert len(source) == len(PHOTOGRAPHS)
    for sample in source:
        assert sample["depth"].shape == (1, 48, 64)
        # The model saw the picture before it became a JPEG.
        assert (sample["depth"] - model(sample["image"][None])[0]).abs().median() < 0.05

    name = f"my estimator@{model.revision}:metric"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["settings"]["pseudo_depth"] == name
    card = (out / "README.md").read_text()
    assert f"**Depth was not measured.** It was estimated by `{name}`" in card
    assert f"--pseudo-depth '{name}'" in card, "it can be pasted into a shell"


def test_the_stored_name_prepares_the_same(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = depth_anything(tmp_path / "estimator")
    _, name = DepthModel(str(folder)).pinned()
    assert prepare(photographs, tmp_path / "a", str(folder)) == 0
    monkeypatch.chdir(tmp_path)
    assert prepare(photographs, tmp_path / "b", name) == 0
    for one, other in zip(open_source(tmp_path / "a"), open_source(tmp_path / "b"), strict=True):
        assert torch.equal(one["depth"], other["depth"])
    assert (tmp_path / "a/manifest.json").read_text() == (tmp_path / "b/manifest.json").read_text()


def test_a_model_whose_unit_is_unknown_is_refused(photographs: Path, tmp_path: Path, capsys):
    folder, out = dpt(tmp_path / "estimator"), tmp_path / "out"
    assert prepare(photographs, out, str(folder)) == 2
    error = capsys.readouterr().err
    assert "does not tell whether it predicts metres" in error
    assert "MODEL:metric or MODEL:relative" in error
    assert not out.exists()
    assert prepare(photographs, out, f"{folder}:relative") == 0
    assert json.loads((out / "manifest.json").read_text())["settings"]["pseudo_depth"].endswith(":relative")
