"""What a surface looks like: a texture of the atlas, tinted, laid out in metres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

RGB = tuple[float, float, float]
"""Linear RGB, each in [0, 1]."""


@dataclass(frozen=True)
class Material:
    """Appearance of one part.

    Texture coordinates are the metric local coordinates (relative to the part's centre) of the two axes that span a
    face, in the order x-face (y, z), y-face (x, z), z-face (x, y); then `uv = metres * scale + offset`, and the texture
    repeats with period 1. Grained textures run along u; see `Part.grain_axis` for when u and v change places.

    Attributes:
        texture: Name of a texture, see `textures.TEXTURES`.
        tint: Linear RGB that multiplies the texture.
        scale: Repeats of the texture per metre; ignored with `fit`.
        gloss: 0 (matt) to 1: strength of reflections and highlights.
        emission: Radiance that the surface emits, as a factor of its texture times tint.
        mirror: 0 to 1: share of a perfect mirror image.
        fit: Stretch the texture once over the face instead of laying it out in metres.
        offset: Added to (u, v), so that equal textures on neighbouring parts do not repeat each other.
    """

    texture: str = "paint"
    tint: RGB = (0.8, 0.8, 0.8)
    scale: float = 1.0
    gloss: float = 0.0
    emission: float = 0.0
    mirror: float = 0.0
    fit: bool = False
    offset: tuple[float, float] = (0.0, 0.0)

    def shifted(self, rng: np.random.Generator) -> Material:
        """The same material cut from another, random place of its texture."""
        return replace(self, offset=(float(rng.random()), float(rng.random())))

    def tinted(self, factor: float) -> Material:
        """The same material, lighter (factor > 1) or darker; the tint stays within [0, 1]."""
        red, green, blue = self.tint
        return replace(self, tint=(min(red * factor, 1.0), min(green * factor, 1.0), min(blue * factor, 1.0)))
