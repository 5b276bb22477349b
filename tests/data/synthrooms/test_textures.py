from __future__ import annotations

import numpy as np
import pytest

from rgbd3d.data.synthrooms import noise, patterns, prints, textures

PICTURES = {name for name in prints.PRINTS if name not in ("books", "screen")}


@pytest.fixture(scope="module")
def atlas() -> textures.Atlas:
    return textures.build_atlas(seed=3, variants=1)


@pytest.fixture(scope="module")
def images(atlas: textures.Atlas) -> dict[str, np.ndarray]:
    side = atlas.resolution
    starts = {name: textures.texture_index(name) * atlas.stride for name in textures.TEXTURES}
    return {name: atlas.texels[start : start + side * side].reshape(side, side, 3) for name, start in starts.items()}


def test_texels_are_finite_and_within_the_unit_range(atlas: textures.Atlas) -> None:
    assert atlas.texels.dtype == np.float32
    assert atlas.texels.shape == (len(textures.TEXTURES) * atlas.stride, 3)
    assert np.isfinite(atlas.texels).all()
    assert atlas.texels.min() >= 0
    assert atlas.texels.max() <= 1


def test_every_mip_level_is_the_mean_of_the_finer_one(atlas: textures.Atlas) -> None:
    start = textures.texture_index("brick") * atlas.stride
    for level in range(1, atlas.levels):
        fine, coarse = (atlas.resolution >> (level - 1), atlas.resolution >> level)
        below, above = (start + atlas.level_offsets[level - 1], start + atlas.level_offsets[level])
        expected = atlas.texels[below : below + fine * fine].reshape(coarse, 2, coarse, 2, 3).mean((1, 3))
        np.testing.assert_allclose(
            atlas.texels[above : above + coarse**2].reshape(coarse, coarse, 3), expected, atol=1e-6
        )
    assert atlas.stride == atlas.level_offsets[-1] + (atlas.resolution >> (atlas.levels - 1)) ** 2


@pytest.mark.parametrize("name", sorted(patterns.PATTERNS))
def test_patterns_tile(images: dict[str, np.ndarray], name: str) -> None:
    """The step across the seam is no larger than the largest steps inside the texture."""
    image = images[name]
    for axis in (0, 1):
        inside = np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2))
        seam = np.abs(image.take(0, axis=axis) - image.take(-1, axis=axis)).mean()
        assert seam <= 1.25 * inside.max() + 1e-3, f"{name} has a seam along axis {axis}"


@pytest.mark.parametrize("name", sorted(patterns.PATTERNS))
def test_patterns_share_one_mean_albedo_and_are_not_flat(images: dict[str, np.ndarray], name: str) -> None:
    assert images[name].mean() == pytest.approx(textures.MEAN_ALBEDO, abs=0.04)
    assert images[name].std() > 0.004


def test_prints_are_mostly_muted(images: dict[str, np.ndarray]) -> None:
    display = np.stack([images[name] for name in prints.PRINTS]) ** (1 / 2.2)
    chroma = np.ptp(display, axis=-1)
    assert 0.02 < chroma.mean() < 0.2
    assert np.quantile(chroma, 0.95) < 0.5


def test_pictures_have_photo_like_low_frequency_content(images: dict[str, np.ndarray]) -> None:
    """Most of the variance of a picture survives an eightfold reduction, and it is more than a few flat colours."""
    for name in prints.ART:
        image = images[name] ** (1 / 2.2)
        small = image.reshape(32, 8, 32, 8, 3).mean((1, 3))
        assert small.var() > 0.5 * image.var(), name
        colours = np.unique((image * 255).astype(np.uint8).reshape(-1, 3), axis=0)
        assert len(colours) > 500, name


def test_textures_are_a_function_of_seed_and_variant() -> None:
    first = textures.paint_texture("planks", seed=1, variant=0, size=64)
    np.testing.assert_array_equal(first, textures.paint_texture("planks", seed=1, variant=0, size=64))
    assert not np.array_equal(first, textures.paint_texture("planks", seed=1, variant=1, size=64))
    assert not np.array_equal(first, textures.paint_texture("planks", seed=2, variant=0, size=64))


def test_unknown_texture_is_an_error() -> None:
    with pytest.raises(KeyError, match="velvet"):
        textures.texture_index("velvet")


def test_noise_stretches_features_along_the_given_axis() -> None:
    image = noise.noise(np.random.default_rng(0), 64, 1.0, (8.0, 1.0))
    assert np.abs(np.diff(image, axis=1)).mean() < 0.5 * np.abs(np.diff(image, axis=0)).mean()


def test_grained_textures_exist_and_vary_less_along_u(images: dict[str, np.ndarray]) -> None:
    for name in textures.GRAINED:
        image = images[name]
        assert np.abs(np.diff(image, axis=1)).mean() < np.abs(np.diff(image, axis=0)).mean(), name
