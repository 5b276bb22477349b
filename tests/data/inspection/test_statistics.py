import numpy as np
import pytest
import torch

from rgbd3d.data.inspection.statistics import ClassCounts, DepthStatistics


def test_depth_is_summed_up_over_samples():
    statistics = DepthStatistics()
    depths = [torch.tensor([0, 1.5, 1.5, 0.29]), torch.tensor([0, 0, 2.0, 30.0])]
    for depth in depths:
        statistics.add(depth)
    assert statistics.invalid == 3 / 8
    assert statistics.quantile(0.5) == 1.5
    assert statistics.quantile(0) == 0
    assert statistics.quantile(1) == 30


def test_quantiles_are_those_of_numpy():
    depth = np.random.default_rng(0).gamma(4, 0.6, 20_000).astype(np.float32)
    statistics = DepthStatistics()
    for part in np.array_split(depth, 7):
        statistics.add(torch.from_numpy(part))
    for share in (0.02, 0.5, 0.98):
        assert statistics.quantile(share) == pytest.approx(np.quantile(depth, share), abs=0.011)
    bars = statistics.bars()
    assert sum(bar.share for bar in bars) == pytest.approx(1)
    edges = [float(bar.name.split()[0]) for bar in bars[:-1]]
    assert [bar.share for bar in bars[:-2]] == pytest.approx(
        (np.histogram(depth, edges)[0] / len(depth)).tolist(), abs=0.002
    )
    assert len(bars) <= 12


def test_nothing_measured():
    statistics = DepthStatistics()
    statistics.add(torch.zeros(1, 4, 5))
    assert (statistics.invalid, statistics.quantile(0.5), statistics.bars()) == (1, None, [])


def test_classes_have_the_names_of_their_label_space():
    counts = ClassCounts("nyu40")
    counts.add(np.array([[0, 0, 255], [1, 255, 255]]))
    counts.add([4])
    assert [(share.train_id, share.name, share.share) for share in counts.shares()] == [
        (0, "wall", 0.5),
        (1, "floor", 0.25),
        (4, "chair", 0.25),
    ]
    assert counts.unlabelled == 3 / 7
    assert len(counts.absent) == 37
    assert "floor" not in counts.absent


def test_unknown_label_spaces_are_numbered():
    counts = ClassCounts("mine", ignore=None)
    counts.add(255)
    counts.add(700)
    assert [share.name for share in counts.shares()] == ["class 255", "class 700"]
    assert (counts.unlabelled, counts.absent) == (0, [])
