"""Image-like textures with colours of their own: photographs, book spines, rugs, views, screens. Display RGB."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rgbd3d.data.synthrooms.noise import Image, blend, colour, grid, near_integer, noise, spots

Colour = npt.NDArray[np.float64]


def _muted(rng: np.random.Generator, low: float = 0.15, high: float = 0.85) -> Colour:
    """A display colour as printed matter has it: mostly warm or blue, weakly saturated."""
    hue = rng.choice([rng.normal(0.07, 0.04), rng.normal(0.57, 0.05), rng.random()], p=[0.6, 0.25, 0.15]) % 1.0
    return np.array(colorsys.hsv_to_rgb(hue, rng.beta(1.5, 3.6), rng.uniform(low, high)))


def _landscape(rng: np.random.Generator, size: int) -> Image:
    """Sky over overlapping ridges that get darker towards the viewer; v grows upwards."""
    _, v = grid(size)
    top, bottom = _muted(rng, 0.6, 0.95), _muted(rng, 0.75, 1.0)
    image = bottom + (top - bottom) * v[..., None]
    image = blend(image, np.array([0.97, 0.96, 0.94]), 0.6 * np.clip(noise(rng, size, 1.8, (2.0, 1.0)) * 3 - 1.5, 0, 1))
    near = _muted(rng, 0.12, 0.4)
    ridges = 4
    for ridge in range(ridges):
        share = (ridge + 1) / ridges
        line = noise(rng, size, 1.6)[ridge]
        height = 0.62 - 0.5 * share + 0.22 * (line - 0.5)
        shade = near * share + bottom * 0.75 * (1 - share)
        texture = 0.75 + 0.5 * noise(rng, size, 1.1)
        image = blend(image, shade * texture[..., None], v < height[None])
    return image


def _portrait(rng: np.random.Generator, size: int) -> Image:
    """A lit head and shoulders before a dim backdrop."""
    u, v = grid(size)
    backdrop = _muted(rng, 0.15, 0.6)
    image = backdrop * (0.6 + 0.8 * noise(rng, size, 2.0))[..., None]
    x = rng.uniform(0.4, 0.6)
    skin = np.array(colorsys.hsv_to_rgb(rng.uniform(0.03, 0.08), rng.uniform(0.25, 0.55), rng.uniform(0.45, 0.9)))
    cloth, hair = _muted(rng, 0.1, 0.8), _muted(rng, 0.05, 0.45)
    light = (0.7 + 0.5 * u if rng.random() < 0.5 else 1.2 - 0.5 * u)[..., None] * (0.8 + 0.4 * noise(rng, size, 1.4))[
        ..., None
    ]
    image = blend(image, cloth * light, ((u - x) / 0.36) ** 2 + (v / 0.36) ** 2 < 1)
    image = blend(image, hair * light, ((u - x) / 0.17) ** 2 + ((v - 0.6) / 0.22) ** 2 < 1)
    return blend(image, skin * light, ((u - x) / 0.125) ** 2 + ((v - 0.55) / 0.175) ** 2 < 1)


def _still_life(rng: np.random.Generator, size: int) -> Image:
    """Soft round things on a table, painted with visible brushwork."""
    u, v = grid(size)
    image = np.where((v < rng.uniform(0.25, 0.45))[..., None], _muted(rng, 0.3, 0.7), _muted(rng, 0.2, 0.8))
    for _ in range(int(rng.integers(4, 9))):
        x, y, radius, squash = (
            rng.uniform(0.15, 0.85),
            rng.uniform(0.15, 0.55),
            rng.uniform(0.06, 0.18),
            rng.uniform(0.5, 1.3),
        )
        distance = np.hypot(u - x, (v - y) * squash) / radius
        shade = np.clip(1.15 - 0.5 * distance + 0.4 * (v - y) / radius, 0.3, 1.3)
        image = blend(image, _muted(rng, 0.3, 0.95) * shade[..., None], np.clip((1 - distance) * 12, 0, 1))
    return image * (0.75 + 0.5 * noise(rng, size, 0.9))[..., None]


def _abstract(rng: np.random.Generator, size: int) -> Image:
    """Layers of muted colour fields with soft, irregular edges."""
    image = np.broadcast_to(_muted(rng, 0.5, 0.95), (size, size, 3)).copy()
    for _ in range(int(rng.integers(3, 6))):
        stretch = (1.0, rng.uniform(1.0, 4.0)) if rng.random() < 0.5 else (rng.uniform(1.0, 4.0), 1.0)
        field = noise(rng, size, 1.9, stretch)
        mask = np.clip((field - rng.uniform(0.45, 0.65)) * rng.uniform(6, 40), 0, 1)
        image = blend(image, _muted(rng, 0.1, 0.95), mask * rng.uniform(0.6, 1.0))
    return image * (0.9 + 0.2 * noise(rng, size, 0.8))[..., None]


def _poster(rng: np.random.Generator, size: int) -> Image:
    """A photograph over a block of lettering on a plain sheet."""
    u, v = grid(size)
    paper = _muted(rng, 0.75, 0.98)
    image = np.broadcast_to(paper, (size, size, 3)).copy()
    photo = _landscape(rng, size) if rng.random() < 0.5 else _abstract(rng, size)
    image = blend(image, photo, (np.abs(u - 0.5) < 0.42) & (v > 0.36) & (v < 0.94))
    words = noise(rng, size, 0.6, (3.0, 1.0)) > 0.48
    line = (np.sin(2 * np.pi * 22 * v) > 0.1) & (np.abs(u - 0.5) < 0.36) & (v > 0.07) & (v < 0.3)
    return blend(image, paper * 0.25, words & line)


def _document(rng: np.random.Generator, size: int) -> Image:
    """A printed page: lines of words between margins, now and then a figure."""
    u, v = grid(size)
    image = colour(0.93 + 0.04 * noise(rng, size, 1.5))
    words = noise(rng, size, 0.5, (3.0, 1.0)) > 0.45
    line = (np.sin(2 * np.pi * 30 * v) > 0.0) & (np.abs(u - 0.5) < 0.4) & (np.abs(v - 0.5) < 0.42)
    image = blend(image, np.array([0.25, 0.25, 0.28]), words & line)
    y = rng.uniform(0.2, 0.7)
    return blend(image, _abstract(rng, size), (np.abs(u - 0.5) < 0.3) & (np.abs(v - y) < 0.1))


def _books(rng: np.random.Generator, size: int) -> Image:
    """Spines side by side, about 18 per period, with rounded shading and title bands."""
    image = np.zeros((size, size, 3))
    start = 0
    while start < size:
        width = min(int(rng.integers(size // 28, size // 11)), size - start)
        spine = _muted(rng, 0.1, 0.9)
        shade = 1 - 0.35 * np.abs(np.linspace(-1, 1, width)) ** 2
        image[:, start : start + width] = spine * shade[:, None]
        band = rng.choice([spine * 0.5, np.clip(spine * 1.6, 0, 1), np.array([0.75, 0.65, 0.4])])
        for _ in range(int(rng.integers(1, 5))):
            low = int(rng.integers(0, size - 8))
            image[low : low + int(rng.integers(3, size // 8)), start + 1 : start + width - 1] = band
        image[:, start] *= 0.35
        start += width
    return image * (0.88 + 0.12 * noise(rng, size, 0.8))[..., None]


def _view(rng: np.random.Generator, size: int, houses: bool) -> Image:
    """What a window shows: an overexposed sky over blurred trees or houses."""
    u, v = grid(size)
    sky = np.array([0.80, 0.88, 0.98]) * (0.92 + 0.1 * v[..., None])
    image = blend(sky, np.array([0.98, 0.98, 0.98]), noise(rng, size, 1.7, (2.0, 1.0)))
    line = 0.42 + 0.3 * (noise(rng, size, 1.5)[0] - 0.5)
    if houses:
        line = np.repeat(line[:: size // 8], size // 8)
    light = 0.7 + 0.6 * noise(rng, size, 1.3)
    tone = np.array([0.60, 0.55, 0.50]) if houses else np.array([0.42, 0.50, 0.36])
    image = blend(image, tone * light[..., None], np.clip((line[None] - v) * 40, 0, 1))
    if houses:
        panes = (np.sin(2 * np.pi * 16 * u) > 0.2) & (np.sin(2 * np.pi * 16 * v) > 0.1) & (v < line[None] - 0.05)
        image = blend(image, np.array([0.35, 0.40, 0.46]), panes)
    lawn = np.array([0.50, 0.54, 0.40]) * (0.8 + 0.4 * noise(rng, size, 1.0))[..., None]
    return blend(image, lawn, np.clip((0.2 - v) * 30, 0, 1))


def _rug(rng: np.random.Generator, size: int, design: int) -> Image:
    """0: framed medallion, 1: bands, 2: plain with a border, 3: soft abstract; all worn and woolly."""
    u, v = grid(size)
    colours = [_muted(rng, 0.2, 0.8) for _ in range(4)]
    edge = np.maximum(np.abs(u - 0.5), np.abs(v - 0.5)) * 2
    image = np.broadcast_to(colours[0], (size, size, 3)).copy()
    if design == 0:
        ornament = spots(rng, size, 9.0)
        ornament = (ornament + ornament[::-1] + ornament[:, ::-1] + ornament[::-1, ::-1]) / 4
        image = blend(image, colours[1], np.abs(ornament - 0.5) < 0.06)
        image = blend(image, colours[2], np.abs(u - 0.5) + np.abs(v - 0.5) < 0.26)
    elif design == 1:
        bands = rng.integers(0, 4, 24)[np.floor(v * 24).astype(int)]
        image = np.stack(colours)[bands]
    elif design == 3:
        image = _abstract(rng, size)
    if design in (0, 2):
        image = blend(image, colours[3], (edge > 0.8) & (edge < 0.95))
        image = blend(image, colours[1], (edge > 0.86) & near_integer(np.maximum(u, v) * 32, 0.25))
    return image * (0.72 + 0.18 * noise(rng, size, 0.3) + 0.2 * noise(rng, size, 1.6))[..., None]


def _screen(rng: np.random.Generator, size: int) -> Image:
    """A display: windows with text on a plain desktop."""
    u, v = grid(size)
    image = np.broadcast_to(_muted(rng, 0.25, 0.6), (size, size, 3)).copy()
    image = blend(image, np.array([0.2, 0.2, 0.24]), v < 0.05)
    for _ in range(2):
        x, y, half_width, half_height = (
            rng.uniform(0.3, 0.7),
            rng.uniform(0.45, 0.6),
            rng.uniform(0.2, 0.4),
            rng.uniform(0.2, 0.38),
        )
        inside = (np.abs(u - x) < half_width) & (np.abs(v - y) < half_height)
        image = blend(image, np.array([0.92, 0.93, 0.94]), inside)
        words = (noise(rng, size, 0.5, (3.0, 1.0)) > 0.52) & (np.sin(2 * np.pi * 40 * v) > 0)
        image = blend(
            image,
            np.array([0.3, 0.32, 0.36]),
            words & (np.abs(u - x) < half_width * 0.9) & (np.abs(v - y) < half_height * 0.85),
        )
    return image


def _keyboard(rng: np.random.Generator, size: int) -> Image:
    u, v = grid(size)
    keys = ~(near_integer(u * 15, 0.1) | near_integer(v * 5, 0.1))
    legend = noise(rng, size, 0.3) > 0.75
    return blend(colour(np.where(keys, 0.22, 0.08)), np.array([0.6, 0.6, 0.6]), keys & legend)


PRINTS: Mapping[str, Callable[[np.random.Generator, int], Image]] = MappingProxyType(
    {
        "landscape0": _landscape,
        "landscape1": _landscape,
        "portrait": _portrait,
        "still_life": _still_life,
        "abstract0": _abstract,
        "abstract1": _abstract,
        "poster": _poster,
        "document": _document,
        "books": _books,
        "view0": partial(_view, houses=False),
        "view1": partial(_view, houses=True),
        "rug0": partial(_rug, design=0),
        "rug1": partial(_rug, design=1),
        "rug2": partial(_rug, design=2),
        "rug3": partial(_rug, design=3),
        "screen": _screen,
        "keyboard": _keyboard,
    }
)
ART: tuple[str, ...] = ("landscape0", "landscape1", "portrait", "still_life", "abstract0", "abstract1")
VIEWS: tuple[str, ...] = ("view0", "view1")
RUGS: tuple[str, ...] = ("rug0", "rug1", "rug2", "rug3")
