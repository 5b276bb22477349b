"""Checkpoints of MIM-Depth-Estimation (Xie et al. 2022): the depth head (FACTS.md §8)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

HEAD: tuple[tuple[str, str], ...] = (
    (r"(?:module\.)?decoder\.deconv_layers\.(.+)", r"deconvolve.\1"),
    (r"(?:module\.)?decoder\.conv_layers\.(.+)", r"mix.\1"),
    (r"(?:module\.)?last_layer_depth\.(.+)", r"predict.\1"),
)
"""Pattern of a whole key -> key of `rgbd3d.heads.mimdepth.MIMDepthHead`."""


def head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of `rgbd3d.heads.mimdepth.MIMDepthHead`; the encoder's are left out.

    Args:
        state: The entry "model" of a file, with or without the prefix of parallel training.

    Raises:
        ValueError: There is no such head.
    """
    renamed = {
        re.sub(pattern, new, key): value
        for key, value in state.items()
        for pattern, new in HEAD
        if re.fullmatch(pattern, key)
    }
    if not renamed:
        raise ValueError("no depth head in these weights: neither decoder.* nor last_layer_depth.*")
    return renamed
