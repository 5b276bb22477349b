"""Checkpoints of MAE (He et al. 2022): pre-training files and encoder-only files (FACTS.md §8).

    python conversion/mae.py mae_pretrain_vit_base.pth mae-vitb-imagenet FOLDER

The encoder of MAE has timm's weight names already; `KEYS` maps the rest. The position tables of a file are checked to
be the fixed ones and then dropped, because the models rebuild them for their own grid.
"""

from __future__ import annotations

import argparse
import pickle
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rgbd3d.backbones.positions import is_sincos
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.methods import build_method
from rgbd3d.registry import get_card

KEYS: tuple[tuple[str, str], ...] = (
    (r"(cls_token|(?:patch_embed|blocks|norm)\..+)", r"backbone.\1"),
    (r"mask_token", r"decoder.mask_token"),
    (r"decoder_(embed|norm)\.(.+)", r"decoder.\1.\2"),
    (r"decoder_blocks\.(.+)", r"decoder.blocks.\1"),
    (r"decoder_pred\.(.+)", r"decoder.heads.rgb.\1"),
)
"""Pattern of a whole MAE key -> key of `rgbd3d.methods.mae.MAE`."""

POSITIONS = ("pos_embed", "decoder_pos_embed")
"""Fixed tables, (1, 1 + N, dim); the class token's row is the first."""


def read(path: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint file under their original names, without ever running code from the file.

    Args:
        path: A file as the official code writes it, a dictionary with the entry "model".

    Raises:
        ValueError: The file holds more than tensors and would have to be unpickled, or it holds no weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is not a file of plain tensors, and reading it could run code from the file. If you trust its "
            "origin, write the weights alone to a new file with "
            "`torch.save({'model': torch.load(old, weights_only=False)['model']}, new)` and convert that. "
            f"(torch: {reason})"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ValueError(f"{path} is no MAE checkpoint: it has no dictionary of weights named 'model'")
    return content["model"]


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a file to those of `MAE`; an encoder-only file gives the `backbone.` part.

    Args:
        state: Result of `read`.

    Returns:
        Weights without position tables.

    Raises:
        ValueError: A key is unknown, or a position table is not the fixed one.
    """
    for name in POSITIONS:
        if name in state and not is_sincos(state[name][0, 1:]):
            raise ValueError(f"`{name}` {tuple(state[name].shape)} is not MAE's fixed sine-cosine table")
    return {_rename(key): value for key, value in state.items() if key not in POSITIONS}


def write_folder(file: Path, name: str, folder: Path) -> Path:
    """Writes a file as a model folder, which `--start` and `rgbd3d.from_pretrained` take.

    Args:
        file: As for `read`. Of an encoder-only file the folder holds the backbone, else the decoder too.
        name: Of the card that describes it.
        folder: As for `save_pretrained_folder`.

    Raises:
        ValueError: The card is of something else; see also `read` and `convert`.
        RuntimeError: The file holds another architecture than the card describes (torch's message).
    """
    card = get_card(name)
    if card.method != "mae" or card.provenance != "converted":
        raise ValueError(
            f"{name} does not describe a public MAE checkpoint; mae-vitb-imagenet and mae-vitl-imagenet do"
        )
    method, state = build_method(card), convert(read(file))
    method.backbone.load_weights(_part(state, "backbone."))
    decoder = _part(state, "decoder.")
    if not decoder:
        return save_pretrained_folder(method.backbone, card, folder)
    method.decoder.load_state_dict(decoder)
    return save_pretrained_folder(method, card, folder)


def main(arguments: Sequence[str]) -> int:
    """Converts a file."""
    parser = argparse.ArgumentParser(description="Writes a public MAE checkpoint as a model folder.")
    parser.add_argument("file", type=Path)
    parser.add_argument("card", help="mae-vitb-imagenet or mae-vitl-imagenet")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        print(f"written: {write_folder(options.file, options.card, options.folder)}")
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _rename(key: str) -> str:
    for pattern, replacement in KEYS:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(replacement)
    raise ValueError(f"unknown MAE key `{key}`: a fine-tuned checkpoint has a classifier and is not supported")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
