"""The pre-training loss: its reference can be recomputed by hand, its masks depend on the seed, misfits are refused."""

import pytest
import torch
from tiny import SIZE, tiny_card, tiny_method
from torch import nn

from rgbd3d.evaluation.pretext import pretext_losses
from rgbd3d.types import PretrainingOutput

PATCH = 16


def frame(seed, holes=False):
    draws = torch.Generator().manual_seed(seed)
    depth = 1 + 3 * torch.rand(1, *SIZE, generator=draws)
    if holes:
        depth[:, :PATCH, :PATCH] = 0  # a whole patch
        depth[:, -5:, -7:] = 0  # a part of one
    return {"image": torch.randint(0, 256, (3, *SIZE), generator=draws, dtype=torch.uint8), "depth": depth}


def mean_predictor(depth):
    """Mean of (d - mean)^2 / (variance + 1e-6) over the valid pixels, patch by patch."""
    total, count = 0.0, 0
    for rows in depth[0].split(PATCH, 0):
        for patch in rows.split(PATCH, 1):
            values = patch[patch > 0].double()
            if len(values):
                total += ((values - values.mean()) ** 2 / (values.var() + 1e-6)).sum().item()
                count += len(values)
    return total / count


def losses(frames, *, seed=0, batch_size=32):
    card = tiny_card()
    return pretext_losses(tiny_method(card), card, frames, seed, batch_size)


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
def test_mean_predictor_by_hand(holes):
    frames = [frame(seed, holes) for seed in range(3)]
    expected = sum(mean_predictor(f["depth"]) for f in frames) / len(frames)
    assert losses(frames, batch_size=1)["mean_predictor"] == pytest.approx(expected, rel=1e-5)


def test_a_last_smaller_batch_weighs_by_its_frames():
    frames = [frame(seed) for seed in range(5)]
    expected = sum(mean_predictor(f["depth"]) for f in frames) / len(frames)
    assert losses(frames, batch_size=2)["mean_predictor"] == pytest.approx(expected, rel=1e-5)


class NumberedByDepth(nn.Module):
    """Its loss on a frame is the largest depth there: known without a network."""

    def forward(self, image, depth, *, depth_metres, generator):
        loss = depth_metres.amax((1, 2, 3)).mean()
        return PretrainingOutput(loss=loss, losses={"depth": loss}, reconstruction={}, masks={})


def test_loss_is_the_mean_over_frames_of_the_models_own():
    frames = [frame(0) | {"depth": torch.full((1, *SIZE), float(metres))} for metres in (1, 2, 6)]
    result = pretext_losses(NumberedByDepth(), tiny_card(), frames, 0, batch_size=2)
    assert result == {"loss": pytest.approx(3.0), "mean_predictor": 0.0}


def test_masks_depend_on_the_seed_only():
    frames = [frame(seed) for seed in range(2)]
    torch.manual_seed(1)
    first = losses(frames)
    torch.manual_seed(2)
    assert losses(frames) == first
    other = losses(frames, seed=1)
    assert other["loss"] != first["loss"]
    assert other["mean_predictor"] == first["mean_predictor"]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("objective.loss_on=masked", "does not score standardised depth in every patch"),
        ("objective.normalize_target=false", "does not score standardised depth in every patch"),
        ("objective.targets=[rgb]", "does not reconstruct depth"),
    ],
)
def test_refuses_what_cannot_be_compared(override, problem):
    card = tiny_card(override)
    with pytest.raises(ValueError, match=f"{card.name} {problem}"):
        pretext_losses(tiny_method(card), card, [frame(0)], 0)
