"""Puts a finished run into the package: weights in half precision, their hashes in the card, and the loss curve.

For maintainers, in a checkout: `python -m rgbd3d.training.publish CARD RUN`.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from rgbd3d import card_weights, registry
from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import WeightFile, load_card, own_backbone, parse
from rgbd3d.downstream.network import build_task_network
from rgbd3d.files import write_atomic
from rgbd3d.folder import (
    CARD,
    GOLDEN,
    load_pretraining,
    load_task_model,
    stored_weights,
    write_golden,
    write_prediction,
    write_tensors,
)
from rgbd3d.pins import pin
from rgbd3d.training.curves import run_curve, write_curve
from rgbd3d.training.pretrain import FINAL
from rgbd3d.training.provenance import TRAIN_STATE
from rgbd3d.training.recipe import RECIPE

LARGEST_FILE = 16_000_000
"""Bytes; a larger file does not belong into a package."""


def publish(name: str, run: Path, *, backbone_only: bool = False) -> Path:
    """Bundles the result of `rgbd3d pretrain NAME --output RUN` or `rgbd3d finetune NAME --output RUN`.

    Of a fine-tuned model that is one file, backbone and head; of pre-training backbone and rest.

    Args:
        name: Of the card; its file in hub_configs/ is rewritten below `weights:` only.
        run: Folder of the finished run.
        backbone_only: Leave out the decoder of pre-training, for what is only there to start from.

    Returns:
        Folder of the bundled weights.

    Raises:
        ValueError: The run followed another recipe than the card's, continued from given weights or took other data
            for the card's rendered frames, `backbone_only` of a fine-tuned model, or a file is too large to bundle.
    """
    card_file = registry.cards_folder() / f"{name}.yaml"
    _check_recipe(name, run)
    if backbone_only and registry.get_card(name).task is not None:
        raise ValueError(f"{name} is fine-tuned: backbone and head are one file, which is published as a whole")
    target = card_weights.BUNDLED_WEIGHTS / name
    target.mkdir(parents=True, exist_ok=True)
    image = load_file(run / FINAL / GOLDEN)["image"]
    if registry.get_card(name).task is None:
        _bundle_pretrained(name, run / FINAL, image, target, backbone_only)
    else:
        _bundle_fine_tuned(name, run / FINAL, image, target)
    pins = {path.name: _pin(path) for path in sorted(target.glob("*.safetensors"))}
    text = with_weights(card_file.read_text(encoding="utf-8"), pins)
    parse(text, str(card_file))  # refuses what could not be read back
    write_atomic(card_file, text)
    curves = registry.cards_folder() / "curves"
    curves.mkdir(exist_ok=True)
    write_curve(run_curve(run), curves / f"{name}.txt")
    return target


def _bundle_pretrained(name: str, final: Path, image: Tensor, target: Path, backbone_only: bool) -> None:
    state = stored_weights(load_pretraining(final).network, half=True)
    backbone = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    rest = {key: value for key, value in state.items() if not key.startswith("backbone.")}
    write_tensors(backbone, target / card_weights.BACKBONE_FILE)
    if backbone_only:
        (target / card_weights.DECODER_FILE).unlink(missing_ok=True)  # of what was published before
    else:
        write_tensors(rest, target / card_weights.DECODER_FILE)
    rounded = build_vit(own_backbone(registry.get_card(name).backbone))
    rounded.load_state_dict({key: value.float() for key, value in backbone.items()})
    write_golden(rounded, image, target / GOLDEN)


def _bundle_fine_tuned(name: str, final: Path, image: Tensor, target: Path) -> None:
    state = stored_weights(load_task_model(final).network, half=True)
    write_tensors(state, target / card_weights.BACKBONE_FILE)
    rounded = build_task_network(registry.get_card(name))
    rounded.load_state_dict(state)
    write_prediction(rounded, image, target / GOLDEN)


def _check_recipe(name: str, run: Path) -> None:
    """A card must describe how its weights were made: all that decides about them has to be equal."""
    card, trained = registry.get_card(name), load_card(run / FINAL / CARD)
    state = json.loads((run / TRAIN_STATE).read_text())
    if state["start_digest"] is not None:
        raise ValueError(
            f"{run} continued from given weights, which the card of {name} does not say; train it as it is"
        )
    if card.data.render is not None and state["data"] is not None:
        raise ValueError(f"{run} was trained on {state['data']}, but the card of {name} says on rendered frames")
    changed = [part for part in ("name", *RECIPE) if getattr(card, part) != getattr(trained, part)]
    if changed:
        raise ValueError(
            f"{run} was not trained by the recipe of {name} ({', '.join(changed)} differ): "
            "train the card as it is, or write what was run into the card"
        )


def with_weights(card: str, pins: dict[str, WeightFile]) -> str:
    """The text of a card with bundled files instead of what stood below `weights:`; comments elsewhere stay."""
    lines = ["weights:", "  status: bundled", "  files:"]
    lines += [f"    {file}: {{sha256: {pin.sha256}, bytes: {pin.bytes}}}" for file, pin in pins.items()]
    return re.sub(r"^weights:\n(?:[ \t].*\n)+", "\n".join(lines) + "\n", card, count=1, flags=re.MULTILINE)


def _pin(path: Path) -> WeightFile:
    found = pin(path)
    if found.bytes > LARGEST_FILE:
        raise ValueError(f"{path} has {found.bytes} bytes; the package takes {LARGEST_FILE} at most")
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("card", help="name of the card")
    parser.add_argument("run", type=Path, help="folder of its finished run")
    parser.add_argument("--backbone-only", action="store_true", help="leave out the decoder of pre-training")
    arguments = parser.parse_args()
    print(f"bundled {publish(arguments.card, arguments.run, backbone_only=arguments.backbone_only)}")


if __name__ == "__main__":
    main()
