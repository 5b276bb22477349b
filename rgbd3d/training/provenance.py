"""train_state.json: what ran, on what, with which versions."""

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
from rgbd3d.strict_yaml import plain
from rgbd3d.training.resume import write_atomic

TRAIN_STATE = "train_state.json"
_PACKAGES = ("rgbd3d", "torch", "torchvision", "timm", "transformers", "accelerate", "numpy", "pillow", "pyarrow")


def write_train_state(output: Path, card: Card, overrides: Sequence[str], **run: Any) -> None:
    """Writes train_state.json into the folder of a run.

    Args:
        output: Folder of the run.
        card: After overrides.
        overrides: As given.
        **run: Data specification, digest, number of frames and steps, device and the like; plain values.
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
    }
    write_atomic(output / TRAIN_STATE, json.dumps(state, indent=1) + "\n")


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
