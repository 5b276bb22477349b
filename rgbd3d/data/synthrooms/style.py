"""The palette of a room: a few woods, cloths and paints that everything in the room is made of.

Real rooms are mostly beige, brown, white and grey: over 398 NYUv2 frames the mean chroma (max - min of display RGB) is
0.12, four fifths of the coloured pixels lie between red and yellow, and 6 % have a chroma above 0.3. The tables below
are drawn up with that in mind. They are in display RGB; every method returns linear RGB.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.materials import RGB, Material

_DISPLAY_GAMMA = 2.2

_WALLS: tuple[tuple[float, RGB], ...] = (
    (4.0, (0.93, 0.92, 0.90)),  # white
    (4.0, (0.92, 0.895, 0.84)),  # cream
    (3.5, (0.86, 0.825, 0.765)),  # beige
    (2.5, (0.79, 0.765, 0.73)),  # greige
    (2.5, (0.81, 0.81, 0.81)),  # light grey
    (1.5, (0.92, 0.88, 0.77)),  # pale yellow
    (1.2, (0.77, 0.79, 0.815)),  # pale blue
    (1.2, (0.78, 0.79, 0.745)),  # sage
    (1.0, (0.89, 0.83, 0.78)),  # peach
    (0.7, (0.64, 0.585, 0.53)),  # taupe
)
_FEATURE_WALLS: tuple[tuple[float, RGB], ...] = (
    (1.5, (0.62, 0.45, 0.37)),  # terracotta
    (1.5, (0.55, 0.52, 0.48)),  # dark greige
    (1.0, (0.36, 0.42, 0.50)),  # slate blue
    (1.0, (0.50, 0.53, 0.42)),  # olive
    (0.7, (0.53, 0.31, 0.28)),  # brick red
    (0.7, (0.82, 0.73, 0.56)),  # ochre
)
_WOODS: tuple[tuple[float, RGB], ...] = (
    (3.0, (0.70, 0.57, 0.42)),  # oak
    (2.0, (0.80, 0.69, 0.54)),  # pine
    (2.0, (0.76, 0.68, 0.57)),  # birch
    (3.0, (0.44, 0.32, 0.24)),  # walnut
    (2.5, (0.50, 0.31, 0.22)),  # cherry
    (1.5, (0.36, 0.22, 0.18)),  # mahogany
    (1.5, (0.24, 0.19, 0.17)),  # espresso
    (1.0, (0.60, 0.55, 0.49)),  # weathered grey
)
_NEUTRAL_CLOTHS: tuple[tuple[float, RGB], ...] = (
    (3.0, (0.90, 0.88, 0.83)),  # off-white
    (3.0, (0.82, 0.75, 0.64)),  # sand
    (2.5, (0.62, 0.53, 0.43)),  # camel
    (2.5, (0.42, 0.32, 0.26)),  # brown
    (2.0, (0.60, 0.59, 0.57)),  # grey
    (2.0, (0.33, 0.32, 0.32)),  # charcoal
    (1.5, (0.13, 0.12, 0.13)),  # black
    (2.0, (0.24, 0.28, 0.37)),  # navy
    (1.5, (0.43, 0.47, 0.53)),  # slate
    (1.0, (0.48, 0.46, 0.37)),  # khaki
)
_ACCENTS: tuple[tuple[float, RGB], ...] = (
    (2.5, (0.55, 0.22, 0.20)),  # burgundy
    (2.0, (0.74, 0.40, 0.24)),  # rust
    (1.5, (0.80, 0.62, 0.28)),  # mustard
    (1.5, (0.36, 0.47, 0.62)),  # denim
    (1.0, (0.25, 0.45, 0.47)),  # teal
    (1.2, (0.44, 0.48, 0.30)),  # olive
    (1.0, (0.76, 0.52, 0.50)),  # rose
    (0.7, (0.45, 0.33, 0.45)),  # plum
    (1.0, (0.62, 0.73, 0.80)),  # sky
    (0.4, (0.68, 0.20, 0.17)),  # red
)
_PLAIN_WEAVES = ("weave", "knit", "carpet", "leather")
_PATTERNED_WEAVES = ("stripes", "plaid", "floral", "quilt")
_WHITE_PAINT = (0.92, 0.91, 0.88)


def linear(display: RGB) -> RGB:
    """Display RGB to linear RGB, clipped to [0.005, 0.95]: nothing real is blacker or whiter."""
    red, green, blue = (float(np.clip(value, 0.0, 1.0)) ** _DISPLAY_GAMMA for value in display)
    return min(max(red, 0.005), 0.95), min(max(green, 0.005), 0.95), min(max(blue, 0.005), 0.95)


def _draw(rng: np.random.Generator, table: tuple[tuple[float, RGB], ...], spread: float = 0.03) -> RGB:
    """A display colour of a weighted table; `spread` jitters its brightness, a third of that its hue."""
    weights, colours = zip(*table, strict=True)
    base = np.array(choose(rng, colours, weights))
    red, green, blue = np.clip(base + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0.03, 0.97)
    return float(red), float(green), float(blue)


@dataclass(frozen=True)
class Style:
    """Palette of one room; all colours in display RGB. Every draw takes the generator that decides it.

    Attributes:
        wall: Wall paint.
        feature: Paint of a wall that stands out.
        woods: Two wood tones, the first is the usual one.
        cloths: Three neutral cloth colours.
        accents: Two colours for things that may stand out.
        trim: Paint of skirting boards, window frames and doors.
        chrome: Grey of fittings; brass where `brass`.
        brass: Whether fittings are brass rather than steel.
        painted_furniture: Share of furniture that is painted instead of wooden.
    """

    wall: RGB
    feature: RGB
    woods: tuple[RGB, RGB]
    cloths: tuple[RGB, RGB, RGB]
    accents: tuple[RGB, RGB]
    trim: RGB
    chrome: float
    brass: bool
    painted_furniture: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """A random palette."""
        return cls(
            wall=_draw(rng, _WALLS, 0.025),
            feature=_draw(rng, _FEATURE_WALLS),
            woods=(_draw(rng, _WOODS), _draw(rng, _WOODS)),
            cloths=(_draw(rng, _NEUTRAL_CLOTHS), _draw(rng, _NEUTRAL_CLOTHS), _draw(rng, _NEUTRAL_CLOTHS)),
            accents=(_draw(rng, _ACCENTS), _draw(rng, _ACCENTS)),
            trim=_WHITE_PAINT if chance(rng, 0.75) else _draw(rng, _WOODS),
            chrome=uniform(rng, 0.5, 0.85),
            brass=chance(rng, 0.2),
            painted_furniture=float(rng.beta(1.2, 2.5)),
        )

    def colour(self, rng: np.random.Generator, accent: float = 0.35) -> RGB:
        """Linear RGB of a small thing: a neutral of the palette, with probability `accent` something brighter."""
        if rng.random() >= accent:
            return linear(_draw(rng, _NEUTRAL_CLOTHS, 0.05))
        if chance(rng, 0.7):
            base = choose(rng, self.accents)
        else:
            base = colorsys.hsv_to_rgb(float(rng.random()), float(rng.beta(1.6, 3.0)), uniform(rng, 0.3, 0.85))
        lightness = uniform(rng, 0.85, 1.15)
        return linear((base[0] * lightness, base[1] * lightness, base[2] * lightness))

    def paint(self, rng: np.random.Generator, tint: RGB | None = None, gloss: float = 0.15) -> Material:
        """Smooth paint or plastic in the given linear colour, else in one for small things."""
        return Material("paint", self.colour(rng) if tint is None else tint, 0.7, gloss).shifted(rng)

    def white(self, rng: np.random.Generator, gloss: float = 0.2) -> Material:
        """White lacquer, enamel or plastic, between ivory and pure white."""
        level = uniform(rng, 0.82, 0.95)
        return Material("paint", linear((level, level * 0.995, level * uniform(rng, 0.93, 1.0))), 0.7, gloss).shifted(
            rng
        )

    def black(self, rng: np.random.Generator, gloss: float = 0.4) -> Material:
        """Black plastic or lacquer."""
        level = uniform(rng, 0.06, 0.2)
        return Material("paint", linear((level, level, level)), 0.7, gloss).shifted(rng)

    def ceramic(self, rng: np.random.Generator) -> Material:
        """Glazed white, now and then ivory or grey: toilets, basins, bathtubs."""
        return self.white(rng, gloss=0.8)

    def wood(self, rng: np.random.Generator, tone: int | None = None) -> Material:
        """Wood of the room's first tone (three times in four) or of its second."""
        index = int(chance(rng, 0.25)) if tone is None else tone
        texture = "wood_fine" if chance(rng, 0.6) else "wood_coarse"
        gloss = uniform(rng, 0.0, 0.35)
        scale = uniform(rng, 0.5, 1.0)
        return (
            Material(texture, linear(_brighter(self.woods[index], 1.1)), scale, gloss)
            .tinted(uniform(rng, 0.85, 1.15))
            .shifted(rng)
        )

    def fabric(self, rng: np.random.Generator, accent: float = 0.3, patterned: float = 0.25) -> Material:
        """Cloth in a neutral of the room, with probability `accent` in an accent colour."""
        palette = self.accents if chance(rng, accent) else self.cloths
        shade = choose(rng, palette)
        weaves = _PATTERNED_WEAVES if chance(rng, patterned) else _PLAIN_WEAVES
        texture = choose(rng, weaves)
        gloss = uniform(rng, 0.2, 0.45) if texture == "leather" else 0.0
        tint = linear(_brighter(shade, uniform(rng, 0.95, 1.15)))
        return Material(texture, tint, uniform(rng, 0.9, 1.8), gloss).shifted(rng)

    def linen(self, rng: np.random.Generator) -> Material:
        """Light bed linen, towels, lampshades."""
        level = uniform(rng, 0.78, 0.95)
        warmth = uniform(rng, 0.88, 1.0)
        return Material("weave", linear((level, level * (0.5 + 0.5 * warmth), level * warmth)), 1.3).shifted(rng)

    def metal(self, rng: np.random.Generator) -> Material:
        """The room's fittings: steel or brass, seldom black."""
        if chance(rng, 0.12):
            return self.black(rng)
        if not self.brass:
            return self.steel(rng)
        level = self.chrome * uniform(rng, 0.9, 1.1)
        return Material("metal", linear((level, level * 0.8, level * 0.5)), 1.5, 0.7).shifted(rng)

    def steel(self, rng: np.random.Generator) -> Material:
        """Brushed steel: appliances, sinks, racks."""
        level = self.chrome * uniform(rng, 0.9, 1.1)
        return Material("metal", linear((level, level, level * 0.99)), 1.5, 0.7).shifted(rng)

    def surface(self, rng: np.random.Generator) -> Material:
        """What furniture is made of: the room's wood, else lacquer in white, black or a muted colour."""
        if rng.random() >= self.painted_furniture:
            return self.wood(rng)
        kind = rng.random()
        if kind < 0.6:
            return self.white(rng)
        if kind < 0.75:
            return self.black(rng)
        return self.paint(rng, self.colour(rng, accent=0.15), gloss=uniform(rng, 0.0, 0.3))

    def stone(self, rng: np.random.Generator) -> Material:
        """Worktops: light or dark marble and granite."""
        level, warmth = choose(rng, (uniform(rng, 0.7, 0.95), uniform(rng, 0.2, 0.55))), uniform(rng, 0.88, 1.0)
        texture = "marble" if chance(rng, 0.5) else "granite"
        tint = linear((level, level * (1 + warmth) / 2, level * warmth))
        return Material(texture, tint, uniform(rng, 0.6, 1.4), 0.6).shifted(rng)

    def frame(self, rng: np.random.Generator) -> Material:
        """Paint or wood of the room's trim: door and window frames, skirting boards."""
        if self.trim == _WHITE_PAINT:
            return Material("paint", linear(self.trim), 0.7, 0.25).shifted(rng)
        return Material("wood_fine", linear(self.trim), 0.8, 0.25).shifted(rng)

    def wall_finish(self, rng: np.random.Generator, wet: bool = False, feature: bool = False) -> Material:
        """A wall: paint, plaster, seldom paper; tiles in wet rooms; brick, paper or deep paint where it stands out."""
        if wet and chance(rng, 0.6):
            texture = choose(rng, ("tile", "subway", "tile_small"))
            return Material(texture, linear(_draw(rng, _WALLS)), uniform(rng, 0.5, 0.8), 0.4).shifted(rng)
        if feature:
            texture = choose(rng, ("paint", "wallpaper", "brick", "plaster", "wood_fine"), (4, 2, 2, 1, 1))
            shade = self.woods[1] if texture == "wood_fine" else self.feature
            return Material(texture, linear(shade), 0.45, 0.05).shifted(rng)
        texture = choose(rng, ("paint", "plaster", "wallpaper"), (0.7, 0.22, 0.08))
        return Material(texture, linear(_brighter(self.wall, 1.06)), uniform(rng, 0.25, 0.45), 0.05).shifted(rng)

    def floor_finish(self, rng: np.random.Generator, wet: bool = False) -> Material:
        """A floor: boards, parquet or carpet; tiles or stone in wet rooms."""
        kind = rng.random()
        if kind < (0.75 if wet else 0.12):
            texture = choose(rng, ("tile", "tile_small", "marble", "concrete"), (0.65, 0.15, 0.1, 0.1))
            return Material(texture, linear(_draw(rng, _WALLS, 0.06)), uniform(rng, 0.4, 0.6), 0.4).shifted(rng)
        if kind < 0.65:
            texture = "parquet" if chance(rng, 0.2) else "planks"
            return Material(texture, linear(_brighter(self.woods[0], 1.15)), uniform(rng, 0.45, 0.65), 0.3).shifted(rng)
        shade = choose(rng, self.cloths) if chance(rng, 0.94) else self.accents[0]
        return Material("carpet", linear(_brighter(shade, 1.05)), uniform(rng, 0.5, 0.9)).shifted(rng)

    def ceiling_finish(self, rng: np.random.Generator) -> Material:
        """A white ceiling."""
        return Material("plaster" if chance(rng, 0.3) else "paint", linear((0.95, 0.94, 0.92)), 0.35).shifted(rng)


def _brighter(display: RGB, factor: float) -> RGB:
    return display[0] * factor, display[1] * factor, display[2] * factor
