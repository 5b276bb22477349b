"""A light head for dense prediction on the tokens of a ViT."""

from __future__ import annotations

from collections.abc import Sequence

from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn


class DenseHead(nn.Module):
    """One linear up-projection to 2 x 2 cells per token, one ConvNeXt block, one 1 x 1 convolution.

    The shape of MultiMAE's ConvNeXt head (FACTS.md §6.1), small enough for a ViT-T on a CPU.

    Args:
        dim: Width of the tokens.
        out_channels: Channels of the prediction.
        width: Width of the cells.
    """

    def __init__(self, dim: int, out_channels: int, width: int = 96) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 4 * width)
        self.block = ConvNeXtBlock(width, ls_init_value=None)
        self.predict = nn.Conv2d(width, out_channels, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at twice the token resolution.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float (B, out_channels, 2 h, 2 w).
        """
        cells = self.expand(features[-1].movedim(1, -1)).movedim(-1, 1)
        return self.predict(self.block(nn.functional.pixel_shuffle(cells, 2)))
