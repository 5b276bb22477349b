"""MultiMAE's segmentation head, for depth too: ConvNeXt blocks on cells finer than the tokens (FACTS.md §6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from timm.layers import trunc_normal_
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

from rgbd3d.losses.reconstruction import unpatchify

_REGRESSION_STD = 1e-3  # of MIM-Depth's head


class ConvNeXtHead(nn.Module):
    """A linear map of each token to `cells` x `cells` cells, ConvNeXt blocks on them, one 1 x 1 convolution.

    MultiMAE feeds it the raw output of the last block, without the encoder's final norm.

    Args:
        dim: Width of the tokens.
        out_channels: Channels of the prediction.
        width: Width of the cells; a token is mapped to `cells`² x `width` values.
        cells: Cells per token and axis.
        depth: Number of blocks, without layer scale and drop path.
        task: A regression starts with predictions close to 0, which mean the typical value; a segmentation as in
            MultiMAE.
    """

    def __init__(
        self,
        dim: int,
        out_channels: int,
        *,
        width: int = 384,
        cells: int = 4,
        depth: int = 4,
        task: Literal["regression", "segmentation"] = "segmentation",
    ) -> None:
        super().__init__()
        self.cells = cells
        self.expand = nn.Linear(dim, cells**2 * width)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, ls_init_value=None) for _ in range(depth)))
        self.predict = nn.Conv2d(width, out_channels, 1)
        self.apply(_init_linear)
        if task == "regression":
            nn.init.normal_(self.predict.weight, std=_REGRESSION_STD)
            assert self.predict.bias is not None
            nn.init.zeros_(self.predict.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at `cells` times the token resolution.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float (B, out_channels, cells * h, cells * w).
        """
        tokens = features[-1]
        cells = self.expand(tokens.flatten(2).transpose(1, 2))
        return self.predict(self.blocks(unpatchify(cells, self.cells, (tokens.shape[2], tokens.shape[3]))))


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
