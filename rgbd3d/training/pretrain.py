"""The verb: card -> weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from rgbd3d import card_weights
from rgbd3d.cards import Card, Start, with_overrides
from rgbd3d.downstream.start import load_start
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.methods import build_method
from rgbd3d.training.curves import CURVE, run_curve, write_curve
from rgbd3d.training.exported_card import Given, exported_card
from rgbd3d.training.frames import open_frames
from rgbd3d.training.recipe import Device, Pace, run_identity, total_steps, training_arguments
from rgbd3d.training.run import FINAL, Run, find_checkpoint, record_start, reproducible, train, weights_digest
from rgbd3d.training.start import Loaded, open_start
from rgbd3d.training.trainer import Method

__all__ = ["FINAL", "pretrain"]


def pretrain(
    card: Card,
    data: str | None,
    output: str | Path,
    overrides: Sequence[str] = (),
    *,
    workers: int = 0,
    resume: bool = True,
    device: Device = "auto",
    start: nn.Module | str | Path | None = None,
    pace: Pace | None = None,
) -> Path:
    """Trains a card by its recipe, or continues a run that was stopped, and exports the result.

    However often it is killed, the weights at the end are the same, bit for bit, on the same machine and device with
    the same torch. Under torchrun it runs in all processes; the batch of the card is divided among them.

    Args:
        card: Recipe.
        data: Data specification of `rgbd3d.data.sources.open_source`; None renders the card's synthrooms.
        output: Folder of the run: checkpoints, log.jsonl, loss.png, curve.txt, train_state.json and the export.
        overrides: `train.max_steps=100` and the like, applied to the card.
        workers: Loader processes; 0 loads in this process. Does not change the result.
        resume: Continue from the newest whole checkpoint in `output`; False refuses a folder that has one.
        device: "auto" takes a GPU if there is one.
        start: What to start from instead of the card's `init`: a whole pre-training model of the card, or the name of a
            model whose backbone to take, see `rgbd3d.training.start.open_start`.
        pace: Logging and saving intervals.

    Returns:
        Folder of the exported model, `output/final`; with `pace.stop_after` the folder of the checkpoint.

    Raises:
        CardError: A wrong override.
        NoWeightsError: The card starts from one that has no weights yet.
        UnknownModelError: There is no such model to start from.
        ValueError: A fine-tuned card, or the data, the number of processes or the steps do not fit the recipe, or
            `start` has another backbone.
        ResumeError: `output` holds another run.
        NonFiniteError: The loss or a gradient became NaN or infinite.
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM, after saving.
    """
    recipe, card, output, pace = card, with_overrides(card, overrides), Path(output), pace or Pace()
    if card.task is not None:
        raise ValueError(f"{card.name} is a fine-tuned model; train it with `rgbd3d finetune {card.name}`")
    loaded = open_start(start) if isinstance(start, str | Path) else None
    given = loaded.given if loaded else None
    if isinstance(start, nn.Module):
        given = Given(Start(digest=weights_digest(start)))
    with reproducible(card.train.threads):
        args = training_arguments(card.train, output, pace, device)
        with args.main_process_first(desc="rendering"):
            source = open_frames(card, data)
        output.mkdir(parents=True, exist_ok=True)
        args.max_steps = total_steps(card.train, len(source))
        start_digest = None if given is None else given.start.digest
        identity = run_identity(card, source.digest(), start_digest, args.world_size)
        checkpoint = find_checkpoint(args, output, identity, resume)
        run = Run(card, source, args, output, identity, checkpoint, workers, pace)
        record_start(run, data, overrides)
        model = _initial_model(card, start if isinstance(start, nn.Module) else None, loaded)
        train(run, model, "pre-training")
        if run.stops_early:
            return output / f"checkpoint-{run.last_step}"
        return _export(run, model, exported_card(recipe, card, data, overrides, given))


def _initial_model(card: Card, whole: nn.Module | None, loaded: Loaded | None) -> Method:
    """Model before its first step; on every machine and device the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.train.seed)
        model = build_method(card)
    if whole is not None:
        model.load_state_dict(whole.state_dict())
    elif loaded is not None:
        load_start(model, loaded.backbone.state_dict(), card, loaded.given.start.name)
    elif (backbone := card_weights.initial_weights(card)) is not None:
        load_start(model, backbone, card, str(card.init))
    return model


def _export(run: Run, model: Method, card: Card) -> Path:
    final = run.output / FINAL
    if run.args.process_index == 0:
        save_pretrained_folder(model, card, final)
        write_curve(run_curve(run.output), run.output / CURVE)
        print(f"\nsaved {final}\nnext: rgbd3d verify {final}", flush=True)
    return final
