"""The command line: what it prints, how it fails, and that each command reaches its function."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from rgbd3d import cards, registry
from rgbd3d.cli import main
from rgbd3d.optional import need

NAME = "mask3d-vitt-synthrooms"


def test_list_shows_every_card(capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "name"
    assert set(rule) == {"-"}
    assert [row.split()[0] for row in rows] == registry.list_models()


def test_list_filters(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "*vitl*", "--method", "mae", "--task", "pretraining"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["mae-vitl-imagenet", "mae-vitl-scannet"]
    assert main(["list", "--method", "maee"]) == 2
    assert "no card matches" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]):
    assert main(["info", "mask3d-vitb-scannet"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mask3d-vitb-scannet: Mask3D, ViT-B/16, ScanNet\n")
    for part in ("one frame in 25", "not an official release", "mae-vitb-imagenet", "Table 14", "data terms"):
        assert part in out
    assert max(map(len, out.splitlines())) <= 120


def test_data_list(capsys: pytest.CaptureFixture[str]):
    assert main(["data", "list"]) == 0
    assert "synthrooms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "mask3d-vitb-scanet"], "did you mean 'mask3d-vitb-scannet'"),
        (["info", "./mask3d-vitb-scannet"], "is a path or a Hub id"),
        (["pretrain", NAME, "--set", "train.max_step=1"], "unknown key 'max_step' in train; did you mean 'max_steps'?"),
        (["pretrain", NAME, "--set", "train.max_steps"], "should look like train.max_steps=100"),
        (["pretrain", "nothing.yaml"], "no such card file: nothing.yaml"),
        (["pretrain", f"{NAME}.depth-synthrooms"], f"train it with `rgbd3d finetune {NAME}.depth-synthrooms`"),
        (["finetune", NAME, "--data", "nowhere"], f"is no fine-tuned model; train it with `rgbd3d pretrain {NAME}`"),
        (["finetune", f"{NAME}.depth-synthrooms", "--data", "nowhere"], "nowhere: no such folder"),
        (["finetune", f"{NAME}.depth-synthrooms", "--seeds", "1", "1"], "seeds should be different numbers"),
        (["finetune", f"{NAME}.depth-synthrooms", "--start", "nothing"], "unknown model 'nothing'"),
        (["reproduce", "nothing"], "unknown model 'nothing'"),
        (["info", "timm:resnet18"], "another library, not a card; `rgbd3d finetune CARD --backbone timm:resnet18`"),
        (["info", "random:transformers:a/b"], "`rgbd3d finetune CARD --backbone random:transformers:a/b` trains"),
        (["info", f"random:{NAME}"], f"unknown model 'random:{NAME}'"),
        (["data", "inspect", "nowhere"], "nowhere: no such folder"),
        (["verify", "nowhere"], "there is no folder nowhere"),
        (["push", "nowhere", "me/x"], "there is no folder nowhere"),
    ],
)
def test_errors_are_one_line_without_traceback(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("rgbd3d: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RGBD3D_DEBUG", "1")
    with pytest.raises(registry.UnknownModelError):
        main(["info", "nothing"])


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(name: str) -> str:
        raise TypeError(name)

    monkeypatch.setattr(registry, "model_info", broken)
    with pytest.raises(TypeError):
        main(["info", NAME])


def test_an_error_that_is_not_ours_says_how_to_see_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(name: str) -> str:
        raise ValueError("too many values")

    assert main(["info", "nothing"]) == 2
    assert "RGBD3D_DEBUG" not in capsys.readouterr().err
    monkeypatch.setattr(registry, "model_info", broken)
    assert main(["info", NAME]) == 2
    assert capsys.readouterr().err == "rgbd3d: too many values (RGBD3D_DEBUG=1 shows where)\n"


@pytest.mark.parametrize("rooms", ["compact", "deep"])
def test_rooms_are_rendered_as_asked(rooms: str, tmp_path: Path):
    assert (
        main(f"data render --out {tmp_path} --scenes 1 --frames 1 --size 32x24 --workers 1 --rooms {rooms}".split())
        == 0
    )
    assert json.loads((tmp_path / "train-manifest.json").read_text())["settings"]["rooms"] == rooms


@pytest.mark.parametrize("flag", ["--scenes 0", "--frames 0", "--workers 0"])
def test_render_names_the_flag_that_is_wrong(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(f"data render --out {tmp_path} --scenes 1 {flag}".split())
    assert f"argument {flag.split()[0]}: '0' should be a number, 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--workers=-1", "--seeds 0 -1"])
def test_training_takes_no_negative_numbers(flag: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(f"finetune {NAME}.depth-synthrooms {flag}".split())
    assert "'-1' should be a number, 0 or more" in capsys.readouterr().err


TRAINING = {"workers": 0, "device": "auto"}
SCORING = {"split": None, "seeds": None, "pretrained": True, "samples": None, "full_size": False, "device": "auto"}


@pytest.mark.parametrize(
    ("target", "command", "arguments", "options"),
    [
        (
            "training.pretrain.pretrain",
            f"pretrain {NAME}",
            (None, Path("runs", NAME), []),
            {**TRAINING, "resume": True, "start": None},
        ),
        (
            "training.pretrain.pretrain",
            f"pretrain {NAME} --data d --output o --set train.seed=1 --no-resume --start s --workers 2 --device cpu",
            ("d", Path("o"), ["train.seed=1"]),
            {"workers": 2, "device": "cpu", "resume": False, "start": "s"},
        ),
        (
            "training.finetune.finetune",
            f"finetune {NAME}.depth-synthrooms",
            (None, Path("runs", f"{NAME}.depth-synthrooms"), []),
            {**TRAINING, "resume": True, "start": None, "backbone": None, "seeds": None},
        ),
        (
            "training.finetune.finetune",
            f"finetune {NAME}.depth-synthrooms --backbone timm:a.b@c --no-resume --seeds 4 0",
            (None, Path("runs", "timm-a.b@c", f"{NAME}.depth-synthrooms"), []),
            {**TRAINING, "resume": False, "start": None, "backbone": "timm:a.b@c", "seeds": [4, 0]},
        ),
        ("evaluation.evaluate.evaluate", "evaluate a --protocol p --data d", (["a"], "p", "d"), SCORING),
        (
            "evaluation.evaluate.evaluate",
            "evaluate a b --protocol p --data d --split s --samples 3 --full-size --device cpu",
            (["a", "b"], "p", "d"),
            {**SCORING, "split": "s", "samples": 3, "full_size": True, "device": "cpu"},
        ),
        (
            "evaluation.evaluate.evaluate",
            "evaluate a --protocol p --data d --seeds 2 1 --random-init",
            (["a"], "p", "d"),
            {**SCORING, "seeds": [2, 1], "pretrained": False},
        ),
    ],
)
def test_every_option_reaches_its_function(target, command, arguments, options, monkeypatch: pytest.MonkeyPatch):
    called: list[tuple[tuple, dict]] = []
    monkeypatch.setattr(f"rgbd3d.{target}", lambda *given, **named: called.append((given, named)))
    assert main(command.split()) == 0
    ((given, named),) = called
    recipe, given = (None, given) if target.startswith("evaluation") else (given[0].name, given[1:])
    assert given == arguments
    extra = {"output": None} if recipe is None else {}
    assert named == options | extra | ({"recipe": recipe} if command.startswith("finetune") else {})


@pytest.mark.parametrize("command", [f"evaluate {NAME} --protocol x", f"cka {NAME} {NAME}"])
def test_measuring_knows_the_devices(command: str, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    for target in ("evaluate.evaluate", "cka.cka"):
        monkeypatch.setattr(f"rgbd3d.evaluation.{target}", lambda *_, device, **__: asked.append(device))
    for options in ("", "--device cpu", "--device cuda", "--device auto"):
        assert main(f"{command} --data nowhere {options}".split()) == 0
    assert asked == ["auto", "cpu", "cuda", "auto"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "command", [f"evaluate {NAME}.depth-synthrooms --protocol frames-depth/full", f"cka {NAME} {NAME}"]
)
def test_a_device_that_is_not_there_is_told_first(command: str, capsys: pytest.CaptureFixture[str]):
    assert main(f"{command} --data nowhere --device cuda".split()) == 2
    assert "there is no CUDA device here; use device cpu or auto" in capsys.readouterr().err


def test_a_library_that_is_missing_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def lacking(*arguments: object, **options: object) -> None:
        need("there_is_no_such_library", "the average precision", "eval")

    monkeypatch.setattr("rgbd3d.evaluation.evaluate.evaluate", lacking)
    assert main(f"evaluate {NAME} --protocol x --data y".split()) == 2
    assert "the average precision needs there_is_no_such_library: pip install 'rgbd3d[eval]'" in capsys.readouterr().err


@pytest.mark.parametrize("source", [".", "../rooms", ""])
def test_the_sheet_has_the_name_of_the_folder(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rooms").mkdir()
    monkeypatch.chdir(tmp_path / "rooms")
    sheets: list[Path] = []
    monkeypatch.setattr("rgbd3d.data.inspect.inspect", lambda source, split, sheet: sheets.append(sheet))
    assert main(["data", "inspect", source or str(tmp_path / "rooms")]) == 0
    assert sheets == [Path("rooms-train.png")]


@pytest.mark.parametrize("command", ["render --scenes 1", "prepare frames --raw raw"])
@pytest.mark.parametrize("size", ["320", "240 320", "0x4", "4x", "-1x4", "32x24x3"])
def test_a_size_has_one_form(command: str, size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(f"data {command} --out {tmp_path / 'out'} --size={size}".split())
    wrong = size.split()[0]
    assert f"argument --size: {wrong!r} should be WIDTHxHEIGHT, for example 320x240" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--shard 3/2", "argument --shard: '3/2' should be I/N with I from 1 to N"),
        ("--stride x", "argument --stride: 'x' should be a number, 1 or more"),
        ("--depth exr", "argument --depth: invalid choice: 'exr'"),
    ],
)
def test_prepare_names_the_flag_that_is_wrong(flag: str, message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(f"data prepare frames --raw raw --out out {flag}".split())
    assert message in capsys.readouterr().err


def test_prepare_in_shares_merge_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(2):
        segment = tmp_path / f"my frames/s{number}"
        for name, mode in (("color", "RGB"), ("depth", "I;16")):
            (segment / name).mkdir(parents=True)
            Image.new(mode, (32, 24)).save(segment / name / "0.png")
    raw = str(tmp_path / "my frames")
    shares = [str(tmp_path / f"share {number}") for number in (1, 2)]
    for number, share in enumerate(shares, 1):
        arguments = ["--raw", raw, "--out", share, "--shard", f"{number}/2", "--workers", "1", "--size", "16x12"]
        assert main(["data", "prepare", "frames", *arguments]) == 0
    assert f"next: rgbd3d data inspect '{shares[1]}'" not in capsys.readouterr().out
    merged = str(tmp_path / "whole set")
    assert main(["data", "merge", merged, *shares]) == 0
    assert f"train: 2 rows\nnext: rgbd3d data inspect '{merged}' --split train" in capsys.readouterr().out
    assert main(["data", "verify", merged]) == 0
    assert "verified: 2 rows in 1 file\n" in capsys.readouterr().out
    assert main(["data", "prepare", "frames", "--raw", raw, "--out", merged, "--stride", "2"]) == 2
    assert "begun otherwise (stride: 1 there, 2 asked" in capsys.readouterr().err
    assert main(["data", "prepare", "frames", "--raw", "r", "--out", "o", "--shard", "1/2", "--push-to", "me/x"]) == 2
    assert "--push-to is for a whole data set" in capsys.readouterr().err


def test_wrong_usage(capsys: pytest.CaptureFixture[str]):
    for arguments in ([], ["lst"], ["info"], ["data"], ["data", "render"], ["pretrain", NAME, "--device", "tpu"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: rgbd3d" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -u -m rgbd3d.cli info {NAME} | true"
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=environment, check=False
    )
    assert run.stderr == ""
    assert run.returncode == 0


def test_a_card_file_can_be_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "mine.yaml"
    path.write_text(cards.dump(registry.get_card(NAME)).replace("seed: 0", "seed: -1"))
    assert main(["pretrain", str(path)]) == 2
    assert f"rgbd3d: {path}:" in capsys.readouterr().err


def test_render_inspect_and_pretrain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    rooms = tmp_path / "rooms"
    render = f"data render --out {rooms} --scenes 2 --frames 2 --size 36x24 --workers 1"
    assert main(render.split()) == 0
    assert main(["data", "inspect", str(rooms)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"frames +4$", out, re.MULTILINE)
    assert Path("rooms-train.png").is_file()
    assert "36 x 24 (width x height)" in out
    overrides = ["backbone.image_size=[24, 36]", "train.batch_size=2", "train.max_steps=1", "train.schedule.warmup=0"]
    overrides += ["train.threads=1", "train.precision=fp32"]
    options = [part for override in overrides for part in ("--set", override)]
    assert main(["pretrain", NAME, "--data", str(rooms), *options]) == 0
    final = Path("runs") / NAME / "final"
    assert (final / "model.safetensors").is_file()
    assert main(["verify", str(final)]) == 0
    (final / "model.safetensors").write_bytes(b"x")
    assert main(["verify", str(final)]) == 1


def test_reports_of_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", NAME, "--protocol", "nothing", "--data", "nowhere", "--random-init"]
    assert main(arguments) == 2
    assert "unknown protocol 'nothing'" in capsys.readouterr().err
    arguments = ["evaluate", NAME, "--protocol", "nyuv2-depth/eigen", "--data", "nowhere"]
    assert main(arguments) == 2
    assert f"{NAME} is a pre-trained backbone, but nyuv2-depth/eigen scores models for" in capsys.readouterr().err
    assert main([*arguments, "--seeds", "3"]) == 2
    assert "seeds cannot be asked for" in capsys.readouterr().err


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from rgbd3d.evaluation.result import Data, Result

    data = Data(source="rooms", split="test", frames=2, digest="0" * 64)
    files = []
    for name, runs in (("first", (0.5, 0.6)), ("second", (0.2, 0.3))):
        scores = tuple({"abs_rel": value} for value in runs)
        names = {"model": name, "checkpoints": (name,), "protocol": "x", "facts": {}, "command": "", "versions": {}}
        result = Result(**names, pretrained=True, seeds=(0, 1), runs=scores, data=data)
        files.append(str(tmp_path / f"{name}.json"))
        result.save(Path(files[-1]))
    assert main(["compare", *files, "--markdown", "--output", str(tmp_path / "plot.png")]) == 0
    out = capsys.readouterr().out
    assert "| second | 2 | **0.250 ± 0.071** |" in out
    assert "| second − first | -0.300 (4.2 σ) ! |" in out
    assert f"written: {tmp_path / 'plot.png'} and {tmp_path / 'plot.md'}" in out
    assert (tmp_path / "plot.png").is_file()
    assert main(["compare", files[0], files[0]]) == 2
    assert "is given twice" in capsys.readouterr().err
