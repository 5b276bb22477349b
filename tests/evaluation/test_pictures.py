"""Pictures show what they say: sizes, hidden patches, missing depth."""

import numpy as np
import pytest
import torch

from rgbd3d.evaluation import pictures


def test_hides_exactly_the_patches_that_were_not_seen():
    picture = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3) % 200
    seen = torch.tensor([True, False, True, False, False, True])
    hidden = pictures.hide_patches(picture, seen, 4)
    for index, visible in enumerate(seen.tolist()):
        row, column = divmod(index, 3)
        patch = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert np.array_equal(hidden[patch], picture[patch]) if visible else (hidden[patch] == pictures.HIDDEN).all()
    assert hidden.dtype == np.uint8


def test_depth_without_measurement_is_black_and_near_is_red():
    depth = torch.tensor([[[0.0, 1.0, 4.0, 9.0]]])
    missing, near, far, beyond = pictures.color_depth(depth, 1.0, 4.0)[0]
    assert missing.tolist() == [0, 0, 0]
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert near.any()
    assert far.any()
    assert beyond.tolist() == far.tolist()


def test_depth_range_ignores_missing_depth():
    depth = torch.cat([torch.zeros(100), torch.linspace(1, 3, 101)]).view(1, 1, -1)
    assert pictures.depth_range(depth) == pytest.approx((1.04, 2.96))
    near, far = pictures.depth_range(torch.full((1, 2, 2), 2.0))
    assert near == 2
    assert far > near
    assert pictures.depth_range(torch.zeros(1, 2, 2)) == (0.5, 5.0)


def test_principal_components_have_the_size_asked_for_and_repeat():
    features = torch.randn(2, 16, 3, 4, generator=torch.Generator().manual_seed(0))
    first, again = (pictures.principal_components(features, (30, 40)) for _ in range(2))
    assert [(p.shape, p.dtype) for p in first] == [((30, 40, 3), np.uint8)] * 2
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(*first)


def test_principal_components_show_where_features_differ():
    features = torch.zeros(1, 8, 2, 4)
    features[:, 3, :, 2:] = 1
    left, right = np.split(pictures.principal_components(features, (2, 4))[0].astype(int), 2, axis=1)
    assert abs(left - right).max() == 255


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3)])
def test_grid_has_a_title_row_and_gaps_between_pictures(rows, columns):
    height, width, gap = 20, 30, 6
    table = [
        [np.full((height, width, 3), 10 * (r * columns + c), np.uint8) for c in range(columns)] for r in range(rows)
    ]
    grid = pictures.grid(table, ["a"] * columns, gap)
    header = grid.shape[0] - (rows * (height + gap) - gap)
    assert header >= pictures.TITLE_SIZE
    assert grid.shape[1:] == (columns * (width + gap) - gap, 3)
    for r in range(rows):
        for c in range(columns):
            top, left = header + r * (height + gap), c * (width + gap)
            assert np.array_equal(grid[top : top + height, left : left + width], table[r][c])


def test_enlarge_repeats_pixels():
    picture = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert np.array_equal(pictures.enlarge(picture, 2), [[[0, 1, 2]] * 2 + [[3, 4, 5]] * 2] * 2)
