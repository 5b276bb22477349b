import math

import pytest
import torch

from rgbd3d.losses.segmentation import cross_entropy


def test_known_values():
    """Two labelled pixels: one with even odds of three classes, one nearly certain and right."""
    logits = torch.zeros(1, 3, 1, 3)
    logits[0, 2, 0, 1] = 100.0
    target = torch.tensor([[[0, 2, 255]]])
    assert cross_entropy(logits, target).item() == pytest.approx(math.log(3) / 2)


def test_ignored_pixels_change_nothing():
    generator = torch.Generator().manual_seed(0)
    logits, other = torch.randn(2, 2, 5, 3, 4, generator=generator)
    target = torch.randint(5, (2, 3, 4), generator=generator)
    target[:, 1] = 255
    other[:, :, 0], other[:, :, 2] = logits[:, :, 0], logits[:, :, 2]
    logits.requires_grad_()
    value = cross_entropy(logits, target)
    value.backward()
    assert torch.equal(cross_entropy(other, target), value)
    assert (logits.grad[:, :, 1] == 0).all()
    log_odds = logits.detach().log_softmax(1).gather(1, target.clamp(max=4)[:, None])[:, 0]
    torch.testing.assert_close(value.detach(), -log_odds[:, [0, 2]].mean())


def test_nothing_labelled_is_zero():
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    value = cross_entropy(logits, torch.full((2, 3, 3), 255))
    value.backward()
    assert value == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_computed_in_float32():
    logits = torch.randn(1, 4, 8, 8).bfloat16()
    target = torch.randint(4, (1, 8, 8))
    value = cross_entropy(logits, target)
    assert value.dtype == torch.float32
    assert value == cross_entropy(logits.float(), target)


@pytest.mark.parametrize("label", [-1, 40, 254])
def test_labels_out_of_range_are_refused(label):
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    target[0, 1, 1] = label
    with pytest.raises(ValueError, match=rf"labels {label} do not fit 40 classes \(0 to 39, 255 = ignore\)"):
        cross_entropy(torch.zeros(1, 40, 2, 2), target)


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 1, 8, 8), (1, 8, 8)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match=r"logits \(2, 3, 8, 8\) do not fit labels .*; resize the logits"):
        cross_entropy(torch.zeros(2, 3, 8, 8), torch.zeros(shape, dtype=torch.int64))
