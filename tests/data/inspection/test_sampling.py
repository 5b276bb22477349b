from itertools import pairwise

import pytest

from rgbd3d.data.base import Source
from rgbd3d.data.inspection.sampling import GAPS, rows_to_read, spread


class Rows(Source):
    """Nothing but a layout."""

    def __init__(self, groups, kind="frames"):
        self.groups, self.kind, self.name, self.columns = groups, kind, "rows", ()

    def __len__(self):
        return sum(self.groups)

    def __getitem__(self, index):
        raise AssertionError("not to be read")

    def row_groups(self):
        return self.groups

    def digest(self):
        return ""


def test_small_data_sets_are_read_whole():
    assert rows_to_read(Rows((64, 16))) == list(range(80))
    assert rows_to_read(Rows((1,) * 5)) == list(range(5))
    assert rows_to_read(Rows((3, 4), "clouds")) == list(range(7))


@pytest.mark.parametrize("groups", [(64,) * 40_000, (1,) * 2_000_000, (1_000_000, 1_000_000)])
def test_millions_of_rows_are_read_in_a_few_places(groups):
    rows = rows_to_read(Rows(groups))
    assert 60 <= len(rows) <= 72
    assert rows == sorted(set(rows))
    assert rows[0] < 100
    assert rows[-1] > 0.98 * sum(groups)
    assert max(after - before for before, after in pairwise(rows)) < sum(groups) / 10
    for gap in GAPS:
        assert sum(row + gap in rows for row in rows) >= 11


def test_few_row_groups_are_fetched():
    """Row groups of a remote Parquet file are fetched whole."""
    assert len({row // 64 for row in rows_to_read(Rows((64,) * 1000))}) == 12
    assert len({row // 16 for row in rows_to_read(Rows((16,) * 1000, "clips"))}) == 12


@pytest.mark.parametrize(("count", "chosen"), [(1, 12), (5, 12), (12, 12), (13, 12), (1000, 3)])
def test_spread_has_both_ends(count, chosen):
    indices = spread(count, chosen)
    assert len(indices) == min(count, chosen)
    assert (indices[0], indices[-1]) == (0, count - 1)
