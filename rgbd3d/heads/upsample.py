"""How predictions are enlarged."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def upsample(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of a float (B, C, h, w) prediction to (height, width), computed in float32."""
    return F.interpolate(prediction.float(), size, mode="bilinear", align_corners=False)
