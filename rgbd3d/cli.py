"""The command line: parses arguments and calls one function of the package per command. No torch at the top."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rgbd3d
from rgbd3d import registry
from rgbd3d.cards import load_card, with_overrides

if TYPE_CHECKING:
    from rgbd3d.cards import Card
    from rgbd3d.data.manifest import Outcome

DEBUG = "RGBD3D_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Of the command line; by default those of this process.

    Returns:
        0; 1 if a check failed; 2 after an error of the user's, printed as one message without a traceback
        (RGBD3D_DEBUG=1 shows it); 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt as stop:
        print(f"stopped. {stop}".rstrip(), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        return 0
    except Exception as error:
        if os.environ.get(DEBUG) == "1" or not _is_users(error):
            raise
        hint = "" if _is_ours(error) else f" ({DEBUG}=1 shows where)"
        print(f"rgbd3d: {error}{hint}", file=sys.stderr)
        return 2


def _is_users(error: Exception) -> bool:
    """Whether the message alone helps: wrong input, a missing file, the network, or an error class of this package."""
    return _is_ours(error) or isinstance(error, (ValueError, OSError))


def _is_ours(error: Exception) -> bool:
    return any(cls.__module__.startswith("rgbd3d.") for cls in type(error).__mro__)


# -------------------------------------------------------------------------------------------------------- commands


def _list(options: argparse.Namespace) -> None:
    from rgbd3d.zoo import text_table

    names = registry.list_models(options.pattern, pretrained=options.pretrained or None, method=options.method)
    if not names:
        raise registry.UnknownModelError(f"no card matches {options.pattern!r}; `rgbd3d list` shows all")
    print(text_table([registry.get_card(name) for name in names]))


def _info(options: argparse.Namespace) -> None:
    print(registry.model_info(options.name))


def _demo(options: argparse.Namespace) -> None:
    from rgbd3d.demo import demo

    demo(options.frames, options.output, options.steps)


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


def _evaluate(options: argparse.Namespace) -> None:
    from rgbd3d.evaluation.evaluate import evaluate

    result = evaluate(
        options.name,
        options.protocol,
        options.data,
        split=options.split,
        seeds=range(options.seeds),
        pretrained=not options.random_init,
        output=options.output,
    )
    print(result)


def _cka(options: argparse.Namespace) -> None:
    from rgbd3d.evaluation.cka import cka

    result = cka(
        options.a,
        options.b,
        options.data,
        split=options.split,
        frames=options.frames,
        estimator=options.estimator,
        layers=options.layers,
        device=options.device,
        output=options.output,
    )
    print(result)
    if options.output is not None:
        print(f"written: {options.output} and {options.output.with_suffix('.json')}")


def _data_list(options: argparse.Namespace) -> None:
    from rgbd3d.data.catalog import text_table

    print(text_table())


def _data_render(options: argparse.Namespace) -> None:
    from rgbd3d.data.synthrooms.write import write_dataset

    write_dataset(
        options.out, options.split, options.scenes, options.frames, tuple(options.size), workers=options.workers
    )
    print(f"\nnext: rgbd3d data inspect {options.out} --split {options.split}")


def _data_prepare(options: argparse.Namespace) -> None:
    from rgbd3d.data.prepare import prepare
    from rgbd3d.data.readers.base import Options
    from rgbd3d.data.rows import DepthModel

    if options.push_to is not None:
        if options.shard != (1, 1):
            raise ValueError("--push-to is for a whole data set: give it to `rgbd3d data merge` instead")
        from rgbd3d.hub_datasets import open_repository

        open_repository(options.push_to)  # now rather than after hours of work
    outcome = prepare(
        options.name,
        options.raw,
        options.out,
        Options(options.stride, options.labels, options.clip_frames),
        size=options.size,
        depth_encoding=options.depth,
        pseudo_depth=options.pseudo_depth and DepthModel.parse(options.pseudo_depth),
        shard=options.shard,
        workers=options.workers,
        skip_bad=options.skip_bad,
    )
    print()
    _report(outcome, options.out, options.push_to)


def _data_merge(options: argparse.Namespace) -> None:
    from rgbd3d.data.manifest import merge

    _report(merge(options.out, options.folders), options.out, options.push_to)


def _report(outcome: Outcome, folder: Path, push_to: str | None) -> None:
    """Says what a folder holds, pushes it if that was asked for, and says what to type next."""
    print(outcome)
    path = shlex.quote(str(folder))
    if not outcome.finished:
        print(f"next: rgbd3d data merge OUT {path} OTHER-SHARE...")
    elif push_to is None:
        print(f"next: rgbd3d data inspect {path} --split {next(iter(outcome.rows))}")
    else:
        from rgbd3d.hub_datasets import push_dataset

        commit = push_dataset(folder, push_to)
        print(f"pushed as commit {commit}\nnext: rgbd3d data inspect hf://datasets/{push_to}@{commit}")


def _data_verify(options: argparse.Namespace) -> None:
    from rgbd3d.data.manifest import verify

    manifest = verify(options.folder)
    print(f"verified: {len(manifest['files'])} files, {sum(manifest['rows'].values())} rows")


def _data_inspect(options: argparse.Namespace) -> None:
    from rgbd3d.data.inspect import inspect

    sheet = options.sheet or Path(f"{Path(options.source).name.partition('?')[0]}-{options.split}.png")
    print(inspect(options.source, options.split, None if options.no_sheet else sheet))


def _push(options: argparse.Namespace) -> None:
    from rgbd3d.hub import push

    commit = push(options.folder, options.repo, private=options.private, branch=options.branch)
    print(f'pushed as commit {commit}\nnext: rgbd3d.from_pretrained("{options.repo}", revision="{commit}")')


def _pull(options: argparse.Namespace) -> None:
    from rgbd3d.hub import pull

    folder = pull(options.repo, revision=options.revision, output=options.output)
    print(f"verified: {folder}\nnext: rgbd3d.from_pretrained({str(folder)!r})")


def _verify(options: argparse.Namespace) -> int:
    from rgbd3d.hub import verify

    report = verify(options.source, options.revision)
    print(report)
    return 0 if report.ok else 1


# ---------------------------------------------------------------------------------------------------------- parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rgbd3d", description=rgbd3d.__doc__)
    parser.add_argument("--version", action="version", version=f"rgbd3d {rgbd3d.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_zoo_commands(commands)
    _add_training_commands(commands)
    data = commands.add_parser("data", help="data sets: list, prepare, merge, verify, render, inspect")
    _add_data_commands(data.add_subparsers(required=True, metavar="COMMAND"))
    _add_hub_commands(commands)
    return parser


def _add(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    command.set_defaults(run=run)
    return command


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number, 1 or more")
    return int(text)


def _add_zoo_commands(commands: Any) -> None:
    command = _add(commands, "list", _list, "the models and whether they have weights")
    command.add_argument("pattern", nargs="?", default="*", help="shell-style, for example 'mask3d-*'")
    command.add_argument("--pretrained", action="store_true", help="only those with weights")
    command.add_argument("--method", help="only those of a method, for example mask3d")
    command = _add(commands, "info", _info, "what the card of a model says")
    command.add_argument("name", metavar="NAME")
    command = _add(commands, "demo", _demo, "look at a checkpoint, train it on, load it three ways, write a report")
    command.add_argument("--frames", metavar="SOURCE", help="RGB-D frames; default: rendered rooms")
    command.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR")
    command.add_argument("--steps", type=_positive, default=60, help="optimiser steps of the visible run (default: 60)")


def _add_training_commands(commands: Any) -> None:
    command = _add(
        commands, "pretrain", _pretrain, "train a card by its recipe; the same command continues a stopped run"
    )
    command.add_argument("card", metavar="CARD", help="name of a card, or a file ending in .yaml")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for example train.max_steps=100"
    )
    command.add_argument("--no-resume", action="store_true", help="refuse a folder that holds a run already")
    _add_run_options(command, "runs/NAME")
    command = _add(commands, "reproduce", _reproduce, "train a published card again from its recipe and compare")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--steps", type=_positive, metavar="N", help="compare the losses of the first steps only")
    _add_run_options(command, "runs/NAME-reproduced")
    command = _add(commands, "evaluate", _evaluate, "measure a model by a protocol")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--protocol", required=True, help="for example nyuv2-train795/probe")
    command.add_argument("--data", required=True, metavar="SOURCE")
    command.add_argument("--split", default="train")
    command.add_argument("--seeds", type=_positive, default=1, metavar="N", help="number of seeds, counted from 0")
    command.add_argument("--random-init", action="store_true", help="the baseline: the same network, not pre-trained")
    command.add_argument("--output", type=Path, metavar="DIR", help="write the result as JSON here")
    _add_cka(commands)


def _add_cka(commands: Any) -> None:
    command = _add(commands, "cka", _cka, "compare two checkpoints layer by layer on the same frames")
    for name in ("a", "b"):
        command.add_argument(name, metavar=name.upper(), help="card, folder, Hub id, timm:NAME or random:CARD")
    command.add_argument("--data", required=True, metavar="SOURCE")
    command.add_argument("--split", default="train")
    command.add_argument("--frames", type=_positive, default=512, metavar="N", help="evenly spaced (default: 512)")
    command.add_argument("--estimator", choices=["biased", "unbiased", "minibatch"], default="biased")
    command.add_argument("--layers", nargs="+", metavar="NAME", help="modules by name, or mesa (default: all blocks)")
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    command.add_argument("--output", type=Path, metavar="FILE.png", help="draw heat maps; the numbers go to FILE.json")


def _add_run_options(command: argparse.ArgumentParser, output: str) -> None:
    command.add_argument(
        "--data", metavar="SOURCE", help="folder or hf://datasets/OWNER/NAME@REVISION; default: rendered"
    )
    command.add_argument("--output", type=Path, metavar="DIR", help=f"default: {output}")
    command.add_argument("--workers", type=int, default=0, help="loader processes; the result doesn't depend on it")
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def _add_data_commands(commands: Any) -> None:
    _add(commands, "list", _data_list, "the data sets that are known: terms, what you need, the command")
    command = _add(commands, "render", _data_render, "render rooms with synthrooms; goes on where it was stopped")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--scenes", type=_positive, required=True, metavar="N", help="rooms")
    command.add_argument("--frames", type=_positive, default=8, metavar="N", help="views per room (default: 8)")
    command.add_argument("--size", type=_positive, nargs=2, default=(240, 320), metavar=("HEIGHT", "WIDTH"))
    command.add_argument("--split", choices=["train", "val", "test"], default="train", help="no room is in two splits")
    command.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    _add_prepare(commands)
    command = _add(commands, "merge", _data_merge, "join the shares that several machines prepared")
    command.add_argument("out", type=Path, metavar="OUT")
    command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    command.add_argument("--push-to", metavar="OWNER/NAME", help="then upload it to this private repository of yours")
    command = _add(commands, "verify", _data_verify, "check every file of a prepared data set against its manifest")
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command = _add(commands, "inspect", _data_inspect, "what a data source holds")
    command.add_argument("source", metavar="SOURCE", help="folder or hf://datasets/OWNER/NAME@REVISION")
    command.add_argument("--split", default="train")
    command.add_argument("--sheet", type=Path, metavar="FILE.png", help="contact sheet (default: SOURCE-SPLIT.png)")
    command.add_argument("--no-sheet", action="store_true", help="print the summary only")


def _add_prepare(commands: Any) -> None:
    command = _add(commands, "prepare", _data_prepare, "turn your copy of a data set into Parquet; goes on if stopped")
    command.add_argument("name", metavar="NAME", help="see `rgbd3d data list`")
    command.add_argument("--raw", type=Path, required=True, metavar="DIR", help="your copy")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--push-to", metavar="OWNER/NAME", help="then upload it to this private repository of yours")
    command.add_argument("--stride", type=_positive, metavar="K", help="every k-th frame (default: the data set's)")
    command.add_argument("--labels", metavar="SPACE", help="label space (default: the data set's first)")
    command.add_argument("--clip-frames", type=_positive, default=16, metavar="T", help="of a clip (default: 16)")
    command.add_argument("--size", type=_size, metavar="WxH", help="resize frames (default: as they are)")
    command.add_argument(
        "--depth", choices=["png", "tiff"], default="png", help="tiff decodes several times faster (default: png)"
    )
    command.add_argument("--pseudo-depth", metavar="MODEL[@REVISION][:metric|:relative]", help="estimate missing depth")
    command.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="do one of N shares, then merge")
    command.add_argument("--workers", type=_positive, metavar="N", help="processes (default: one per core, at most 4)")
    command.add_argument("--skip-bad", action="store_true", help="leave out and count what cannot be used")


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not separator or not (width.isdecimal() and height.isdecimal()) or min(int(width), int(height)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be WIDTHxHEIGHT, for example 320x240")
    return int(height), int(width)


def _shard(text: str) -> tuple[int, int]:
    number, separator, of = text.partition("/")
    if not separator or not (number.isdecimal() and of.isdecimal()) or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError(f"{text!r} should be I/N with I from 1 to N, for example 1/4")
    return int(number), int(of)


def _add_hub_commands(commands: Any) -> None:
    command = _add(commands, "push", _push, "upload a model folder to the Hub as one commit")
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("repo", metavar="OWNER/NAME")
    command.add_argument("--private", action="store_true")
    command.add_argument("--branch", default="main")
    command = _add(commands, "pull", _pull, "download a model folder from the Hub and verify it")
    command.add_argument("repo", metavar="OWNER/NAME")
    command.add_argument("--revision", help="commit, branch or tag (default: main)")
    command.add_argument("--output", type=Path, metavar="DIR", help="default: the cache of huggingface_hub")
    command = _add(commands, "verify", _verify, "check a model folder or repository: hashes, layout, promised features")
    command.add_argument("source", metavar="FOLDER|OWNER/NAME")
    command.add_argument("--revision", help="commit, branch or tag (default: main)")


if __name__ == "__main__":
    sys.exit(main())
