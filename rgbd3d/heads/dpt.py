"""DPT (Ranftl et al. 2021) for depth and segmentation, as MultiMAE and its successors fine-tune it (FACTS.md §6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 4
_DROPOUT = 0.1


class DPTHead(nn.Module):
    """Four levels of tokens are brought to four resolutions and fused from coarse to fine.

    The levels are the raw outputs of four blocks, shallow first, without the final norm: 2, 5, 8 and 11 of a ViT-B.
    They become maps at 4, 2, 1 and 1/2 times the token grid. The public implementations double the coarser map, which
    fits the next one on even grids only. Here it is resized to the next one's size: the same numbers on even grids, and
    odd ones work too. The four stages of a hierarchical backbone have these resolutions already (strides 4 to 32,
    where 16 is that of the tokens) and are not resampled.

    Args:
        dim: Width of the tokens; or the four widths of a hierarchical backbone's stages.
        out_channels: Channels of the prediction.
        task: Shape of the last layers. The regression is unbounded: what its values mean is the loss's affair.
        level_dims: Width of the four levels before they are fused.
        feature_dim: Width of the fused maps.
        batch_norm: Normalise in the fusion and in the segmentation's last layers.
    """

    def __init__(
        self,
        dim: int | Sequence[int],
        out_channels: int,
        *,
        task: Literal["regression", "segmentation"] = "regression",
        level_dims: tuple[int, int, int, int] = (96, 192, 384, 768),
        feature_dim: int = 256,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.one_size = isinstance(dim, int)
        dims = [dim] * _LEVELS if isinstance(dim, int) else dim
        self.project = nn.ModuleList(nn.Conv2d(*channels, 1) for channels in zip(dims, level_dims, strict=True))
        self.resample = nn.ModuleList(
            _resampling(level_dims) if self.one_size else (nn.Identity() for _ in range(_LEVELS))
        )
        self.reduce = nn.ModuleList(nn.Conv2d(width, feature_dim, 3, padding=1, bias=False) for width in level_dims)
        self.fuse = nn.ModuleList(
            _Fusion(feature_dim, batch_norm, has_finer=level < _LEVELS - 1) for level in range(_LEVELS)
        )
        last = _regression if task == "regression" else _segmentation
        self.predict = last(feature_dim, out_channels, batch_norm)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at 16 times the token resolution, whatever the patch: full resolution for patches of 16 pixels.

        Args:
            features: Four float (B, dim, h, w) of one size, shallow first; or the four stages of a hierarchical
                backbone, fine to coarse.

        Returns:
            float (B, out_channels, 16 h, 16 w); four times the resolution of the finest stage.

        Raises:
            ValueError: Not four maps, or not of one size where they should be.
        """
        if len(features) != _LEVELS or (self.one_size and len({feature.shape for feature in features}) > 1):
            shapes = ", ".join(str(tuple(feature.shape)) for feature in features)
            raise ValueError(f"DPT takes the maps of {_LEVELS} blocks, all of one size, got {shapes or 'none'}")
        levels = [
            reduce(resample(project(feature)))
            for feature, project, resample, reduce in zip(
                features, self.project, self.resample, self.reduce, strict=True
            )
        ]
        height, width = levels[0].shape[-2:]
        sizes = [(2 * height, 2 * width), *((level.shape[2], level.shape[3]) for level in levels[:-1])]
        fused = self.fuse[-1](levels[-1], None, sizes[-1])
        for level in reversed(range(_LEVELS - 1)):
            fused = self.fuse[level](fused, levels[level], sizes[level])
        return self.predict(fused)


def _resampling(level_dims: tuple[int, int, int, int]) -> tuple[nn.Module, ...]:
    """What brings four maps of one size to 4, 2, 1 and 1/2 times that size."""
    first, second, _, fourth = level_dims
    return (
        nn.ConvTranspose2d(first, first, 4, stride=4),
        nn.ConvTranspose2d(second, second, 2, stride=2),
        nn.Identity(),
        nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
    )


class _Fusion(nn.Module):
    """Adds a finer level to the coarser ones, refines, and resizes for the next level."""

    def __init__(self, dim: int, batch_norm: bool, *, has_finer: bool) -> None:
        super().__init__()
        self.refine_finer = _ResidualUnit(dim, batch_norm) if has_finer else None
        self.refine = _ResidualUnit(dim, batch_norm)
        self.project = nn.Conv2d(dim, dim, 1)

    def forward(self, coarse: Tensor, finer: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Fuses (B, dim, h, w) with `finer` of the same size, if there is one; gives (B, dim, *size)."""
        if self.refine_finer is not None:
            coarse = coarse + self.refine_finer(finer)
        resized = F.interpolate(self.refine(coarse), size, mode="bilinear", align_corners=True)
        return self.project(resized)


class _ResidualUnit(nn.Sequential):
    """Two 3 x 3 convolutions, each after a ReLU, added to the input."""

    def __init__(self, dim: int, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1, bias=not batch_norm), _norm(dim, batch_norm)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def _regression(dim: int, out_channels: int, batch_norm: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(dim, dim // 2, 3, padding=1),
        _double(),
        nn.Conv2d(dim // 2, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, out_channels, 1),
    )


def _segmentation(dim: int, out_channels: int, batch_norm: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(dim, dim, 3, padding=1, bias=False),
        _norm(dim, batch_norm),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Conv2d(dim, out_channels, 1),
        _double(),
    )


def _norm(dim: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(dim) if batch_norm else nn.Identity()


def _double() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
