"""Checkpoints that are whole or not used at all.

A checkpoint counts only once its marker exists. The marker is written last, atomically, and lists size and SHA-256 of
every other file, so a process killed at any moment, also while it saves or deletes, leaves either a whole checkpoint or
one that is recognised as incomplete and removed.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgbd3d.files import sha256, sync, write_atomic
from rgbd3d.strict_yaml import plain

MARKER = "complete.json"
_FOLDER = re.compile(r"checkpoint-(\d+)")
_log = logging.getLogger(__name__)

Identity = dict[str, Any]
"""What has to be equal for a run to go on: nested plain values."""


class ResumeError(RuntimeError):
    """A folder holds a run that cannot be continued as asked."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        folder: Where it is.
        step: Optimiser steps done.
        identity: The run it belongs to.
    """

    folder: Path
    step: int
    identity: Identity


def mark_complete(folder: Path, step: int, identity: Identity) -> None:
    """Declares a checkpoint whole. Call after every process has finished writing into it.

    Args:
        folder: `checkpoint-<step>`.
        step: Optimiser steps done.
        identity: The run it belongs to.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MARKER):
        sync(path)
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_atomic(folder / MARKER, json.dumps({"step": step, "identity": plain(identity), "files": files}, indent=1))
    sync(folder.parent)


def latest_complete(output: Path) -> Checkpoint | None:
    """Newest whole checkpoint of a run. Incomplete or damaged ones are removed, with a note in the log.

    Args:
        output: Folder of the run; it need not exist.
    """
    for folder in reversed(_folders(output)):
        checkpoint = _read(folder)
        if checkpoint is not None:
            return checkpoint
        _log.warning("removing %s: it was not saved completely", folder)
        shutil.rmtree(folder)
    return None


def last_marked(output: Path) -> Checkpoint | None:
    """The newest checkpoint that was saved completely; neither are its files read nor others removed."""
    return next((found[0] for folder in reversed(_folders(output)) if (found := _marked(folder))), None)


def keep_last(output: Path, count: int) -> None:
    """Deletes all but the newest `count` checkpoints, markers first."""
    for folder in _folders(output)[:-count]:
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder)


def check_same_run(checkpoint: Checkpoint, identity: Identity) -> None:
    """Refuses to continue a run whose recipe, data or number of processes has changed.

    Raises:
        ResumeError: Names every difference.
    """
    then, now = _flatten(checkpoint.identity), _flatten(plain(identity))
    changed = [
        f"  {key}: {then.get(key, '(absent)')!r} then, {now.get(key, '(absent)')!r} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    if changed:
        raise ResumeError(
            f"{checkpoint.folder.parent} holds another run at step {checkpoint.step}; it cannot be continued because\n"
            + "\n".join(changed)
            + "\nrepeat the first command to continue that run, or choose another output folder for a new one"
        )


def _folders(output: Path) -> list[Path]:
    """Checkpoint folders, whole or not, by step."""
    found = [(int(match[1]), path) for path in output.glob("checkpoint-*") if (match := _FOLDER.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _read(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, or None when anything is missing or differs from its marker."""
    if (found := _marked(folder)) is None:
        return None
    checkpoint, files = found
    for path, (size, digest) in files.items():
        if not path.is_file() or path.stat().st_size != size or sha256(path) != digest:
            return None
    return checkpoint


def _marked(folder: Path) -> tuple[Checkpoint, dict[Path, tuple[int, str]]] | None:
    """What the marker in a folder says: the checkpoint, and size and SHA-256 of its files."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        files = {folder / name: (pin["bytes"], pin["sha256"]) for name, pin in marker["files"].items()}
        return Checkpoint(folder, int(marker["step"]), dict(marker["identity"])), files
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None  # no marker, or a file that is none


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flatten(item, f"{path}.{key}".lstrip(".")).items()}
    return {path: value}
