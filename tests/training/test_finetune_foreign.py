"""Fine-tuning a backbone of timm or transformers: what is exported is loaded again, offline and by everybody."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_task
import torch
from foreign_backbones import DINO, VIT, publish_dino, publish_timm
from loopback_hub import LoopbackHub
from transformers import AutoImageProcessor, AutoModelForDepthEstimation, AutoModelForSemanticSegmentation, pipeline

import rgbd3d
from rgbd3d.cards import dump, load_card
from rgbd3d.cli import main
from rgbd3d.data.sources import open_source
from rgbd3d.evaluation.result import Result
from rgbd3d.hub_verify import check_folder
from rgbd3d.training.finetune import finetune
from rgbd3d.training.recipe import Pace
from rgbd3d.training.resume import ResumeError

pytest_plugins = ["hub_fixtures"]

SHORT = ("train.max_steps=3",)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A depth model on timm's network, from random initialisation: without any Hub."""
    output = tmp_path_factory.mktemp("run")
    finetune(tiny_task.DEPTH, str(data), output, SHORT, backbone=f"random:timm:{VIT}", device="cpu")
    return output


def frames(data: Path) -> torch.Tensor:
    source = open_source(data, split="test")
    return torch.stack([source[index]["image"] for index in range(tiny_task.SCORED)])


def test_the_exported_folder_says_what_it_is(run: Path, data: Path):
    card = load_card(run / "final" / "card.yaml")
    assert (card.name, card.method, card.init) == (f"timm-{VIT}.depth-estimation-made-up", None, None)
    assert card.backbone.spec == f"random:timm:{VIT}"
    assert f"The recipe of {tiny_task.DEPTH.name} on another backbone, random:timm:{VIT}." in card.departures
    (measured,) = card.measured
    assert measured.command == (
        f"rgbd3d finetune {tiny_task.DEPTH.name} --backbone random:timm:{VIT} --data {data} --set train.max_steps=3 "
        f"--output {run}"
    )
    assert not Result.load(run / "result.json").pretrained
    assert not (run / "final" / "backbone").exists()
    assert f"timm:{VIT}" in (run / "final" / "README.md").read_text()
    report = check_folder(run / "final")
    assert report.ok, str(report)


def test_is_loaded_and_evaluated_to_the_same_numbers(run: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    line = json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])
    arguments = ["--protocol", tiny_task.DEPTH_PROTOCOL, "--data", str(data), "--device", "cpu"]
    assert main(["evaluate", str(run / "final"), *arguments, "--output", str(run / "scored")]) == 0
    (file,) = (run / "scored").glob("*.json")
    assert Result.load(file).mean("abs_rel") == pytest.approx(line["metrics"]["abs_rel"], rel=1e-6)
    assert main(["verify", str(run / "final")]) == 0


