"""Where evaluations run."""

from __future__ import annotations

import torch


def find_device(name: str) -> str:
    """The device of a name: "auto" is the GPU if there is one, "cpu" and "cuda" are themselves.

    Raises:
        ValueError: There is no GPU.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("there is no CUDA device here; use device cpu or auto")
    return ("cuda" if there else "cpu") if name == "auto" else name
