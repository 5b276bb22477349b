"""Real frames give the errors that were measured for them; damaged poses are told from good ones."""

import numpy as np
import pytest
import torch

from rgbd3d.data.inspection.pose_check import check_poses, pair_errors
from rgbd3d.data.sources import open_source

# Of the frames' description: median over 8 pairs of the median relative difference of depth, by gap, in per cent.
MEASURED = {
    "7scenes_redkitchen_a": {1: 0.27, 15: 0.48, 30: 0.69},
    "7scenes_redkitchen_b": {1: 0.29, 15: 0.45, 30: 0.55},
    "sun3d_lounge_a": {1: 0.55, 15: 1.34, 30: 1.77},
    "sun3d_lounge_b": {1: 0.43},
}


@pytest.fixture(scope="module")
def kitchen(rgbd_frames):
    source = open_source(rgbd_frames / "frames7" / "7scenes_redkitchen_a", columns=["depth", "intrinsics", "pose"])
    return [source[index] for index in range(0, 150, 5)]


def checked(frames, gap, change=lambda pose: pose):
    frames = [{**frame, "pose": change(frame["pose"])} for frame in frames]
    return check_poses(gap, (pair_errors(*pair) for pair in zip(frames, frames[gap:], strict=False)))


@pytest.mark.parametrize("segment", MEASURED)
def test_errors_are_those_measured_for_the_frames(rgbd_frames, segment):
    source = open_source(rgbd_frames / "frames7" / segment, columns=["depth", "intrinsics", "pose"])
    for gap, expected in MEASURED[segment].items():
        firsts = np.linspace(0, len(source) - 1 - gap, 8).round().astype(int).tolist()
        check = check_poses(gap, (pair_errors(source[first], source[first + gap]) for first in firsts))
        assert check.pairs == 8
        assert 100 * check.error == pytest.approx(expected, abs=0.015)
        assert check.error < check.inverted_error
        assert check.verdict == "poses fit"


def test_a_fronto_parallel_plane_by_hand():
    """The camera steps 0.2 m towards a wall at 2 m: depth 1.8 m; backwards by the inverse; 2 m if it had not moved."""
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 40, 23.5], [0, 0, 1]])
    step = torch.eye(4)
    step[2, 3] = 0.2
    first = {"depth": torch.full((1, 48, 64), 2.0), "intrinsics": intrinsics, "pose": torch.eye(4)}
    second = {"depth": torch.full((1, 48, 64), 1.8), "intrinsics": intrinsics, "pose": step}
    errors = pair_errors(first, second)
    assert errors.error == pytest.approx(0, abs=1e-6)
    assert errors.inverted_error == pytest.approx(2.2 / 1.8 - 1, rel=1e-5)
    assert errors.unmoved_error == pytest.approx(2 / 1.8 - 1, rel=1e-5)
    # Pixels move outwards by 2 / 1.8: 58 of 64 columns and 44 of 48 rows stay inside.
    assert errors.overlap == pytest.approx(58 * 44 / (64 * 48), abs=1e-6)


def test_inverted_poses_are_told(kitchen):
    assert checked(kitchen, 3).verdict == "poses fit"
    assert checked(kitchen, 3, torch.linalg.inv).verdict.startswith("INVERTED?")


def opengl(pose):
    return pose @ torch.diag(torch.tensor([1.0, -1, -1, 1]))


def millimetres(pose):
    return torch.cat([torch.cat([pose[:3, :3], 1000 * pose[:3, 3:]], 1), pose[3:]])


def transposed(pose):
    return torch.cat([torch.cat([pose[:3, :3].T, pose[:3, 3:]], 1), pose[3:]])


@pytest.mark.parametrize("change", [opengl, millimetres, transposed])
def test_wrong_poses_are_told(kitchen, change):
    assert not checked(kitchen, 3, change).verdict.startswith("poses fit")


def test_shuffled_poses_are_told(kitchen):
    shuffled = np.random.default_rng(0).permutation(len(kitchen))
    frames = [{**frame, "pose": kitchen[other]["pose"]} for frame, other in zip(kitchen, shuffled, strict=True)]
    assert checked(frames, 1).verdict.startswith("WRONG?")


def test_frames_that_share_nothing_are_not_judged():
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 40, 23.5], [0, 0, 1]])
    turned = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    first = {"depth": torch.full((1, 48, 64), 2.0), "intrinsics": intrinsics, "pose": torch.eye(4)}
    second = {"depth": torch.full((1, 48, 64), 3.0), "intrinsics": intrinsics, "pose": turned}
    check = check_poses(1, [pair_errors(first, second)])
    assert (check.pairs, check.verdict) == (0, "no two frames see enough of each other")
    empty = {**first, "depth": torch.zeros(1, 48, 64)}
    assert check_poses(1, [pair_errors(empty, second), pair_errors(second, empty)]).pairs == 0
