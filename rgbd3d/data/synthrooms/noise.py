"""Tileable noise and masks: the raw stuff of the procedural textures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float64]
"""(N, N) grey or (N, N, 3) colour in [0, 1]; row = v (upwards), column = u; opposite edges continue each other."""


def grid(size: int) -> tuple[Image, Image]:
    """(u, v) coordinates of the texel centres, each (size, size) in (0, 1)."""
    steps = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(steps, steps)
    return u, v


def noise(rng: np.random.Generator, size: int, beta: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Image:
    """Periodic noise with an amplitude spectrum 1 / f^beta.

    Args:
        rng: Source of the draws.
        size: Texels per side.
        beta: 0 = white; 1 = equally busy on every scale; above = soft blobs.
        stretch: How many times longer the features are along (u, v).

    Returns:
        (size, size) in [0, 1] with mean 0.5; values beyond 2.5 standard deviations are clipped.
    """
    frequency_v = np.fft.fftfreq(size, 1 / size)[:, None] * stretch[1]
    frequency_u = np.fft.rfftfreq(size, 1 / size)[None] * stretch[0]
    frequency = np.hypot(frequency_u, frequency_v)
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency**beta
    spectrum[0, 0] = 0.0
    values = np.fft.irfft2(spectrum, (size, size))
    return np.clip(0.5 + values / (5 * values.std()), 0.0, 1.0)


def spots(rng: np.random.Generator, size: int, frequency: float) -> Image:
    """Periodic noise of one feature size, about `frequency` spots per side; (size, size), ranks spread over [0, 1]."""
    radius = np.hypot(np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)[None])
    band = np.exp(-(((radius - frequency) / (0.35 * frequency)) ** 2))
    values = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * band, (size, size))
    ranks = np.empty(values.size)
    ranks[np.argsort(values, axis=None)] = np.linspace(0.0, 1.0, values.size)
    return ranks.reshape(values.shape)


def two_scale_noise(rng: np.random.Generator, size: int, fine: float = 0.4, share: float = 0.5) -> Image:
    """Soft blobs plus fine texture; `share` of the first, so that a repeat of the texture shows neither alone."""
    return share * noise(rng, size, 1.7) + (1 - share) * noise(rng, size, fine)


def near_integer(values: Image, width: float) -> npt.NDArray[np.bool_]:
    """Where `values` are closer than `width` to a whole number: joints of a regular pattern."""
    return np.abs(values - np.round(values)) < width


def colour(grey: Image) -> Image:
    """(N, N) grey to (N, N, 3)."""
    return np.repeat(grey[..., None], 3, axis=2)


def blend(below: Image, above: Image | npt.NDArray[np.float64], mask: Image | npt.NDArray[np.bool_]) -> Image:
    """`above` where the (N, N) mask is 1, `below` where it is 0; both (N, N, 3) or broadcastable."""
    weight = np.asarray(mask, np.float64)[..., None]
    return below * (1 - weight) + above * weight
