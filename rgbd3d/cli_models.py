"""The commands that list and show models, and that move them to and from the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rgbd3d import registry
from rgbd3d.cli_parsing import add_command, positive


def add_commands(commands: Any) -> None:
    """Adds list, info and demo, then push, pull and verify."""
    _add_zoo_commands(commands)
    _add_hub_commands(commands)


def _add_zoo_commands(commands: Any) -> None:
    command = add_command(commands, "list", _list, "the models and whether they have weights")
    command.add_argument("pattern", nargs="?", default="*", help="shell-style, for example 'mask3d-*'")
    command.add_argument("--pretrained", action="store_true", help="only those with weights")
    command.add_argument("--method", help="only those of a method, for example mask3d")
    command.add_argument("--task", choices=registry.TASKS[1:], help="only those of a task")
    command = add_command(commands, "info", _info, "what the card of a model says")
    command.add_argument("name", metavar="NAME")
    command = add_command(
        commands, "demo", _demo, "look at a checkpoint, train it on, load it three ways, write a report"
    )
    command.add_argument("--frames", metavar="SOURCE", help="RGB-D frames; default: rendered rooms")
    command.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR")
    command.add_argument("--steps", type=positive, default=60, help="optimiser steps of the visible run (default: 60)")


def _add_hub_commands(commands: Any) -> None:
    command = add_command(commands, "push", _push, "upload a model folder to the Hub as one commit")
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("repo", metavar="OWNER/NAME")
    command.add_argument("--private", action="store_true")
    command.add_argument("--branch", default="main")
    command = add_command(commands, "pull", _pull, "download a model folder from the Hub and verify it")
    command.add_argument("repo", metavar="OWNER/NAME")
    command.add_argument("--revision", help="commit, branch or tag (default: main)")
    command.add_argument("--output", type=Path, metavar="DIR", help="default: the cache of huggingface_hub")
    command = add_command(
        commands, "verify", _verify, "check a model folder or repository: hashes, layout, promised features"
    )
    command.add_argument("source", metavar="FOLDER|OWNER/NAME")
    command.add_argument("--revision", help="commit, branch or tag (default: main)")


def _list(options: argparse.Namespace) -> None:
    from rgbd3d.zoo import text_table

    names = registry.list_models(
        options.pattern, pretrained=options.pretrained or None, method=options.method, task=options.task
    )
    if not names:
        asked = {"--pretrained": options.pretrained, "--method": options.method, "--task": options.task}
        given = " ".join(name if value is True else f"{name} {value}" for name, value in asked.items() if value)
        wanted = " ".join(filter(None, (repr(options.pattern), given)))
        raise registry.UnknownModelError(f"no card matches {wanted}; `rgbd3d list` shows all")
    print(text_table([registry.get_card(name) for name in names]))


def _info(options: argparse.Namespace) -> None:
    print(registry.model_info(options.name))


def _demo(options: argparse.Namespace) -> None:
    from rgbd3d.demo import demo

    demo(options.frames, options.output, options.steps)


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
