"""Simple clouds are where geometry says they are."""

import numpy as np
import pytest

from rgbd3d.data.inspection.cloud_views import oblique_view, top_view

SIZE = (120, 160)
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def plane(z: float, color, side: float = 2.0, at=(0, 0)) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(0, side, 80), np.linspace(0, side, 80))
    points = np.stack([x + at[0], y + at[1], np.full_like(x, z)], -1).reshape(-1, 3)
    return points.astype(np.float32), np.tile(np.array(color, np.uint8), (len(points), 1))


def cloud(*parts):
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def main_color(picture) -> int:
    return int(np.argmax(picture.reshape(-1, 3).mean(0)))


def is_paper(picture):
    return picture.min(-1) > 240


def test_from_the_top_the_highest_point_is_seen():
    picture = top_view(*cloud(plane(0, RED), plane(1, GREEN)), SIZE)
    assert picture.shape == (*SIZE, 3)
    assert picture.dtype == np.uint8
    middle = picture[40:80, 60:100].reshape(-1, 3)
    assert (middle == GREEN).all(-1).mean() > 0.9
    assert not (picture == RED).all(-1).any()


def test_from_the_top_x_is_right_and_y_is_up():
    picture = top_view(*cloud(plane(0, RED, at=(0, 0)), plane(0, GREEN, at=(4, 0)), plane(0, BLUE, at=(4, 2))), SIZE)
    height, width = SIZE
    red, green, blue = (np.argwhere((picture == color).all(-1)).mean(0) for color in (RED, GREEN, BLUE))
    assert red[1] < width / 2 < green[1]
    assert blue[0] < height / 2 < green[0]
    assert blue[1] == pytest.approx(green[1], abs=2)


def test_ceilings_are_cut_away():
    for view in (top_view, oblique_view):
        picture = view(*cloud(plane(0, RED), plane(2.6, GREEN)), SIZE)
        assert main_color(picture[~is_paper(picture)]) == 0
        low = view(*cloud(plane(0, RED), plane(1.2, GREEN)), SIZE)
        assert (low == GREEN).all(-1).any()


def test_obliquely_near_things_hide_far_ones():
    """Seen from above the corner of large x and small y: the low plane hides behind the high one beyond its edge."""
    picture = oblique_view(*cloud(plane(0, RED), plane(1, GREEN)), SIZE)
    rows = {
        name: np.argwhere((picture == color).all(-1))[:, 0].mean() for name, color in (("low", RED), ("high", GREEN))
    }
    assert rows["high"] < rows["low"]
    assert (picture == GREEN).all(-1).sum() > 2 * (picture == RED).all(-1).sum()


@pytest.mark.parametrize("view", [top_view, oblique_view])
def test_odd_clouds_are_drawn(view):
    for count in (0, 1, 2):
        points = np.zeros((count, 3), np.float32)
        assert view(points, np.zeros((count, 3), np.uint8), SIZE).shape == (*SIZE, 3)


@pytest.mark.parametrize("view", [top_view, oblique_view])
def test_clouds_fill_the_picture(view):
    picture = view(*plane(0, RED), SIZE)
    drawn = np.argwhere(~is_paper(picture))
    extent = np.ptp(drawn, axis=0) / (np.array(SIZE) - 1)
    assert extent.max() > 0.9
