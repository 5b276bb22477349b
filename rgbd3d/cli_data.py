"""The commands below `rgbd3d data`: from a raw data set to a source of frames."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rgbd3d.card_data import Rooms
from rgbd3d.cli_parsing import add_command, positive, shard, size

if TYPE_CHECKING:
    from rgbd3d.data.manifest import Outcome


def add_commands(commands: Any) -> None:
    """Adds `data` and the commands below it."""
    group = commands.add_parser("data", help="data sets: list, prepare, merge, verify, render, inspect")
    commands = group.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, "list", _data_list, "the data sets that are known: terms, what you need, the command")
    command = add_command(
        commands, "render", _data_render, "render rooms with synthrooms; goes on where it was stopped"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--scenes", type=positive, required=True, metavar="N", help="rooms")
    command.add_argument("--frames", type=positive, default=8, metavar="N", help="views per room (default: 8)")
    command.add_argument("--size", type=size, default=(240, 320), metavar="WxH", help="of a view (default: 320x240)")
    command.add_argument("--split", choices=["train", "val", "test"], default="train", help="no room is in two splits")
    command.add_argument(
        "--rooms",
        choices=get_args(Rooms),
        default="compact",
        help="deep: long views now and then (default: compact)",
    )
    command.add_argument(
        "--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    _add_prepare(commands)
    command = add_command(commands, "merge", _data_merge, "join the shares that several machines prepared")
    command.add_argument("out", type=Path, metavar="OUT")
    command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    command.add_argument("--push-to", metavar="OWNER/NAME", help="then upload it to this private repository of yours")
    command = add_command(
        commands, "verify", _data_verify, "check every file of a prepared data set against its manifest"
    )
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command = add_command(commands, "inspect", _data_inspect, "what a data source holds")
    command.add_argument("source", metavar="SOURCE", help="folder or hf://datasets/OWNER/NAME@REVISION")
    command.add_argument("--split", default="train")
    command.add_argument("--sheet", type=Path, metavar="FILE.png", help="contact sheet (default: SOURCE-SPLIT.png)")
    command.add_argument("--no-sheet", action="store_true", help="print the summary only")


def _add_prepare(commands: Any) -> None:
    command = add_command(
        commands, "prepare", _data_prepare, "turn your copy of a data set into Parquet; goes on if stopped"
    )
    command.add_argument("name", metavar="NAME", help="see `rgbd3d data list`")
    command.add_argument("--raw", type=Path, required=True, metavar="DIR", help="your copy")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--push-to", metavar="OWNER/NAME", help="then upload it to this private repository of yours")
    command.add_argument("--stride", type=positive, metavar="K", help="every k-th frame (default: the data set's)")
    command.add_argument("--labels", metavar="SPACE", help="label space (default: the data set's first)")
    command.add_argument("--clip-frames", type=positive, default=16, metavar="T", help="of a clip (default: 16)")
    command.add_argument("--size", type=size, metavar="WxH", help="resize frames (default: as they are)")
    command.add_argument(
        "--depth", choices=["png", "tiff"], default="png", help="tiff decodes several times faster (default: png)"
    )
    command.add_argument("--pseudo-depth", metavar="MODEL[@REVISION][:metric|:relative]", help="estimate missing depth")
    command.add_argument("--shard", type=shard, default=(1, 1), metavar="I/N", help="do one of N shares, then merge")
    command.add_argument("--workers", type=positive, metavar="N", help="processes (default: one per core, at most 4)")
    command.add_argument("--skip-bad", action="store_true", help="leave out and count what cannot be used")


def _data_list(options: argparse.Namespace) -> None:
    from rgbd3d.data.catalog import text_table

    print(text_table())


def _data_render(options: argparse.Namespace) -> None:
    from rgbd3d.data.synthrooms.write import write_dataset

    write_dataset(
        options.out,
        options.split,
        options.scenes,
        options.frames,
        options.size,
        workers=options.workers,
        rooms=options.rooms,
    )
    print(f"\nnext: rgbd3d data inspect {shlex.quote(str(options.out))} --split {options.split}")


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
    files = len(manifest["files"])
    print(f"verified: {sum(manifest['rows'].values())} rows in {files} file{'' if files == 1 else 's'}")


def _data_inspect(options: argparse.Namespace) -> None:
    from rgbd3d.data.inspect import inspect

    source = Path(options.source)
    name = source.resolve().name if source.is_dir() else source.name.partition("?")[0]
    sheet = options.sheet or Path(f"{name}-{options.split}.png")
    print(inspect(options.source, options.split, None if options.no_sheet else sheet))
