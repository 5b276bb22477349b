"""The demo from rendering to report, on a few small rooms and on given frames."""

import html
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from rgbd3d import demo as module
from rgbd3d.cli import _parser, main
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.demo_tasks import add_predictions
from rgbd3d.evaluation import protocols
from rgbd3d.report import Report


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOMS", 2)
    monkeypatch.setattr(module, "ROOMS_HELD_OUT", 2)
    monkeypatch.setattr(module, "BATCH_SIZE", 4)
    monkeypatch.setattr(module, "CORES", 1)


def write_frames(folder: Path, count: int, *, depth: bool = True) -> Path:
    draws = torch.Generator().manual_seed(0)
    rows = []
    for number in range(count):
        sample = {"image": torch.randint(0, 256, (3, 60, 80), generator=draws, dtype=torch.uint8)}
        if depth:
            sample["depth"] = (1 + torch.rand(1, 60, 80, generator=draws)).mul(1000).round() / 1000
        rows.append(encode_sample(sample | {"scene_id": "given", "frame_id": number}))
    write_shard(folder / "train-00000-of-00001.parquet", rows)
    return folder


def table(report: str) -> dict[str, float]:
    cells = re.findall(r'<tr><td>([^<]*)</td><td class="number">([^<]*)</td></tr>', report)
    return {html.unescape(name): float(value) for name, value in cells}


def next_commands(output: str) -> list[str]:
    return [line.strip() for line in output.split("\nnext:\n")[-1].splitlines() if line.strip()]


@pytest.mark.slow
def test_rooms_then_given_frames_in_the_same_folder(tmp_path, capfd):
    output = tmp_path / "a demo"
    report = module.demo(None, output, steps=2).read_text(encoding="utf-8")
    printed = capfd.readouterr()
    assert "Loading weights" not in printed.err + printed.out
    assert logging.is_progress_bar_enabled()

    losses = table(report)
    assert losses["checkpoint"] < losses["predicting each patch's mean"] < losses["untrained network"]
    assert math.isfinite(losses["after the short run"])
    assert report.count("data:image/png;base64,") == 3
    assert 0 < losses["depth within 25 % of the truth (%)"] < 100
    assert 0 < losses["pixels with the right label (%)"] < 100
    assert sum(name.startswith(("rgbd3d.", "timm.", "AutoModel.")) for name in losses) == 3

    commands = next_commands(printed.out)
    for command in commands:
        if words := shlex.split(command, comments=True):
            assert _parser().parse_args(words[1:]).run
    verify, *_ = commands
    assert main(shlex.split(verify)[1:]) == 0
    [evaluate] = [command for command in commands if "evaluate" in command]
    assert "rgbd/pretext" in evaluate
    assert main(shlex.split(evaluate)[1:]) == 0

    frames = write_frames(tmp_path / "my frames", module.SHOWN)
    capfd.readouterr()
    second = module.demo(str(frames), output, steps=2).read_text(encoding="utf-8")
    assert f"{module.SHOWN} frames of {frames}" in second
    assert "Depth in metres" in second
    assert "pixels with the right label" not in second, "the frames have no labels"
    commands = next_commands(capfd.readouterr().out)
    assert f"rgbd3d pretrain {module.MODEL} --data '{frames}' --output runs/mine" in commands
    assert not any("evaluate" in command for command in commands)


def test_the_fine_tuned_models_are_better_than_a_guess(tmp_path):
    """Of the same frames: one depth everywhere, and the most frequent class everywhere."""
    from rgbd3d.data.synthrooms.render import render_scene

    samples = [sample for seed in (1, 2) for sample in render_scene(seed, frames=2, size=(120, 160))]
    report = Report("predictions", "")
    add_predictions(report, samples, [0, 3], "nyu40", (54, 72))
    report.write(tmp_path / "report.html")
    numbers = table((tmp_path / "report.html").read_text(encoding="utf-8"))
    depth, labels = (
        torch.cat([s["depth"].flatten() for s in samples]),
        torch.cat([s["semantic"].flatten() for s in samples]),
    )
    ratio = depth[depth > 0] / depth[depth > 0].median()
    assert numbers["depth within 25 % of the truth (%)"] > 100 * ((ratio < 1.25) & (ratio > 0.8)).float().mean()
    counts = torch.bincount(labels[labels < 40])
    assert numbers["pixels with the right label (%)"] > 100 * counts.max() / counts.sum()


def test_frames_without_depth_are_refused(tmp_path):
    frames = write_frames(tmp_path / "frames", module.SHOWN, depth=False)
    with pytest.raises(ValueError, match=r"has no depth, which the demo completes; it has image"):
        module.demo(str(frames), tmp_path / "out", steps=2)
    assert logging.is_progress_bar_enabled()


def test_frames_without_a_measurement_are_refused(tmp_path):
    sample = {"image": torch.zeros(3, 60, 80, dtype=torch.uint8), "depth": torch.zeros(1, 60, 80)}
    write_shard(tmp_path / "frames" / "train-0.parquet", [encode_sample(sample)] * module.SHOWN)
    with pytest.raises(ValueError, match=rf"frames: no depth was measured in {module.SHOWN} frames spread over it"):
        module.demo(str(tmp_path / "frames"), tmp_path / "out", steps=2)


def test_frames_of_which_no_pixel_is_labelled_are_shown_without_labels(tmp_path):
    samples = [
        {
            "image": torch.zeros(3, 60, 80, dtype=torch.uint8),
            "depth": torch.ones(1, 60, 80),
            "semantic": torch.full((60, 80), 255),
        }
    ]
    report = Report("predictions", "")
    add_predictions(report, samples, [0], "nyu40", (54, 72))
    report.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "depth within 25 % of the truth (%)" in table(text)
    assert "true labels" not in text


def test_too_few_frames_are_refused(tmp_path):
    frames = write_frames(tmp_path / "frames", module.SHOWN - 1)
    with pytest.raises(ValueError, match=f"has {module.SHOWN - 1} frames; the demo needs at least {module.SHOWN}"):
        module.demo(str(frames), tmp_path / "out", steps=2)


def test_nyu_frames_can_be_measured_on(tmp_path, monkeypatch):
    frames = write_frames(tmp_path / "frames", module.SHOWN)
    assert module._given(str(frames)).protocol is None
    as_if = replace(
        protocols.NYU_FRAMES, columns=("depth",), label_space=None, count=module.SHOWN, numbers={0: 0}, first=1
    )
    monkeypatch.setattr(protocols, "NYU_FRAMES", as_if)
    assert module._given(str(frames)).protocol == f"--protocol nyuv2-train795/probe --data {frames}"
