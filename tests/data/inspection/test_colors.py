"""Where the colours of depth end, and their legend."""

import numpy as np
import pytest

from rgbd3d.data.inspection.colors import depth_color, depth_legend, end_of_colors


def test_colors_end_where_nearly_all_measured_depth_is_nearer():
    ramp = np.linspace(1, 3, 101, dtype=np.float32)
    assert end_of_colors([np.zeros(500, np.float32), ramp[:50], ramp[50:].reshape(1, -1)]) == pytest.approx(2.98)


@pytest.mark.parametrize("depths", [[], [np.zeros((1, 2, 3), np.float32)]])
def test_colors_end_somewhere_without_any_measurement(depths):
    assert end_of_colors(depths) == 10


def test_legend_leads_in_equal_steps_to_where_the_colors_end():
    colors, names, _ = zip(*depth_legend(3.0), strict=True)
    assert names == ("0.5 m", "1.0 m", "1.5 m", "2.0 m", "2.5 m", "3.0 m")
    assert len(set(colors)) == 6
    assert colors[-1] == depth_color(99.0, 3.0)
