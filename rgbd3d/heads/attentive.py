"""An attentive probe: cross-attention of each position to all patches, then a linear layer.

Stronger than a linear probe, because a query can choose what it looks at, and still far too small to make up for weak
features. None of the papers probes like this (FACTS.md §7); the layers are the usual ones for masked autoencoders.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rgbd3d.backbones.positions import sincos_2d


class AttentiveHead(nn.Module):
    """Each position of the grid looks at all patches, adds what it found to its own patch, and maps linearly.

    The query of a position is its fixed sine-cosine code; keys are the patches with theirs, values the patches. Starts
    at zero, so before training every class is equally likely.

    Args:
        dim: Width of the tokens, a multiple of 4.
        out_channels: Channels of the prediction.
        heads: Attention heads; they divide `dim`.
    """

    def __init__(self, dim: int, out_channels: int, *, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"an attentive head with {heads} attention heads does not fit tokens of width {dim}")
        self.norm = nn.LayerNorm(dim)
        self.attend = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm_found = nn.LayerNorm(dim)
        self.predict = nn.Linear(dim, out_channels)
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at the token resolution.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float (B, out_channels, h, w).
        """
        grid = (features[-1].shape[2], features[-1].shape[3])
        tokens = self.norm(features[-1].flatten(2).transpose(1, 2))
        places = sincos_2d(tokens.shape[2], grid).to(tokens).expand_as(tokens)
        found, _ = self.attend(places, tokens + places, tokens, need_weights=False)
        return self.predict(self.norm_found(tokens + found)).transpose(1, 2).unflatten(2, grid)
