"""A detector is fine-tuned on rendered rooms: trained, exported, scored, and continued as if nothing had stopped it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import tiny_task

import rgbd3d
from rgbd3d.cards import Augment, Data, Evaluation
from rgbd3d.cli import main
from rgbd3d.data.synthrooms.write import write_dataset
from rgbd3d.evaluation.evaluate import evaluate
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.evaluation.result import Result
from rgbd3d.tasks import InstanceSegmentation
from rgbd3d.training.finetune import finetune
from rgbd3d.training.logbook import read_log
from rgbd3d.training.recipe import Pace

pytest.importorskip("faster_coco_eval", reason="COCO's average precision needs the extra eval")

PROTOCOL = "synthrooms-instances/37"
FRAMES = 6
CARD = dataclasses.replace(
    tiny_task.DEPTH,
    name="mask3d-vitt-tiny.instances-tiny",
    task="instance-segmentation",
    objective=InstanceSegmentation(labels="nyu40", classes=find_scored(PROTOCOL).class_ids, width=16, drop_path=0.1),
    data=Data(source="made up", augment=Augment(crop_scale=(0.5, 1.0), flip=0.5)),
    evaluation=Evaluation(protocol=PROTOCOL, metric="mask_ap", every=1),
    train=dataclasses.replace(tiny_task.DEPTH.train, batch_size=2, max_steps=4),
)
"""Four steps of two frames: scored after steps 0, 3 and 4."""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    write_dataset(folder, "train", scenes=2, frames_per_scene=FRAMES // 2, size=(48, 64))
    write_dataset(folder, "test", scenes=1, frames_per_scene=2, size=(48, 64))
    return folder


@pytest.fixture(scope="module")
def run(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nothing interrupted."""
    output = tmp_path_factory.mktemp("run")
    finetune(CARD, str(rooms), output, device="cpu", pace=Pace(log_every=1, save_every=tiny_task.SAVE_EVERY))
    return output


def test_all_parts_are_trained_and_exported_with_their_numbers(run: Path, rooms: Path, tmp_path: Path):
    log = read_log(run)
    assert {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"} <= log[0].keys()
    assert [line["step"] for line in log] == [1, 2, 3, 4]
    result = Result.load(run / "result.json")
    assert {"box_ap", "mask_ap"} <= set(result.metrics)
    assert main(["verify", str(run / "final")]) == 0
    model = rgbd3d.from_pretrained(run / "final")
    (found,) = model.predict(rgbd3d.open_source(rooms, split="test")[0]["image"][None])
    assert found["masks"].shape == (len(found["boxes"]), 1, 48, 64)
    again = evaluate(str(run / "final"), PROTOCOL, rooms, device="cpu", output=tmp_path)
    assert again.runs[0] == pytest.approx(result.runs[0], abs=1e-6)


def test_goes_on_with_the_same_bits(rooms: Path, run: Path, tmp_path: Path):
    for stop_after in (3, None):
        pace = Pace(log_every=1, save_every=tiny_task.SAVE_EVERY, stop_after=stop_after)
        finetune(CARD, str(rooms), tmp_path, device="cpu", pace=pace)
    for path in ("final/model.safetensors", "best/model.safetensors", "evaluations.jsonl"):
        assert (tmp_path / path).read_bytes() == (run / path).read_bytes(), path
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 3, 4]
