"""The main job in a few minutes: look at a checkpoint, train it on, save it, load it three ways, write a report."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

import rgbd3d
from rgbd3d import card_weights, registry
from rgbd3d.cards import Augment, Card, own_backbone
from rgbd3d.data.batch import denormalise_image, prepare
from rgbd3d.data.sources import Source, open_source
from rgbd3d.data.synthrooms.write import write_dataset
from rgbd3d.demo_tasks import add_predictions
from rgbd3d.evaluation import pictures, protocols
from rgbd3d.evaluation.pretext import pretext_losses
from rgbd3d.evaluation.transfer import final_features
from rgbd3d.methods.mask3d import Completion, Mask3D
from rgbd3d.report import Report
from rgbd3d.seeding import generator
from rgbd3d.training.logbook import CURVE
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.provenance import TRAIN_STATE
from rgbd3d.training.recipe import Pace
from rgbd3d.types import RGBDSample

MODEL = "mask3d-vitt-synthrooms"
SHOWN = 6
HELD_OUT = 32
BATCH_SIZE = 32
ROOMS, ROOMS_HELD_OUT = 40, 8
CORES = min(os.cpu_count() or 1, 8)
SCALE = 2
"""Pictures are shown at twice the size of the network's input."""

TOLERANCE = 1e-5
"""Largest difference of features between libraries."""


@dataclass(frozen=True)
class Frames:
    """What the demo works on.

    Attributes:
        title: For the report.
        spec: What `rgbd3d pretrain --data` takes, to continue pre-training on.
        held_out: Frames to look at and to measure on.
        measured_on: What these are, for the report.
        label_space: That of their labels, if they have any.
        protocol: Options of `rgbd3d evaluate` that make sense with these frames; None if there is no such protocol.
        recipe: Command that trains the whole recipe on such frames.
    """

    title: str
    spec: str
    held_out: list[RGBDSample]
    measured_on: str
    label_space: str | None
    protocol: str | None
    recipe: str


def demo(frames: str | None, output: Path, steps: int) -> Path:
    """Runs the demo.

    Args:
        frames: Any data source with depth; None renders rooms.
        output: Folder of everything that is written.
        steps: Optimiser steps of the visible training run.

    Returns:
        Path of the report.

    Raises:
        ValueError: The frames have no depth, or are too few.
        DataError: They cannot be read.
        RuntimeError: The libraries disagree on the exported folder.
    """
    with _without_loading_bars():
        return _demo(frames, output, steps)


@contextmanager
def _without_loading_bars() -> Iterator[None]:
    """Hides transformers' progress bars, which flash up for each of the small files that are loaded."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _demo(frames: str | None, output: Path, steps: int) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    card = registry.get_card(MODEL)
    data = _rendered(output) if frames is None else _given(frames)
    report = Report("rgbd3d demo", f"{MODEL} on {data.title}")
    model = _method(registry.create_model(MODEL, "pretraining", pretrained=True))
    shown = np.linspace(0, len(data.held_out) - 1, SHOWN).round().astype(int).tolist()
    _show(report, model, card, [data.held_out[index] for index in shown])
    height, width = card.backbone.image_size
    add_predictions(report, data.held_out, shown, data.label_space, (SCALE * height, SCALE * width))
    folder, curve = _continue(card, data, output, steps, model)
    report.section("Pre-training continued", f"{steps} steps of {BATCH_SIZE} frames, from the checkpoint.")
    report.image_file(curve, "Loss of each step. A run this short shows that training works, not what it can reach.")
    after = _method(registry.from_pretrained(folder, "pretraining"))
    report.table(
        (f"normalised-depth loss on {len(data.held_out)} {data.measured_on}", ""),
        _losses(card, data, {"untrained network": _untrained(), "checkpoint": model, "after the short run": after}),
    )
    _load_three_ways(report, folder, card, data.held_out)
    commands = _next_commands(folder, card, data)
    report.section("What to type next")
    report.commands(commands)
    path = output / "report.html"
    report.write(path)
    print(f"\nreport: {path.resolve()}\n\nnext:\n  " + "\n  ".join(commands))
    return path


def _method(model: nn.Module) -> Mask3D:
    """The bare method of a loaded pre-training model, ready to look at."""
    method = model.method
    assert isinstance(method, Mask3D)
    return method.eval()


def _untrained() -> Mask3D:
    """The same network with random weights, in every demo the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _method(registry.create_model(MODEL, "pretraining"))


