"""UPerNet on a plain ViT, from transformers' parts: BEiT's pyramid of four blocks and UperNet's decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from transformers import BeitConfig, UperNetConfig
from transformers.models.beit.modeling_beit import BeitFPNNeck
from transformers.models.upernet import modeling_upernet

LEVELS = 4
"""Blocks whose outputs are decoded."""


class UperNetHead(nn.Module):
    """Four blocks become four scales by deconvolution and pooling; UPerNet pools the coarsest and fuses all.

    The computation is that of transformers' `BeitFPNNeck` and `UperNetForSemanticSegmentation` without auxiliary head.
    One thing differs: where a grid is odd, pooling keeps its last row and column. The four stages of a hierarchical
    backbone have these scales already.

    Args:
        dim: Width of the tokens; or the four widths of a hierarchical backbone's stages.
        out_channels: Channels of the prediction.
        width: Channels of the decoder.
    """

    def __init__(self, dim: int | Sequence[int], out_channels: int, *, width: int = 512) -> None:
        super().__init__()
        config = UperNetConfig(
            hidden_size=width,
            num_labels=out_channels,  # type: ignore[call-arg]  # a property of every configuration
        )
        self.pyramid = _pyramid(dim) if isinstance(dim, int) else nn.Identity()
        channels = [dim] * LEVELS if isinstance(dim, int) else list(dim)
        self.decoder = modeling_upernet.UperNetHead(config, in_channels=channels)
        classifier = self.decoder.classifier
        assert classifier.bias is not None
        nn.init.normal_(classifier.weight, std=config.initializer_range)
        nn.init.zeros_(classifier.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at four times the token resolution.

        Args:
            features: float (B, dim, h, w) of four blocks, shallow to deep; or four stages, fine to coarse.

        Returns:
            float (B, out_channels, 4 h, 4 w); at the resolution of the finest stage.

        Raises:
            ValueError: Other maps, or a training step with a single image.
        """
        shapes = [tuple(maps.shape) for maps in features]
        one_size = not isinstance(self.pyramid, nn.Identity)
        if len(shapes) != LEVELS or (one_size and len(set(shapes)) != 1):
            found = ", ".join(map(str, shapes)) or "none"
            raise ValueError(f"UPerNet takes the maps of {LEVELS} blocks, all of one size, got {found}")
        if self.training and len(features[0]) == 1:
            raise ValueError(
                "UPerNet pools each image to a single cell, and batch norm cannot be trained on one value: train with "
                "at least 2 images per step and process"
            )
        logits: Tensor = self.decoder(self.pyramid(tuple(features)))
        return logits


def _pyramid(dim: int) -> BeitFPNNeck:
    pyramid = BeitFPNNeck(BeitConfig(hidden_size=dim))
    pyramid.fpn4 = nn.MaxPool2d(2, ceil_mode=True)
    return pyramid
