"""Attentive probe: one learnt query looks at all patches and says one thing about the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AttentiveHead(nn.Module):
    """Pools the patches by cross-attention with one query, then maps linearly: for classes of whole images.

    Stronger than the mean of the patches, because the query can choose, and still far too small to make up for weak
    features. None of the papers probes like this (FACTS.md §7); the layer is the usual one for masked autoencoders.

    Args:
        dim: Width of the tokens.
        out_channels: Number of classes.
        heads: Attention heads; they divide `dim`.
    """

    def __init__(self, dim: int, out_channels: int, *, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.norm = nn.LayerNorm(dim)
        self.pool = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.predict = nn.Linear(dim, out_channels)
        nn.init.trunc_normal_(self.query, std=0.02)
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts once per image.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float (B, out_channels).
        """
        tokens = self.norm(features[-1].flatten(2).transpose(1, 2))
        pooled, _ = self.pool(self.query.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)
        return self.predict(pooled[:, 0])