def _losses(card: Card, data: Frames, models: dict[str, Mask3D]) -> list[tuple[str, float]]:
    """Rows of the loss on the frames to measure on: predicting the mean, then each model; all with the same masks."""
    losses = {name: pretext_losses(model, card, data.held_out, seed=0) for name, model in models.items()}
    mean_predictor = next(iter(losses.values()))["mean_predictor"]
    return [("predicting each patch's mean", mean_predictor), *((name, loss["loss"]) for name, loss in losses.items())]


def _rendered(output: Path) -> Frames:
    """Two small sets of rooms: one to train on, one to look at."""
    train, val = output / "rooms", output / "rooms-val"
    write_dataset(train, "train", scenes=ROOMS, frames_per_scene=8, size=(120, 160), workers=CORES)
    write_dataset(val, "val", scenes=ROOMS_HELD_OUT, frames_per_scene=4, size=(120, 160), workers=CORES)
    held_out = open_source(val, split="val")
    return Frames(
        title=f"rendered rooms: {len(open_source(train))} frames to train on, {len(held_out)} of other rooms",
        spec=str(train),
        held_out=[held_out[i] for i in range(len(held_out))],
        measured_on="frames of rooms that were never trained on",
        label_space=held_out.label_space,
        protocol=f"--protocol rgbd/pretext --data {shlex.quote(str(val))} --split val",
        recipe=card_weights.training_command(registry.get_card(MODEL)),
    )


def _given(spec: str) -> Frames:
    """The caller's frames; some spread over the whole source are looked at."""
    source = open_source(spec)
    if len(source) < SHOWN:
        raise ValueError(f"{spec} has {len(source)} frames; the demo needs at least {SHOWN}")
    if "depth" not in source.columns:
        raise ValueError(f"{spec} has no depth, which the demo completes; it has {', '.join(source.columns)}")
    shown = np.linspace(0, len(source) - 1, min(HELD_OUT, len(source))).round().astype(int)
    held_out = [source[int(i)] for i in shown]
    if not any(bool(sample["depth"].any()) for sample in held_out):
        raise ValueError(f"{spec}: no depth was measured in {len(held_out)} frames spread over it, so none to complete")
    return Frames(
        title=f"{len(source)} frames of {spec}",
        spec=spec,
        held_out=held_out,
        measured_on="of the given frames, which the short run also trains on",
        label_space=source.label_space,
        protocol=f"--protocol nyuv2-train795/probe --data {shlex.quote(spec)}" if _is_nyu(source) else None,
        recipe=f"rgbd3d pretrain {MODEL} --data {shlex.quote(spec)}",
    )


def _is_nyu(source: Source) -> bool:
    try:
        protocols.NYU_FRAMES.check(source)
    except ValueError:
        return False
    return True


def _show(report: Report, model: Mask3D, card: Card, samples: list[RGBDSample]) -> None:
    """Adds what the checkpoint sees, predicts and encodes."""
    batch = prepare(samples, Augment(), card.backbone.image_size, generator(0))
    completion = model.complete(
        batch["image"], batch["depth"], depth_metres=batch["depth_metres"], generator=generator(1)
    )
    with torch.inference_mode():
        features = final_features(model.backbone, batch["image"])
    maps = pictures.principal_components(features, card.backbone.image_size)
    rows = [
        [*_panels(card, batch["image"][i], batch["depth_metres"][i], completion, i), maps[i]]
        for i in range(len(samples))
    ]
    report.section(
        "What it learnt",
        f"The encoders see {model.objective.keep_rgb:.0%} of the image patches and {model.objective.keep_depth:.0%} of "
        "the depth patches; the decoder completes the depth map.",
    )
    report.picture(
        pictures.grid(
            [[pictures.enlarge(p, SCALE) for p in row] for row in rows],
            ("image", "seen of the image", "seen of the depth", "completed depth", "true depth", "features (PCA)"),
        ),
        "Completed depth takes the mean and spread of each patch from the truth, as in the figures of MAE and Mask3D: "
        "judge the structure, not the absolute depth. Black: not measured. The last column shows the first three "
        "principal components of the features of the whole image.",
    )