def test_auto_classes_and_pipelines_load_it(run: Path, data: Path):
    expected = rgbd3d.from_pretrained(run / "final")
    model: Any = AutoModelForDepthEstimation.from_pretrained(str(run / "final"))
    assert torch.equal(model.predict(frames(data)), expected.predict(frames(data)))
    processor: Any = AutoImageProcessor.from_pretrained(str(run / "final"))
    assert tuple(processor.image_mean) == tuple(expected.model.preprocessing.mean)
    assert tuple(processor.image_std) == tuple(expected.model.preprocessing.std)
    picture = frames(data)[0]
    pixels = processor(picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        metres = model(pixels).predicted_depth
    found = pipeline("depth-estimation", model=model, image_processor=processor)(_image(picture))
    assert found["predicted_depth"].shape[-2:] == picture.shape[-2:]
    assert metres.isfinite().all()


def test_is_saved_again(run: Path, data: Path, tmp_path: Path):
    model = rgbd3d.from_pretrained(run / "final")
    model.save_pretrained(tmp_path / "again")
    again: Any = AutoModelForDepthEstimation.from_pretrained(str(tmp_path / "again"))
    assert torch.equal(again.predict(frames(data)), model.predict(frames(data)))


def test_another_backbone_is_another_run(run: Path, data: Path):
    arguments: dict[str, Any] = {"device": "cpu", "overrides": SHORT}
    with pytest.raises(ResumeError, match=r"backbone\.model: 'test_vit.r160_in1k' then, 'test_vit2.r160_in1k' now"):
        finetune(tiny_task.DEPTH, str(data), run, backbone="random:timm:test_vit2", **arguments)
    with pytest.raises(ResumeError, match="holds another run"):
        finetune(tiny_task.DEPTH, str(data), run, **arguments)


def test_another_normalisation_is_another_run(run: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    """A younger timm may have another one for the same name."""
    found = ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    monkeypatch.setattr("rgbd3d.downstream.timm_backbones.normalisation", lambda name: found)
    with pytest.raises(ResumeError, match=r"preprocessing\.mean: .* then, \[0\.1, 0\.2, 0\.3\] now"):
        finetune(tiny_task.DEPTH, str(data), run, SHORT, backbone=f"random:timm:{VIT}", device="cpu")


def test_a_stopped_run_goes_on_exactly(run: Path, data: Path, tmp_path: Path):
    for pace in (Pace(stop_after=2), Pace()):
        finetune(tiny_task.DEPTH, str(data), tmp_path, SHORT, backbone=f"random:timm:{VIT}", device="cpu", pace=pace)
    weights = Path("final", "model.safetensors")
    assert (tmp_path / weights).read_bytes() == (run / weights).read_bytes()


def test_the_card_of_a_run_is_a_recipe(run: Path, data: Path, tmp_path: Path):
    recipe = tmp_path / "again.yaml"
    recipe.write_text((run / "final" / "card.yaml").read_text())
    main(["finetune", str(recipe), "--data", str(data), "--output", str(tmp_path / "run"), "--device", "cpu"])
    weights = Path("final", "model.safetensors")
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()


def test_trained_weights_of_transformers_and_a_folder_without_the_hub(
    hub: LoopbackHub, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit = publish_dino(hub, tmp_path / "dino")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump(dataclasses.replace(tiny_task.SEMANTIC)))
    command = ["finetune", str(recipe), "--backbone", f"transformers:{DINO}@{commit}", "--data", str(data)]
    command += ["--set", "train.max_steps=3", "--device", "cpu", "--output", str(tmp_path / "run")]
    assert main(command) == 0
    state = json.loads((tmp_path / "run" / "train_state.json").read_text())
    assert len(state["start_digest"]) == 64
    assert state["card"]["backbone"]["revision"] == commit
    assert Result.load(tmp_path / "run" / "result.json").pretrained
    hub.stop()
    final = tmp_path / "run" / "final"
    monkeypatch.setattr("rgbd3d.downstream.foreign.snapshot", None)  # nothing may be asked of the Hub, or of its cache
    assert check_folder(final).ok, str(check_folder(final))
    model = rgbd3d.from_pretrained(final)
    auto: Any = AutoModelForSemanticSegmentation.from_pretrained(str(final))
    assert torch.equal(auto.predict(frames(data)), model.predict(frames(data)))
    assert model.card is not None
    assert model.card.backbone.spec == f"transformers:{DINO}@{commit}"


def test_the_backbone_starts_from_the_pinned_weights(hub: LoopbackHub, data: Path, tmp_path: Path):
    publish_timm(hub, tmp_path / "timm")
    frozen = ("objective.freeze_backbone=true", "train.layer_decay=1.0", "objective.drop_path=0.0", *SHORT)
    finetune(tiny_task.DEPTH, str(data), tmp_path / "run", frozen, backbone=f"timm:{VIT}", device="cpu")
    trained = rgbd3d.from_pretrained(tmp_path / "run" / "final").network.backbone.state_dict()
    from safetensors.torch import load_file

    published = load_file(tmp_path / "timm" / "model.safetensors")
    assert all(torch.equal(value, published[name]) for name, value in trained.items())


def test_what_excludes_another_backbone(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["finetune", tiny_task.DEPTH.name, "--start", "a", "--backbone", f"random:timm:{VIT}"])
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(ValueError, match="brings its own weights: there can be no other model to start from"):
        finetune(
            tiny_task.DEPTH, str(data), tmp_path, backbone=f"random:timm:{VIT}", start=str(run / "final"), device="cpu"
        )
    assert main(["finetune", "mask3d-vitt-synthrooms.depth-synthrooms", "--backbone", "random:timm:test_vot"]) != 0
    assert "timm knows no model 'test_vot'; did you mean 'test_vit'?" in capsys.readouterr().err


def _image(picture: torch.Tensor) -> Any:
    from PIL import Image

    return Image.fromarray(picture.permute(1, 2, 0).numpy())
