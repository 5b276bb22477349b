"""The pre-training loss on frames that were not trained on, beside two references that anyone can recompute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rgbd3d.cards import Augment, Card, own_backbone
from rgbd3d.data.batch import prepare
from rgbd3d.data.sources import Source
from rgbd3d.losses.reconstruction import patch_l2, patchify, standardize_patches
from rgbd3d.objectives import Mask3DObjective
from rgbd3d.seeding import generator
from rgbd3d.types import RGBDSample


@torch.no_grad()
def pretext_losses(
    model: nn.Module, card: Card, source: Sequence[RGBDSample] | Source, seed: int, batch_size: int = 32
) -> dict[str, float]:
    """Mean loss of depth reconstruction with the card's masks, and of predicting the mean of every patch.

    Args:
        model: A pre-training method for RGB-D frames, called as in `rgbd3d.methods`, that reconstructs standardised
            depth in every patch.
        card: Gives the image size.
        source: Frames with depth; their pixels are only resized.
        seed: Of the masks; equal seeds mask equal patches for every model.
        batch_size: Frames per forward pass.

    Returns:
        loss: the model's; mean_predictor: that of zeros, i.e. of each patch's own mean depth.

    Raises:
        ValueError: The objective scores something else, so the two could not be compared.
    """
    objective = card.objective
    if not isinstance(objective, Mask3DObjective) or "depth" not in objective.targets:
        raise ValueError(f"{card.name} does not reconstruct depth")
    if objective.loss_on != "all" or not objective.normalize_target:
        raise ValueError(f"{card.name} does not score standardised depth in every patch")
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    for number, start in enumerate(
        tqdm(range(0, len(source), batch_size), desc="pretext", unit="batch", leave=False, disable=None)
    ):
        samples = [source[i] for i in range(start, min(start + batch_size, len(source)))]
        batch = prepare(samples, Augment(), card.backbone.image_size, generator(seed, number, 0))
        output = model(
            batch["image"], batch["depth"], depth_metres=batch["depth_metres"], generator=generator(seed, number, 1)
        )
        reference = _mean_predictor_loss(batch["depth_metres"], own_backbone(card.backbone).patch_size)
        sums += len(samples) * torch.stack([output.losses["depth"], reference]).double()
    loss, mean_predictor = (sums / len(source)).tolist()
    return {"loss": loss, "mean_predictor": mean_predictor}


def _mean_predictor_loss(depth_metres: Tensor, patch_size: int) -> Tensor:
    """Loss of predicting zero for every standardised patch."""
    depth = patchify(depth_metres, patch_size)
    target = standardize_patches(depth, depth > 0)
    return patch_l2(torch.zeros_like(target), target, valid=depth > 0)
