"""What the groups of commands share: how a command is added, and the forms of its values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    """Adds a command to the commands of a parser.

    Args:
        commands: What `add_subparsers` gave.
        name: What the user types.
        run: Gets the parsed options; returns the exit status, where None is 0.
        text: One line of help, in lower case and without a full stop.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    command.set_defaults(run=run)
    return command


def positive(text: str) -> int:
    """A number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number, 1 or more")
    return int(text)


def not_negative(text: str) -> int:
    """A number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} should be a number, 0 or more")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (height, width)."""
    width, separator, height = text.partition("x")
    if not separator or not (width.isdecimal() and height.isdecimal()) or min(int(width), int(height)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be WIDTHxHEIGHT, for example 320x240")
    return int(height), int(width)


def shard(text: str) -> tuple[int, int]:
    """I/N, a share from 1 to N, as (I, N)."""
    number, separator, of = text.partition("/")
    if not separator or not (number.isdecimal() and of.isdecimal()) or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError(f"{text!r} should be I/N with I from 1 to N, for example 1/4")
    return int(number), int(of)
