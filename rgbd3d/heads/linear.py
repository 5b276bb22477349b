"""A linear map of the features, for probes and as the smallest baseline."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LinearHead(nn.Module):
    """Standardises every channel with fixed statistics, then maps linearly, patch by patch.

    Starts at zero, so before training every class is equally likely.

    Args:
        dim: Width of the tokens, summed over the maps that are given.
        out_channels: Channels of the prediction.
        mean: float (dim,), mean of the training features; 0 if not given.
        std: float (dim,), their standard deviation, positive; 1 if not given.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, out_channels: int, *, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim) if mean is None else mean)
        self.register_buffer("std", torch.ones(dim) if std is None else std)
        self.predict = nn.Linear(dim, out_channels)
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at the token resolution.

        Args:
            features: float (B, D, h, w) of one size, joined along the channels.

        Returns:
            float (B, out_channels, h, w).
        """
        maps = features[0] if len(features) == 1 else torch.cat(list(features), dim=1)
        standardised: Tensor = (maps.movedim(1, -1) - self.mean) / self.std
        return self.predict(standardised).movedim(-1, 1)
