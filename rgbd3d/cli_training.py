"""The commands that train a card by its recipe."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbd3d import registry
from rgbd3d.cards import load_card, with_overrides
from rgbd3d.cli_parsing import add_command, not_negative, positive

if TYPE_CHECKING:
    from rgbd3d.cards import Card


def add_commands(commands: Any) -> None:
    """Adds pretrain, finetune and reproduce."""
    command = add_command(
        commands, "pretrain", _pretrain, "train a card by its recipe; the same command continues a stopped run"
    )
    _add_recipe(command)
    _add_start(command)
    _add_run_options(command, "runs/NAME")
    command = add_command(
        commands, "finetune", _finetune, "train a card for its task and score it; the same command continues"
    )
    _add_recipe(command)
    command.add_argument("--seeds", nargs="+", type=not_negative, metavar="N", help="one run for each, in DIR/seed-N")
    other = command.add_mutually_exclusive_group()
    _add_start(other)
    other.add_argument(
        "--backbone",
        metavar="[random:]LIBRARY:MODEL[@COMMIT]",
        help="the recipe on a backbone of timm or transformers, for example timm:convnext_tiny.fb_in22k",
    )
    _add_run_options(command, "runs/NAME")
    command = add_command(commands, "reproduce", _reproduce, "train a published card again from its recipe and compare")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--steps", type=positive, metavar="N", help="compare the losses of the first steps only")
    _add_run_options(command, "runs/NAME-reproduced")


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("card", metavar="CARD", help="name of a card, or a file ending in .yaml")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for example train.max_steps=100"
    )
    command.add_argument("--no-resume", action="store_true", help="refuse a folder that holds a run already")


def _add_start(command: Any) -> None:
    command.add_argument(
        "--start", metavar="MODEL", help="folder, Hub id or card to start from instead of the card's init"
    )


def _add_run_options(command: argparse.ArgumentParser, output: str) -> None:
    command.add_argument(
        "--data", metavar="SOURCE", help="folder or hf://datasets/OWNER/NAME@REVISION; default: rendered"
    )
    command.add_argument("--output", type=Path, metavar="DIR", help=f"default: {output}")
    command.add_argument(
        "--workers", type=not_negative, default=0, help="loader processes; the result doesn't depend on it"
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def _pretrain(options: argparse.Namespace) -> None:
    card = _recipe(options.card)
    with_overrides(card, options.set)  # a typo is reported before torch is imported
    from rgbd3d.training.pretrain import pretrain

    output = options.output or Path("runs") / card.name
    pretrain(
        card,
        options.data,
        output,
        options.set,
        workers=options.workers,
        resume=not options.no_resume,
        device=options.device,
        start=options.start,
    )


def _finetune(options: argparse.Namespace) -> None:
    card, folder = _recipe(options.card), Path("runs")
    if options.backbone is None:
        with_overrides(card, options.set)  # a typo is reported before torch is imported
    else:
        folder /= re.sub(r"[^\w.@-]+", "-", options.backbone)
    from rgbd3d.training.finetune import finetune

    finetune(
        card,
        options.data,
        options.output or folder / card.name,
        options.set,
        seeds=options.seeds,
        workers=options.workers,
        resume=not options.no_resume,
        device=options.device,
        start=options.start,
        backbone=options.backbone,
        recipe=options.card,
    )


def _recipe(text: str) -> Card:
    if not text.endswith((".yaml", ".yml")):
        return registry.get_card(text)
    if not Path(text).is_file():
        raise FileNotFoundError(f"no such card file: {text}; `rgbd3d list` shows the models that go by name")
    return load_card(text)


def _reproduce(options: argparse.Namespace) -> int:
    registry.get_card(options.name)
    from rgbd3d.training.reproduce import reproduce

    report = reproduce(
        options.name,
        options.output or Path("runs") / f"{options.name}-reproduced",
        data=options.data,
        steps=options.steps,
        workers=options.workers,
        device=options.device,
    )
    print(report)
    return 0 if report.ok else 1
