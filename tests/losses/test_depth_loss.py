import math

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.losses.depth import berhu, l1, l2, silog

LOSSES = [l1, l2, berhu, silog]
ALL = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


@pytest.mark.parametrize(("loss", "name"), [(l1, "l1"), (l2, "mse"), (berhu, "berhu")])
def test_equals_multimae(golden, loss, name):
    """Standardised depth: the targets are negative too, a mask says what counts."""
    inputs = load_file(golden / "multimae_finetune_losses" / "inputs.safetensors")
    expected = load_file(golden / "multimae_finetune_losses" / "outputs.safetensors")[name]
    value = loss(inputs["pred"], inputs["target"], inputs["mask_valid"])
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_silog_equals_mimdepth(golden):
    inputs = load_file(golden / "mimdepth_metrics" / "inputs.safetensors")
    expected = load_file(golden / "mimdepth_metrics" / "outputs.safetensors")["silog_loss"]
    torch.testing.assert_close(silog(inputs["pred"], inputs["gt"]), expected, rtol=1e-5, atol=1e-6)


def test_known_values():
    """Errors 0, 1 and 5 metres: c = 1 is a fifth of 5, from where berHu is a parabola."""
    target = torch.tensor([2.0, 2.0, 2.0, 0.0])
    prediction = torch.tensor([2.0, 3.0, 7.0, 9.0])
    assert l1(prediction, target).item() == pytest.approx(2.0)
    assert l2(prediction, target).item() == pytest.approx(26 / 3)
    assert berhu(prediction, target).item() == pytest.approx((0 + 1 + 26 / 2) / 3)


def test_berhu_below_its_floor():
    """c does not fall below 1e-5, so tiny errors stay linear."""
    assert berhu(torch.tensor([1e-6]), torch.zeros(1), torch.ones(1, dtype=torch.bool)).item() == pytest.approx(1e-6)


def test_silog_of_a_common_factor():
    target = torch.rand(2, 1, 3, 4) + 0.5
    assert silog(2 * target, target).item() == pytest.approx(math.log(2) * 0.5**0.5, abs=5e-4)


@ALL
def test_only_measured_pixels_count(loss):
    """Whatever stands at the others, also no number at all, neither value nor gradient changes."""
    target = torch.rand(2, 1, 4, 5) + 0.5
    target[:, :, 1] = 0
    results = []
    for hole, guess in [(0.0, 1.0), (float("nan"), -3.0), (float("inf"), 0.0)]:
        prediction = (target * 1.3 + 0.1).clone()
        prediction[:, :, 1] = guess
        prediction.requires_grad_()
        truth = target.masked_fill(target == 0, hole)
        value = loss(prediction, truth, target > 0)
        value.backward()
        assert prediction.grad.isfinite().all()
        assert (prediction.grad[:, :, 1] == 0).all()
        results.append(torch.cat([value.detach().view(1), prediction.grad.flatten()]))
    assert all(torch.equal(result, results[0]) for result in results)
    assert results[0][0] > 0


@ALL
@pytest.mark.parametrize("nothing", [0.0, math.nan, math.inf])
def test_what_is_no_measurement(loss, nothing):
    target = torch.tensor([1.0, nothing, 2.0])
    prediction = torch.tensor([1.5, 8.0, 1.0])
    assert loss(prediction, target) == loss(prediction[[0, 2]], target[[0, 2]])


@ALL
@pytest.mark.parametrize("target", [torch.zeros(2, 1, 3, 3), torch.zeros(0, 1, 3, 3)])
def test_nothing_measured_is_zero(loss, target):
    prediction = torch.rand_like(target).requires_grad_()
    value = loss(prediction, target)
    value.backward()
    assert value == 0
    assert torch.equal(prediction.grad, torch.zeros_like(target))


@ALL
def test_a_perfect_prediction_has_a_gradient(loss):
    target = torch.rand(1, 1, 3, 3) + 1
    prediction = target.clone().requires_grad_()
    value = loss(prediction, target)
    value.backward()
    assert value == 0
    assert prediction.grad.isfinite().all()


@ALL
def test_gradient_is_the_slope(loss):
    """Of berHu except for its threshold, which is a constant to the gradient: the largest error stands still."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(6, generator=generator).double() + 1
    prediction = target + torch.linspace(-0.4, 0.5, 6, dtype=torch.float64)
    prediction.requires_grad_()
    loss(prediction, target).backward()
    step = 1e-3
    for i in range(5):
        shift = torch.zeros(6, dtype=torch.float64).index_fill(0, torch.tensor(i), step)
        slope = (loss(prediction + shift, target) - loss(prediction - shift, target)) / (2 * step)
        assert prediction.grad[i].item() == pytest.approx(slope.item(), abs=1e-3)


@ALL
def test_computed_in_float32(loss):
    target = torch.rand(1, 1, 64, 64) * 9 + 1
    prediction = (target + 0.5).bfloat16()
    value = loss(prediction, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(prediction.float(), target))


def test_silog_survives_a_prediction_that_is_not_positive():
    prediction = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    value = silog(prediction, torch.tensor([1.0, 1.0, 1.0]))
    value.backward()
    assert value.isfinite()
    assert prediction.grad.isfinite().all()


@ALL
def test_other_shapes_are_refused(loss):
    with pytest.raises(ValueError, match=r"prediction \(2, 1, 4, 4\), target \(2, 4, 4\) .* should have one shape"):
        loss(torch.ones(2, 1, 4, 4), torch.ones(2, 4, 4))
