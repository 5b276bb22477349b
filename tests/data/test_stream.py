import pickle
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from rgbd3d.data import stream
from rgbd3d.data.base import Source
from rgbd3d.data.stream import IndexBatch, ShuffledBatches, epoch_order


class Layout(Source):
    """Only the layout matters to the stream."""

    name, columns, label_space = "layout", (), None

    def __init__(self, *groups: int) -> None:
        self._groups = groups

    def __len__(self):
        return sum(self._groups)

    def __getitem__(self, index):
        raise AssertionError("the stream must not decode anything")

    def row_groups(self):
        return self._groups

    def digest(self):
        return ""


LAYOUTS = [
    pytest.param(Layout(64, 64, 64, 10), id="parquet"),
    pytest.param(Layout(*[1] * 37), id="folder"),
    pytest.param(Layout(5), id="less than a batch"),
    pytest.param(Layout(3, 50, 1, 7, 20), id="uneven"),
]


@pytest.fixture(autouse=True)
def small_window(monkeypatch):
    monkeypatch.setattr(stream, "WINDOW", 48)


def take(batches: ShuffledBatches, count: int) -> list[list[int]]:
    return list(islice(batches, count))


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("batch_size", [1, 4, 12])
def test_every_epoch_is_a_permutation_and_epochs_continue_into_each_other(source, batch_size):
    frames, epochs = len(source), 4
    indices = flat(take(ShuffledBatches(source, batch_size, seed=3), -(-epochs * frames // batch_size)))
    passes = [indices[epoch * frames : (epoch + 1) * frames] for epoch in range(epochs)]
    assert all(sorted(one) == list(range(frames)) for one in passes)
    assert len({tuple(one) for one in passes}) == epochs


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("start", [0, 1, 2, 7, 16, 17, 51, 52, 53, 200])
def test_resuming_at_any_batch_gives_the_same_stream(source, start):
    whole = take(ShuffledBatches(source, 4, seed=1), start + 30)
    resumed = take(ShuffledBatches(source, 4, seed=1, start=start), 30)
    assert resumed == whole[start:]
    assert [batch.number for batch in resumed] == list(range(start, start + 30))


def test_resuming_far_ahead_computes_one_epoch_only(monkeypatch):
    computed = []

    def counted(groups, seed, epoch):
        computed.append(epoch)
        return epoch_order(groups, seed, epoch)

    monkeypatch.setattr(stream, "epoch_order", counted)
    take(ShuffledBatches(Layout(64, 36), 10, seed=0, start=12_345), 5)
    assert computed == [1234]


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_share_each_batch_whatever_their_number(source, world):
    whole = take(ShuffledBatches(source, 12, seed=5), 20)
    parts = [take(ShuffledBatches(source, 12, seed=5, rank=rank, world=world), 20) for rank in range(world)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert flat(shares) == batch
        assert {len(share) for share in shares} == {12 // world}


def test_two_ranks_see_every_frame_exactly_once_per_epoch():
    source = Layout(64, 64, 32)
    seen = Counter()
    for rank in range(2):
        seen.update(flat(take(ShuffledBatches(source, 16, seed=0, rank=rank, world=2), 2 * len(source) // 16)))
    assert seen == Counter(dict.fromkeys(range(len(source)), 2))


def test_seeds_give_different_orders_and_are_repeatable():
    groups = np.array([64, 64, 64])
    orders = [tuple(epoch_order(groups, seed, 0).tolist()) for seed in (0, 0, 1, 2)]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3


def test_few_row_groups_are_open_at_a_time():
    visited = epoch_order(np.full(42, 16), 0, 0) // 16
    windows = visited.reshape(-1, 48)  # 48 frames are three groups here
    assert [len(set(window)) for window in windows] == [3] * 14
    assert all(len(set(window[:24])) == 3 for window in windows), "the groups of a window are mixed"
    assert visited.tolist() != sorted(visited.tolist()), "the groups come in a shuffled order"


def test_windows_follow_each_other_without_repeats_when_groups_are_larger_than_a_window():
    order = epoch_order(np.array([100, 200, 300]), 0, 0)
    assert sorted(order.tolist()) == list(range(600))
    starts = [0, 100, 300, 600]
    which = np.searchsorted(starts, order, side="right")
    assert np.count_nonzero(np.diff(which)) == 2, "each large group is finished before the next is opened"


def test_shuffling_is_uniform_over_a_folder():
    counts = np.zeros((12, 12))
    for seed in range(600):
        counts[epoch_order(np.ones(12, int), seed, 0), np.arange(12)] += 1
    # 600 draws into 12 places: mean 50, deviation 6.8.
    assert np.abs(counts - 50).max() < 5 * 6.8


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        ShuffledBatches(Layout(10), 8, seed=0, world=3)
    with pytest.raises(ValueError, match="no frames"):
        ShuffledBatches(Layout(), 8, seed=0)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        ShuffledBatches(Layout(10), 8, seed=0, rank=2, world=2)


def test_a_batch_keeps_its_number_on_the_way_to_a_worker():
    batch = pickle.loads(pickle.dumps(IndexBatch([3, 1, 2], 7)))  # noqa: S301 - our own bytes
    assert (list(batch), batch.number) == ([3, 1, 2], 7)
