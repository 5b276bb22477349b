"""Where evaluations run."""

from __future__ import annotations

import torch


def find_device(name: str) -> str:
    """The device of a name: "auto" is the GPU if there is one, "cpu" and "cuda" are themselves."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
