"""ViTDet's simple feature pyramid: several scales from the one feature map of a plain ViT (FACTS.md §1.2)."""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

SCALES = (4.0, 2.0, 1.0, 0.5, 0.25)
"""Resolution of each level relative to the token grid, finest first."""


class SimpleFeaturePyramid(nn.Module):
    """Four scales of the last feature map by deconvolution or pooling, and a fifth one for the region proposals.

    Every scale ends in a 1 x 1 and a 3 x 3 convolution without bias, each followed by a layer norm over channels. The
    layers, their order and their initialisation are those of Detectron2's `SimpleFeaturePyramid` with norm "LN" and
    `LastLevelMaxPool`. One thing differs: where a grid is odd, pooling keeps its last row and column.

    Args:
        dim: Width of the tokens, divisible by 4.
        width: Channels of every level.

    Raises:
        ValueError: `dim` is not divisible by 4.
    """

    def __init__(self, dim: int, width: int = 256) -> None:
        super().__init__()
        if dim % 4:
            raise ValueError(f"the finest level has a quarter of the channels, which {dim} cannot be divided into")
        resize = (
            (
                nn.ConvTranspose2d(dim, dim // 2, 2, stride=2),
                LayerNorm2d(dim // 2),
                nn.GELU(),
                nn.ConvTranspose2d(dim // 2, dim // 4, 2, stride=2),
            ),
            (nn.ConvTranspose2d(dim, dim // 2, 2, stride=2),),
            (),
            (nn.MaxPool2d(2, ceil_mode=True),),
        )
        widths = (dim // 4, dim // 2, dim, dim)
        self.stages = nn.ModuleList(
            nn.Sequential(*layers, *_project(channels, width)) for layers, channels in zip(resize, widths, strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Builds the levels.

        Args:
            features: Maps of a backbone, (B, D, h, w) each; the last one is used.

        Returns:
            (B, width, h', w') per entry of `SCALES`: h' is 4 h, 2 h, h, h / 2 and h / 4, halves rounded up.
        """
        levels = [stage(features[-1]) for stage in self.stages]
        return [*levels, functional.max_pool2d(levels[-1], 1, stride=2)]


def _project(channels: int, width: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, width, 1, bias=False),
        LayerNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width),
    )
