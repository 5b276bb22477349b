"""Results: means and deviations, and a file that is read back or refused."""

import json
import os
from dataclasses import replace

import pytest
from results import result

from rgbd3d.evaluation.result import Result, ResultError


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


def test_what_was_saved_is_loaded(tmp_path):
    odd = replace(
        result(1e-07, 1 / 3, 123456789.125, -0.0),
        command="rgbd3d evaluate 'a b' --data \"x\"\\y",
        facts={"view": "640 × 480, δ1: yes", "quoted": '"\t\n"'},
        pretrained=False,
    )
    odd.save(tmp_path / "result.json")
    assert Result.load(tmp_path / "result.json") == odd
    assert Result.load(str(tmp_path / "result.json")).label == "mask3d-vitt-tiny (random initialisation)"


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


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        result(float("nan")).save(tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


def remove(key):
    def change(stored):
        del stored[key]

    return change


def put(key, value):
    def change(stored):
        stored[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("protocol"), r"result\.json:1: missing field 'protocol'"),
        (put("colour", 1), "unknown key 'colour'"),
        (put("seeds", [0]), r"result\.json:\d+: seeds should be one for each of 2 runs"),
        (put("seeds", [0, "1"]), "seeds.1 should be an integer, not the string '1'"),
        (put("runs", []), "runs should be one or more"),
        (put("runs", [{"loss": 1.0}, {"miou": 1.0}]), "runs should all have the same metrics"),
        (put("runs", [{"loss": 1.0}, {"loss": None}]), "runs.1.loss should be a number, not null"),
        (put("checkpoints", []), "checkpoints should be one, or one for each run"),
        (put("data", {"source": "x", "split": "val", "frames": 3}), "missing field 'digest' in data"),
        (put("pretrained", "yes"), "pretrained should be true or false"),
    ],
)
def test_a_file_that_was_changed_is_refused(change, message, tmp_path):
    path = tmp_path / "result.json"
    result(1.0, 2.0).save(path)
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored, indent=2))
    with pytest.raises(ResultError, match=message) as error:
        Result.load(path)
    assert str(error.value).endswith("not a result of `rgbd3d evaluate`")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"loss 1.0", b"\xff\xfe\x00", b"[" * 5000, b'{"a": "' + b"x" * 300_000 + b'"}']
)
def test_a_file_that_is_no_result_is_refused(content, tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=r"other\.json:\d+: .*not a result"):
        Result.load(path)


def test_a_folder_is_no_result(tmp_path):
    with pytest.raises(ResultError, match=r"is a folder; name the result file in it, such as .*result\.json"):
        Result.load(tmp_path)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "result.json"
    result(1.0, 2.0).save(path)
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ResultError):
            Result.load(path)
