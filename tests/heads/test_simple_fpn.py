"""The pyramid: sizes, and its numbers against ViTDet's published structure written as functions."""

import pytest
import torch
from torch.nn import functional as F

from rgbd3d.heads.simple_fpn import SCALES, SimpleFeaturePyramid


def pyramid(dim=8, width=6):
    torch.manual_seed(0)
    return SimpleFeaturePyramid(dim, width)


@pytest.mark.parametrize("grid", [(4, 8), (15, 20), (3, 5), (1, 1)])
def test_levels_of_any_grid(grid):
    levels = pyramid()([torch.randn(2, 8, *grid)])
    assert len(levels) == len(SCALES)
    for level, scale in zip(levels, (4, 2, 1), strict=False):
        assert level.shape == (2, 6, scale * grid[0], scale * grid[1])
    half = tuple(-(-side // 2) for side in grid)
    assert levels[3].shape == (2, 6, *half)
    assert levels[4].shape == (2, 6, *(-(-side // 2) for side in half))


def test_only_the_last_map_is_used():
    head, maps = pyramid(), [torch.randn(1, 8, 2, 2), torch.randn(1, 8, 2, 2)]
    for one, other in zip(head(maps), head(maps[1:]), strict=True):
        assert torch.equal(one, other)


def layer_norm(x, weights, key):
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    scale, shift = (weights[f"{key}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
    return (x - mean) / (variance + 1e-6).sqrt() * scale + shift


def deconvolution(x, weights, key):
    """2 x 2 deconvolution of stride 2: every cell becomes 2 x 2 cells of its own."""
    kernel, bias = weights[f"{key}.weight"], weights[f"{key}.bias"]
    cells = torch.einsum("bchw,coij->bohiwj", x, kernel)
    return cells.reshape(len(x), len(bias), 2 * x.shape[2], 2 * x.shape[3]) + bias.view(1, -1, 1, 1)


def test_it_is_the_published_structure():
    head = pyramid()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    weights, x = head.state_dict(), torch.randn(2, 8, 4, 6)
    before = {
        0: lambda x: deconvolution(
            F.gelu(layer_norm(deconvolution(x, weights, "stages.0.0"), weights, "stages.0.1")), weights, "stages.0.3"
        ),
        1: lambda x: deconvolution(x, weights, "stages.1.0"),
        2: lambda x: x,
        3: lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1)),
    }
    first = {0: 4, 1: 1, 2: 0, 3: 1}
    for stage, resize in before.items():
        y = torch.einsum("bchw,oc->bohw", resize(x), weights[f"stages.{stage}.{first[stage]}.weight"][:, :, 0, 0])
        y = layer_norm(y, weights, f"stages.{stage}.{first[stage] + 1}")
        y = F.conv2d(y, weights[f"stages.{stage}.{first[stage] + 2}.weight"], padding=1)
        y = layer_norm(y, weights, f"stages.{stage}.{first[stage] + 3}")
        torch.testing.assert_close(head([x])[stage], y, rtol=1e-4, atol=1e-4)
    levels = head([x])
    assert torch.equal(levels[4], levels[3][..., ::2, ::2])


def test_parameters_of_vit_b():
    dim, width = 768, 256
    deconvolutions = (4 * dim * dim // 2 + dim // 2) * 2 + 4 * dim // 2 * dim // 4 + dim // 4 + 2 * (dim // 2)
    convolutions = sum(channels * width for channels in (dim // 4, dim // 2, dim, dim)) + 4 * (9 * width**2 + 4 * width)
    assert sum(p.numel() for p in SimpleFeaturePyramid(dim, width).parameters()) == deconvolutions + convolutions


def test_a_width_that_has_no_quarter():
    with pytest.raises(ValueError, match="quarter"):
        SimpleFeaturePyramid(10)
