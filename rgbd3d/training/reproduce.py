"""Trains a published card again from its recipe and compares with what was published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from rgbd3d import card_weights, registry
from rgbd3d.cards import Card
from rgbd3d.training.curves import Curve, final_loss_difference, read_curve, run_curve
from rgbd3d.training.finetune import finetune
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Device, Pace
from rgbd3d.training.run import FINAL


@dataclass(frozen=True)
class Reproduction:
    """How a run compares with the published one; `str()` is for people.

    Attributes:
        name: Of the card.
        loss: Largest difference of the losses that were compared; None if the card has no published curve.
        weights: Largest difference of a weight at the published precision; None if only the first steps ran.
        tolerance: Largest difference of the loss that another machine may have; None demands identity.
    """

    name: str
    loss: float | None
    weights: float | None
    tolerance: float | None

    @property
    def identical(self) -> bool:
        """Whether everything that was compared is equal, bit for bit."""
        return not self.loss and not self.weights

    @property
    def ok(self) -> bool:
        """Whether it is identical or, as on another machine, the loss is within the card's tolerance."""
        if self.identical or self.loss is None or self.tolerance is None:
            return self.identical
        return self.loss <= self.tolerance

    def __str__(self) -> str:
        verdict = "identical" if self.identical else "within its tolerance" if self.ok else "DIFFERENT"
        compared = {"weights": self.weights, "loss": self.loss}
        differences = [f"{what} {value:.3g}" for what, value in compared.items() if value is not None]
        allowed = "none" if self.tolerance is None else f"loss {self.tolerance:.3g}"
        return f"{self.name}: {verdict} (largest difference: {', '.join(differences)}; tolerance: {allowed})"


def reproduce(
    name: str,
    output: str | Path,
    *,
    data: str | None = None,
    steps: int | None = None,
    workers: int = 0,
    device: Device = "auto",
) -> Reproduction:
    """Trains a card from its recipe, as `pretrain` or `finetune` does, and compares with what was published.

    On the machine that trained it the weights are the same bits. Elsewhere sums are rounded differently, and the final
    loss is compared instead (`rgbd3d.training.curves.final_loss_difference`).

    Args:
        name: Of a card with weights, of pre-training or of a task.
        output: Folder of the run; a stopped one is continued.
        data: For cards whose data cannot be rendered.
        steps: Stop after this optimiser step and compare the losses so far, line by line.
        workers: Loader processes.
        device: As for `pretrain`.

    Raises:
        NoWeightsError: Nobody has trained the card yet.
        ValueError: `steps` for a card without a published curve.
    """
    card, curve = registry.get_card(name), _published_curve(name)
    published = _published_weights(card)
    if steps is not None and curve is None:
        raise ValueError(f"{name} has no published loss curve to compare {steps} steps with; reproduce it in full")
    train = pretrain if card.task is None else finetune
    train(card, data, output, workers=workers, device=device, pace=Pace(stop_after=steps))
    ours = run_curve(Path(output))
    if steps is not None and curve is not None:
        return Reproduction(name, _curve_difference(ours, curve, steps), None, card.tolerance)
    loss = None if curve is None else final_loss_difference(ours, curve)
    file = card_weights.FULL_FILE if _compared(card) == card_weights.PRETRAINING else card_weights.BACKBONE_FILE
    weights = _weight_difference(load_file(Path(output) / FINAL / file), published)
    return Reproduction(name, loss, weights, card.tolerance)


def _published_weights(card: Card) -> dict[str, Tensor]:
    model: Any = registry.create_model(card.name, task=_compared(card), pretrained=True)
    state: dict[str, Tensor] = model.network.state_dict()
    return state


def _compared(card: Card) -> str | None:
    """Task of the model that is compared, which is all that is published: None is the bare backbone."""
    if card.task is not None:
        return card.task
    whole = {card_weights.FULL_FILE, card_weights.DECODER_FILE} & (card.weights.files or {}).keys()
    return card_weights.PRETRAINING if whole else None


def _published_curve(name: str) -> Curve | None:
    path = registry.cards_folder() / "curves" / f"{name}.txt"
    return read_curve(path) if path.is_file() else None


def _curve_difference(ours: Curve, published: Curve, steps: int) -> float:
    return max(abs(ours[step] - published[step]) for step in ours.keys() & published.keys() if step <= steps)


def _weight_difference(ours: dict[str, Tensor], published: dict[str, Tensor]) -> float:
    """Largest difference, after rounding ours to half precision where the published ones are.

    Raises:
        ValueError: They are not weights of the same network.
    """
    if ours.keys() != published.keys():
        raise ValueError(f"weights have other names: {sorted(ours.keys() ^ published.keys())}")

    def difference(mine: Tensor, theirs: Tensor) -> float:
        mine, theirs = mine.float(), theirs.float()  # counters are whole numbers
        stored_in_half = torch.equal(theirs, theirs.half().float())
        return float(((mine.half().float() if stored_in_half else mine) - theirs).abs().max())

    return max(difference(ours[name], published[name]) for name in published)
