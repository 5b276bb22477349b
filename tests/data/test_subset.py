"""Fixed shares of a data set."""

import hashlib
from itertools import pairwise

import pytest

from rgbd3d.data.subset import subset

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_the_shares_of_nyuv2_never_change():
    """What is published as the 20 % of 675 frames has to stay them: these numbers may not be edited."""
    digests = {share: hashlib.sha256(repr(subset(675, share)).encode()).hexdigest()[:16] for share in SHARES[:-1]}
    assert digests == {
        0.2: "557363f66de808f9",
        0.4: "008fe109a3d43b87",
        0.6: "9704a1a1d44f2635",
        0.8: "40847ed968b0fa7a",
    }


def test_by_its_documentation():
    order = sorted(range(50), key=lambda position: hashlib.sha256(f"rgbd3d 50 {position}".encode()).digest())
    assert subset(50, 0.2) == tuple(sorted(order[:10]))


@pytest.mark.parametrize("length", [1, 2, 7, 795])
def test_smaller_shares_lie_in_larger_ones(length):
    chosen = [subset(length, share) for share in SHARES]
    assert [len(positions) for positions in chosen] == [max(round(share * length), 1) for share in SHARES]
    assert all(set(small) <= set(large) for small, large in pairwise(chosen))
    assert all(list(positions) == sorted(positions) for positions in chosen)
    assert chosen[-1] == tuple(range(length))


def test_refuses_no_frames_and_other_shares():
    with pytest.raises(ValueError, match="no frames"):
        subset(0, 0.2)
    for share in (0.0, 1.1, -1.0):
        with pytest.raises(ValueError, match=r"share should lie in 0\.\.1"):
            subset(10, share)
