"""Results: means and deviations, the file, and errors that come before any work."""

import json
import os
import statistics

import pytest
from labelled_source import frame, register_tiny_card

from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.evaluation.evaluate import Result, evaluate
from rgbd3d.evaluation.protocols import PROTOCOLS
from rgbd3d.registry import UnknownModelError


def result(*losses):
    return Result(
        model="a/model",
        protocol="rgbd/pretext",
        pretrained=True,
        seeds=tuple(range(len(losses))),
        runs=tuple({"loss": loss, "mean_predictor": 1.0} for loss in losses),
        data={"source": "made-up", "split": "val", "frames": 3, "digest": "0" * 64},
        versions={"rgbd3d": "0"},
    )


def test_mean_and_sample_deviation():
    three = result(1.0, 2.0, 6.0)
    assert three.mean("loss") == 3.0
    assert three.std("loss") == pytest.approx(7**0.5)
    assert three.std("mean_predictor") == 0.0
    assert "3.000 ± 2.646" in str(three)


def test_one_run_has_no_deviation():
    assert result(2.0).std("loss") is None
    assert "±" not in str(result(2.0))


def test_file_holds_all_runs_and_their_summary(tmp_path):
    result(1.0, 2.0, 6.0).save(tmp_path / "result.json")
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    stored = json.loads((tmp_path / "result.json").read_text())
    assert [run["loss"] for run in stored["runs"]] == [1.0, 2.0, 6.0]
    assert stored["summary"]["loss"] == {"mean": 3.0, "std": pytest.approx(7**0.5)}
    assert stored["data"]["split"] == "val"


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    result(1.0).save(path)
    before = path.read_text()

    def full_disk(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        result(2.0).save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_protocol_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown protocol 'nyu'") as error:
        evaluate("mask3d-vitt-synthrooms", "nyu", "nowhere")
    assert all(name in str(error.value) for name in PROTOCOLS)


@pytest.mark.parametrize("pretrained", [True, False])
def test_misspelt_model_fails_before_the_data_is_opened(pretrained):
    with pytest.raises(UnknownModelError, match=r"did you mean.*mask3d-vitt-synthrooms"):
        evaluate("mask3d-vit-synthrooms", "rgbd/pretext", "no/such/data", pretrained=pretrained)


@pytest.mark.usefixtures("own_registry")
def test_measures_on_frames_from_a_file(tmp_path):
    (tmp_path / "cards").mkdir()
    name = register_tiny_card(tmp_path / "cards")
    rows = [encode_sample({k: v for k, v in frame(i).items() if k != "semantic"}) for i in range(3)]
    write_shard(tmp_path / "data" / "val-00000-of-00001.parquet", rows)
    measured = evaluate(
        name, "rgbd/pretext", tmp_path / "data", split="val", seeds=(0, 1), pretrained=False, output=tmp_path / "out"
    )
    assert measured.data["frames"] == 3
    assert measured.mean("loss") == statistics.fmean(run["loss"] for run in measured.runs)
    stored = json.loads((tmp_path / "out" / f"{name}.rgbd-pretext.random.json").read_text())
    assert [run["loss"] for run in stored["runs"]] == [run["loss"] for run in measured.runs]
    assert stored["pretrained"] is False
