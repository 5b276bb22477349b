"""The depth head of MIM-Depth-Estimation (Xie et al. 2022), which MeSa fine-tunes with too (FACTS.md §5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

_INIT_STD = 1e-3


class MIMDepthHead(nn.Module):
    """Transposed convolutions that double the size, two bilinear doublings, and a sigmoid up to `max_depth`.

    It is fed the last stage of a Swin (stride 32) after its norm; with three transposed convolutions the prediction has
    the size of the image. For patches of 16 pixels two are enough.

    Args:
        dim: Width of the tokens.
        filters: Width of the transposed convolutions, coarse to fine.
        max_depth: Metres.
    """

    def __init__(self, dim: int, *, filters: Sequence[int], max_depth: float = 10.0) -> None:
        super().__init__()
        self.max_depth = max_depth
        width = dim // 8  # the stem's width in a Swin
        layers: list[nn.Module] = []
        for inner, outer in zip((dim, *filters), filters, strict=False):
            layers += [
                nn.ConvTranspose2d(inner, outer, 2, stride=2, bias=False),
                nn.BatchNorm2d(outer),
                nn.ReLU(inplace=True),
            ]
        self.deconvolve = nn.Sequential(*layers)
        self.mix = nn.Sequential(
            nn.Conv2d(filters[-1], width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        # Twice by 2 is not once by 4: the weights of the second doubling differ at the borders of cells.
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.predict = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1)
        )
        self.apply(_init_convolution)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts depth at 4 * 2^len(filters) times the token resolution.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float (B, 1, H, W), metres in 0..max_depth.
        """
        maps = self.mix(self.deconvolve(features[-1]))
        return self.predict(self.upsample(self.upsample(maps))).sigmoid() * self.max_depth


def _init_convolution(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=_INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
