"""The command line: runs a command and turns its errors into messages.

The commands are in the modules `cli_*`, one per group. They import what they need only when they run, so that those
which need no torch answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import rgbd3d
from rgbd3d import cli_data, cli_evaluation, cli_models, cli_training

DEBUG = "RGBD3D_DEBUG"

_GROUPS = (cli_models, cli_training, cli_evaluation, cli_data)  # in the order of `rgbd3d --help`


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rgbd3d", description=rgbd3d.__doc__)
    parser.add_argument("--version", action="version", version=f"rgbd3d {rgbd3d.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in _GROUPS:
        group.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