def _panels(card: Card, image: Tensor, depth: Tensor, completion: Completion, index: int) -> list[pictures.Picture]:
    """Image, what is seen of it and of the depth, the completed depth, and the truth, of one frame."""
    color = pictures.color_image((255 * denormalise_image(image)).round().clamp(0, 255).to(torch.uint8))
    near, far = pictures.depth_range(depth)
    truth, completed = (pictures.color_depth(d, near, far) for d in (depth, completion.depth[index]))
    seen = {name: mask[index] for name, mask in completion.masks.items()}
    patch = own_backbone(card.backbone).patch_size
    return [
        color,
        pictures.hide_patches(color, seen["rgb"], patch),
        pictures.hide_patches(truth, seen["depth"], patch),
        completed,
        truth,
    ]


def _continue(card: Card, data: Frames, output: Path, steps: int, start: nn.Module) -> tuple[Path, Path]:
    """Continues pre-training from the whole checkpoint; returns the exported folder and the curve."""
    overrides = (
        f"train.max_steps={steps}",
        f"train.batch_size={BATCH_SIZE}",
        f"train.optimizer.lr={card.train.optimizer.lr / 10}",
        f"train.schedule.warmup={max(1, steps // 10)}",
        "train.precision=fp32",
        f"train.threads={CORES}",
    )
    run = output / "run"
    if (run / TRAIN_STATE).is_file():  # of an earlier demo, perhaps on other frames; nothing else is ever deleted
        shutil.rmtree(run)
    try:
        folder = pretrain(card, data.spec, run, overrides, start=start, pace=Pace(log_every=1))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the demo was stopped while it trained; the next one begins again") from None
    return folder, run / CURVE


def _load_three_ways(report: Report, folder: Path, card: Card, samples: list[RGBDSample]) -> None:
    """Loads the exported folder with rgbd3d, timm and transformers and compares their features.

    Raises:
        RuntimeError: They differ by more than 1e-5.
    """
    image = prepare(samples[:4], Augment(), card.backbone.image_size, generator(0))["image"]
    ours = rgbd3d.from_pretrained(folder).eval()
    by_timm = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert isinstance(by_timm, VisionTransformer)
    by_transformers = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        features = {
            f'rgbd3d.from_pretrained("{folder}")': ours(image).last_hidden_state,
            f'timm.create_model("local-dir:{folder}", pretrained=True)': by_timm.forward_features(image),
            f'AutoModel.from_pretrained("{folder}")': by_transformers(image).last_hidden_state,
        }
    first = next(iter(features.values()))
    rows = [(name, (value - first).abs().max().item()) for name, value in features.items()]
    report.section(
        "One folder, three libraries", "Largest difference of the features of four frames to the first line."
    )
    report.table(("loaded with", "difference"), rows)
    worst = max(difference for _, difference in rows)
    if worst > TOLERANCE:
        raise RuntimeError(f"the three libraries disagree by {worst:.2e} on {folder}; please report this")


def _next_commands(folder: Path, card: Card, data: Frames) -> list[str]:
    exported = shlex.quote(str(folder))
    evaluate = [] if data.protocol is None else [f"rgbd3d evaluate {exported} {data.protocol}"]
    return [
        f"rgbd3d verify {exported}",
        f"rgbd3d info {MODEL}",
        *evaluate,
        f"# the recipe, from {card.init or 'random weights'}: {card.train.max_steps} x {card.train.batch_size} frames",
        f"{data.recipe} --output runs/mine",
        f"rgbd3d push {exported} YOUR_NAME/my-mask3d",
    ]
