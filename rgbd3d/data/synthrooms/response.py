"""From radiance to the 8-bit picture of a cheap RGB camera: exposure, colour cast, tone curve, blur and noise.

The constants are set so that brightness, contrast and chroma of rendered frames are those of NYUv2 training frames:
mean luma 109 with a spread of 25 between frames, standard deviation within a frame 68, mean chroma 31.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgbd3d.data.synthrooms.filters import box_blur
from rgbd3d.seeding import generator

MEDIAN = 0.125
"""Linear value that the middle of the picture's range is exposed to."""
MEAN_TO_MEDIAN = 0.75
"""Usual median divided by the mean: the exposure follows both, so that neither a lamp nor a dark corner rules it."""
GAMMA = 2.2
WHITE_BALANCE = 0.45
"""Share of the colour cast that the automatic white balance removes, in logarithms."""
EDGE_BLUR = 0.75
_CURVE_SIZE = 1024


@dataclass(frozen=True)
class Camera:
    """Settings of one camera in one room.

    Attributes:
        exposure: Factor on the automatic exposure.
        balance: (3,) gains of red, green and blue.
        contrast: Gain of the display values' logits around their median.
        chroma: Share of the colour that is left, 0 = grey.
        noise: Standard deviation of the noise, display range [0, 1].
        vignette: Loss of light in the corners, 0 to 1.
    """

    exposure: float
    balance: tuple[float, float, float]
    contrast: float
    chroma: float
    noise: float
    vignette: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """A random camera."""
        warmth, green = rng.normal(0, 0.06), rng.normal(0, 0.02)
        return cls(
            exposure=float(np.exp(rng.normal(0.12, 0.25))),
            balance=(float(1 + warmth), float(1 + green), float(1 - warmth)),
            contrast=float(rng.uniform(1.6, 2.6)),
            chroma=float(rng.uniform(0.6, 1.05)),
            noise=float(rng.uniform(0.004, 0.014)),
            vignette=float(rng.uniform(0.0, 0.25)),
        )

    def picture(self, radiance: Tensor, primitive: Tensor, seed: tuple[int, ...]) -> Tensor:
        """uint8 (3, H, W) picture of linear radiance (3, H, W).

        Args:
            radiance: Linear RGB, any scale.
            primitive: (H, W) ids; the blur that stands in for anti-aliasing acts where they change.
            seed: Key of the noise.
        """
        height, width = primitive.shape
        image = _soften(radiance, primitive)
        sparse = image[:, ::4, ::4].reshape(3, -1)
        luma = sparse.mean(0)
        level = float((luma.median() * MEAN_TO_MEDIAN * luma.mean()).sqrt())
        cast = sparse.mean(1)
        balances = torch.tensor(self.balance) * (cast.mean() / cast.clamp(min=1e-4)) ** WHITE_BALANCE
        y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        gain = (1 - self.vignette / 2 * (x * x + y * y)) * (self.exposure * MEDIAN / max(level, 1e-4))
        grey = image.mean(0)
        grain = torch.randn(height + 3, width, generator=generator(*seed)) * self.noise
        curve = self._curve()
        channels = []
        for channel, balance in enumerate(balances.tolist()):
            exposed = torch.lerp(grey, image[channel], self.chroma).mul_(gain).mul_(balance).clamp_(0, 1).sqrt_()
            index = exposed.mul_(_CURVE_SIZE - 1).add_(0.5).int()
            display = curve.index_select(0, index.reshape(-1)).reshape(height, width)
            noise = grain[channel : channel + height] + 0.6 * grain[3:]
            channels.append(display.add_(noise).clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8))
        return torch.stack(channels)

    def _curve(self) -> Tensor:
        """Display values of the square roots of linear values."""
        display = torch.linspace(0, 1, _CURVE_SIZE, dtype=torch.float64) ** (2 / GAMMA)
        pivot = torch.tensor(MEDIAN ** (1 / GAMMA), dtype=torch.float64)
        return torch.sigmoid(pivot.logit() + self.contrast * (display.logit() - pivot.logit())).float()


def _soften(image: Tensor, primitive: Tensor) -> Tensor:
    """Blends a 3 x 3 mean into the pixels at the borders of primitives: cheap anti-aliasing."""
    height, width = primitive.shape
    border = torch.zeros(height, width, dtype=torch.bool)
    across, down = primitive[:, 1:] != primitive[:, :-1], primitive[1:] != primitive[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    pixels = torch.nonzero(border.reshape(-1)).squeeze(1)
    flat, blurred = image.reshape(3, -1), box_blur(image).reshape(3, -1)
    mixed = torch.lerp(flat.index_select(1, pixels), blurred.index_select(1, pixels), EDGE_BLUR)
    return flat.index_copy(1, pixels, mixed).reshape(3, height, width)
