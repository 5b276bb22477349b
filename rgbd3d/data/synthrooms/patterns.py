"""Surface textures to be tinted: paint, wood, stone, cloth. Linear relative albedo; the atlas sets the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from rgbd3d.data.synthrooms.noise import Image, grid, near_integer, noise, spots, two_scale_noise

_TAU = 2 * np.pi


def _paint(rng: np.random.Generator, size: int) -> Image:
    return 0.94 + 0.06 * two_scale_noise(rng, size, fine=0.6, share=0.7)


def _plaster(rng: np.random.Generator, size: int) -> Image:
    return 0.82 + 0.18 * two_scale_noise(rng, size, fine=0.7, share=0.5)


def _wallpaper(rng: np.random.Generator, size: int) -> Image:
    """A faint leafy motif, repeated in staggered rows."""
    repeats = 8
    motif = spots(rng, size // repeats, 3.0)
    motif = (motif + motif[:, ::-1]) / 2
    shift = size // repeats // 2
    rows = [np.roll(np.tile(motif, repeats), (row % 2) * shift, axis=1) for row in range(repeats)]
    return 0.8 + 0.1 * (np.concatenate(rows) > 0.6) + 0.1 * two_scale_noise(rng, size)


def _wood(rng: np.random.Generator, size: int, rings: int, warp: float) -> Image:
    """Rings cut lengthwise (along u): stripes across v, bent by long soft noise, with fine pores."""
    _, v = grid(size)
    bend = warp * (noise(rng, size, 2.0, (5.0, 1.0)) - 0.5)
    ring = 0.5 + 0.5 * np.sin(_TAU * (rings * v + bend * rings))
    pores = noise(rng, size, 0.5, (14.0, 1.0))
    tone = noise(rng, size, 1.6, (3.0, 1.0))
    light = 0.60 + 0.14 * ring + 0.14 * pores + 0.16 * tone
    return np.stack([light, light * (0.95 + 0.05 * ring), light * (0.88 + 0.10 * ring)], axis=-1)


def _wood_fine(rng: np.random.Generator, size: int) -> Image:
    return _wood(rng, size, rings=14, warp=0.6)


def _wood_coarse(rng: np.random.Generator, size: int) -> Image:
    return _wood(rng, size, rings=6, warp=1.3)


def _planks(rng: np.random.Generator, size: int) -> Image:
    """Floor boards along u, 12 rows of 2 boards with shifted joints, each with its own grain and tone."""
    rows, boards = 12, 2
    u, v = grid(size)
    row = np.floor(v * rows).astype(int)
    along = u + rng.random(rows)[row]
    board = np.floor(along * boards).astype(int) % boards
    tone = rng.uniform(0.72, 1.0, (rows, boards))[row, board]
    grain = noise(rng, size, 0.7, (10.0, 1.0))
    joint = near_integer(v * rows, 0.05) | near_integer(along * boards, 0.008)
    light = tone * (0.84 + 0.16 * grain) * np.where(joint, 0.5, 1.0)
    return np.stack([light, light * 0.97, light * 0.92], axis=-1)


def _parquet(rng: np.random.Generator, size: int) -> Image:
    """Basket weave: squares of 4 strips, alternating in direction."""
    squares, strips = 8, 4
    u, v = grid(size)
    column, row = np.floor(u * squares).astype(int), np.floor(v * squares).astype(int)
    lengthwise = (column + row) % 2 == 0
    across = np.where(lengthwise, v, u) * squares * strips
    strip = np.floor(across).astype(int) % strips
    tone = rng.uniform(0.7, 1.0, (squares, squares, strips))[row, column, strip]
    joint = near_integer(across, 0.09) | near_integer(np.where(lengthwise, u, v) * squares, 0.02)
    grain = np.where(lengthwise, noise(rng, size, 0.6, (8.0, 1.0)), noise(rng, size, 0.6, (1.0, 8.0)))
    light = tone * (0.86 + 0.14 * grain) * np.where(joint, 0.62, 1.0)
    return np.stack([light, light * 0.96, light * 0.9], axis=-1)


def _tiles(rng: np.random.Generator, size: int, columns: int, rows: int, stagger: float, joint: float) -> Image:
    u, v = grid(size)
    row = np.floor(v * rows).astype(int)
    along = u * columns + stagger * (row % 2)
    column = np.floor(along).astype(int) % columns
    tone = rng.uniform(0.88, 1.0, (rows, columns))[row, column] * (0.92 + 0.08 * two_scale_noise(rng, size))
    gap = near_integer(v * rows, joint) | near_integer(along, joint * columns / rows)
    return np.where(gap, rng.uniform(0.45, 0.8), tone)


def _tile(rng: np.random.Generator, size: int) -> Image:
    return _tiles(rng, size, columns=6, rows=6, stagger=0.0, joint=0.02)


def _tile_small(rng: np.random.Generator, size: int) -> Image:
    return _tiles(rng, size, columns=16, rows=16, stagger=0.0, joint=0.05)


def _subway(rng: np.random.Generator, size: int) -> Image:
    return _tiles(rng, size, columns=8, rows=16, stagger=0.5, joint=0.05)


def _brick(rng: np.random.Generator, size: int) -> Image:
    wall = _tiles(rng, size, columns=8, rows=24, stagger=0.5, joint=0.09)
    return wall * (0.7 + 0.3 * noise(rng, size, 0.5))


def _carpet(rng: np.random.Generator, size: int) -> Image:
    return 0.5 + 0.3 * noise(rng, size, 0.2) + 0.25 * noise(rng, size, 1.5)


def _weave(rng: np.random.Generator, size: int) -> Image:
    u, v = grid(size)
    threads = np.sin(_TAU * 48 * u) * np.sin(_TAU * 48 * v)
    return 0.66 + 0.12 * threads + 0.3 * two_scale_noise(rng, size, fine=0.2)


def _knit(rng: np.random.Generator, size: int) -> Image:
    u, v = grid(size)
    loops = np.abs(np.sin(_TAU * (16 * u + 0.12 * np.sin(_TAU * 32 * v))))
    return 0.5 + 0.22 * loops + 0.3 * two_scale_noise(rng, size)


def _terry(rng: np.random.Generator, size: int) -> Image:
    """Towel loops with a few woven bands."""
    _, v = grid(size)
    band = near_integer(v * 2 + 0.25, 0.03) | near_integer(v * 2 + 0.17, 0.015)
    pile = 0.6 + 0.25 * noise(rng, size, 0.25) + 0.2 * noise(rng, size, 1.3)
    return pile * np.where(band, 0.72, 1.0)


def _stripes(rng: np.random.Generator, size: int) -> Image:
    """Irregular stripes that run along u."""
    _, v = grid(size)
    edges = np.sort(rng.random(10))
    tones = rng.uniform(0.5, 1.0, 10)
    stripe = tones[np.searchsorted(edges, (v * 4) % 1.0) % 10]
    return stripe * (0.9 + 0.1 * noise(rng, size, 0.5))


def _plaid(rng: np.random.Generator, size: int) -> Image:
    u, v = grid(size)
    edges = np.sort(rng.random(6))
    tones = rng.uniform(0.45, 1.0, 6)
    warp, weft = (tones[np.searchsorted(edges, (axis * 6) % 1.0) % 6] for axis in (u, v))
    return (0.5 * warp + 0.5 * weft) * (0.9 + 0.1 * noise(rng, size, 0.4))


def _floral(rng: np.random.Generator, size: int) -> Image:
    """Petals and leaves scattered over cloth."""
    petals, leaves = spots(rng, size, 12.0), spots(rng, size, 20.0)
    light = np.where(petals > 0.82, 0.5 + (petals - 0.82), np.where(leaves > 0.8, 0.75, 1.0))
    return light * (0.9 + 0.1 * noise(rng, size, 0.4))


def _quilt(rng: np.random.Generator, size: int) -> Image:
    """Padded diamonds between seams."""
    u, v = grid(size)
    pad = np.abs(np.sin(_TAU * 4 * (u + v)) * np.sin(_TAU * 4 * (u - v))) ** 0.35
    return 0.62 + 0.3 * pad + 0.08 * noise(rng, size, 0.6)


def _leather(rng: np.random.Generator, size: int) -> Image:
    creases = np.abs(noise(rng, size, 0.9) - 0.5) * 2
    return 0.55 + 0.3 * creases**0.5 + 0.25 * noise(rng, size, 1.7)


def _wicker(rng: np.random.Generator, size: int) -> Image:
    u, v = grid(size)
    row = np.floor(v * 32).astype(int)
    strand = np.abs(np.sin(_TAU / 2 * (32 * u + (row % 2)))) * np.abs(np.sin(_TAU / 2 * 32 * v))
    return 0.45 + 0.45 * strand + 0.1 * noise(rng, size, 0.8)


def _marble(rng: np.random.Generator, size: int) -> Image:
    veins = np.abs(noise(rng, size, 1.5) - 0.5) * 2
    return 0.55 + 0.25 * np.minimum(veins * 5, 1.0) ** 0.6 + 0.25 * noise(rng, size, 1.6)


def _granite(rng: np.random.Generator, size: int) -> Image:
    """Speckles of three tones."""
    grains = noise(rng, size, 0.6)
    light = np.where(grains > 0.66, 1.0, np.where(grains < 0.36, 0.45, 0.75))
    return light * (0.9 + 0.1 * noise(rng, size, 1.5))


def _metal(rng: np.random.Generator, size: int) -> Image:
    return 0.84 + 0.16 * noise(rng, size, 0.8, (12.0, 1.0))


def _cardboard(rng: np.random.Generator, size: int) -> Image:
    _, v = grid(size)
    return 0.84 + 0.02 * np.sin(_TAU * 40 * v) + 0.14 * two_scale_noise(rng, size)


def _leaf(rng: np.random.Generator, size: int) -> Image:
    light = 0.6 + 0.4 * two_scale_noise(rng, size)
    return np.stack([light * 0.9, light, light * 0.8], axis=-1)


def _concrete(rng: np.random.Generator, size: int) -> Image:
    stains = noise(rng, size, 1.6)
    return 0.66 + 0.24 * stains + 0.1 * noise(rng, size, 0.3)


PATTERNS: Mapping[str, Callable[[np.random.Generator, int], Image]] = MappingProxyType(
    {
        "paint": _paint,
        "plaster": _plaster,
        "wallpaper": _wallpaper,
        "concrete": _concrete,
        "wood_fine": _wood_fine,
        "wood_coarse": _wood_coarse,
        "planks": _planks,
        "parquet": _parquet,
        "tile": _tile,
        "tile_small": _tile_small,
        "subway": _subway,
        "brick": _brick,
        "carpet": _carpet,
        "weave": _weave,
        "knit": _knit,
        "terry": _terry,
        "stripes": _stripes,
        "plaid": _plaid,
        "floral": _floral,
        "quilt": _quilt,
        "leather": _leather,
        "wicker": _wicker,
        "marble": _marble,
        "granite": _granite,
        "metal": _metal,
        "cardboard": _cardboard,
        "leaf": _leaf,
    }
)
GRAINED = frozenset({"wood_fine", "wood_coarse", "planks", "stripes", "metal"})
