"""The commands that measure what a checkpoint is worth."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from rgbd3d.cli_parsing import add_command, not_negative, positive


def add_commands(commands: Any) -> None:
    """Adds evaluate, compare and cka."""
    _add_evaluate(commands)
    _add_compare(commands)
    _add_cka(commands)


def _add_evaluate(commands: Any) -> None:
    command = add_command(commands, "evaluate", _evaluate, "measure a model by a protocol")
    command.add_argument("names", nargs="+", metavar="NAME", help="card, folder or Hub id; several: other seeds")
    command.add_argument("--protocol", required=True, help="for example nyuv2-depth/eigen; docs/evaluate.md lists them")
    command.add_argument("--data", required=True, metavar="SOURCE")
    command.add_argument("--split", help="default: that of the protocol, or train")
    command.add_argument("--output", type=Path, metavar="DIR", help="write the result here, and a page beside it")
    scored = command.add_argument_group("protocols that score a model for a task")
    scored.add_argument("--samples", type=positive, metavar="N", help="frames on the page (default: 8)")
    scored.add_argument("--full-size", action="store_true", help="frames at their own size instead of the card's")
    _add_device(scored)
    transfer = command.add_argument_group("protocols that train on a pre-trained model")
    transfer.add_argument("--seeds", nargs="+", type=not_negative, metavar="N", help="one run for each (default: 0)")
    transfer.add_argument("--random-init", action="store_true", help="the baseline: the same network, not pre-trained")


def _add_compare(commands: Any) -> None:
    command = add_command(commands, "compare", _compare, "put results of one protocol side by side")
    command.add_argument("results", nargs="+", metavar="RESULT.json", help="of evaluate or finetune")
    command.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    command.add_argument("--output", type=Path, metavar="FILE.png", help="draw them; the tables go to FILE.md")


_CHECKPOINT = "card, folder, Hub id, timm:NAME or transformers:OWNER/NAME; random:NAME is a card or backbone untrained"


def _add_cka(commands: Any) -> None:
    command = add_command(commands, "cka", _cka, "compare two checkpoints layer by layer on the same frames")
    for name in ("a", "b"):
        command.add_argument(name, metavar=name.upper(), help=_CHECKPOINT)
    command.add_argument("--data", required=True, metavar="SOURCE")
    command.add_argument("--split", default="train")
    command.add_argument("--frames", type=positive, default=512, metavar="N", help="evenly spaced (default: 512)")
    command.add_argument("--estimator", choices=["biased", "unbiased", "minibatch"], default="biased")
    command.add_argument(
        "--batch-size", type=positive, default=32, metavar="N", help="of the minibatch estimator (default: 32)"
    )
    command.add_argument("--layers", nargs="+", metavar="NAME", help="modules by name, or mesa (default: all blocks)")
    _add_device(command)
    command.add_argument("--output", type=Path, metavar="FILE.png", help="draw heat maps; the numbers go to FILE.json")


def _add_device(command: Any) -> None:
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def _evaluate(options: argparse.Namespace) -> None:
    from rgbd3d.evaluation.evaluate import evaluate, result_file

    result = evaluate(
        options.names,
        options.protocol,
        options.data,
        split=options.split,
        seeds=options.seeds,
        pretrained=not options.random_init,
        samples=options.samples,
        full_size=options.full_size,
        device=options.device,
        output=options.output,
    )
    print(result)
    if options.output is not None:
        file = result_file(result, options.output)
        page = file.with_suffix("") / "index.html"
        print(f"written: {file}" + (f" and {page}" if page.is_file() else ""))
        print(f"next: rgbd3d compare {shlex.quote(str(file))} OTHER.json")


def _compare(options: argparse.Namespace) -> None:
    from rgbd3d.evaluation.compare import compare

    comparison = compare(options.results, options.output)
    print(comparison.markdown() if options.markdown else comparison.text())
    if options.output is not None:
        print(f"written: {options.output} and {options.output.with_suffix('.md')}")


def _cka(options: argparse.Namespace) -> None:
    from rgbd3d.evaluation.cka import cka

    result = cka(
        options.a,
        options.b,
        options.data,
        split=options.split,
        frames=options.frames,
        estimator=options.estimator,
        batch_size=options.batch_size,
        layers=options.layers,
        device=options.device,
        output=options.output,
    )
    print(result)
    if options.output is not None:
        print(f"written: {options.output} and {options.output.with_suffix('.json')}")
