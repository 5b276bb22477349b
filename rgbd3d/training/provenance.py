"""train_state.json: what ran, on what, with which versions, and what ran before it was continued."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import rgbd3d
from rgbd3d.cards import Card
from rgbd3d.files import write_atomic
from rgbd3d.strict_yaml import plain

TRAIN_STATE = "train_state.json"
_EARLIER = "earlier_starts"
_OF_A_START = ("started", "command", "continued_at", "device", "versions", "git_revision", "host")
_PACKAGES = ("rgbd3d", "torch", "torchvision", "timm", "transformers", "accelerate", "numpy", "pillow", "pyarrow")

Start = dict[str, Any]
"""One start of a run: when, by which command, after which step, where and with which versions."""


def write_train_state(
    output: Path, card: Card, overrides: Sequence[str], earlier: Sequence[Start], **run: Any
) -> Start:
    """Writes train_state.json into the folder of a run.

    Args:
        output: Folder of the run.
        card: After overrides.
        overrides: As given.
        earlier: What this start goes on from: `contributing_starts`.
        **run: Data specification, digest, number of frames and steps, device and the like; plain values.

    Returns:
        This start.
    """
    state = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        **run,
        "overrides": list(overrides),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "git_revision": _git_revision(),
        "host": {
            "platform": platform.platform(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "flags": _cpu_flags(),
        },
        "card": plain(card),
        _EARLIER: list(earlier),
    }
    write_atomic(output / TRAIN_STATE, json.dumps(state, indent=1) + "\n")
    return _start(state)


def read_starts(output: Path) -> list[Start]:
    """Starts of a run that are in its weights, and the last one; empty before the first."""
    path = output / TRAIN_STATE
    if not path.is_file():
        return []
    state = json.loads(path.read_text())
    return [*state.get(_EARLIER, []), _start(state)]


def contributing_starts(output: Path, continued_at: int | None) -> list[Start]:
    """Starts that made steps of the checkpoint at `continued_at`; those that were killed before they saved did not."""
    return [start for start in read_starts(output) if (start["continued_at"] or 0) < (continued_at or 0)]


def changed_since(before: Start, now: Start) -> list[str]:
    """What differs between two starts and decides how sums are rounded, as "what: then -> now"."""
    then_facts, now_facts = _rounding(before), _rounding(now)
    return [f"{what}: {then} -> {now_facts[what]}" for what, then in then_facts.items() if then != now_facts[what]]


def _rounding(start: Start) -> dict[str, str]:
    return {
        "device": start["device"].partition(":")[0],
        "torch": start["versions"]["torch"],
        "CPU": start["host"]["cpu"],
    }


def _start(state: dict[str, Any]) -> Start:
    return {key: state[key] for key in _OF_A_START}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Commit of the source tree that runs, with "-dirty" when it has changes; None for an installed package."""
    if not _git("ls-files", "__init__.py"):
        return None  # a virtual environment inside somebody's repository
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(rgbd3d.__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None


def _cpu_flags() -> str:
    """Vector instructions of the CPU: sums, and so the last bits of the weights, depend on them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return " ".join(sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma", "f16c", "sse4"))))
