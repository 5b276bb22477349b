import math

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.losses.reconstruction import (
    patch_cross_entropy,
    patch_l2,
    patch_statistics,
    patchify,
    standardize_patches,
    unpatchify,
)
from rgbd3d.seeding import generator


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed))


def test_patchify_equals_mae(golden):
    folder = golden / "mae_pretrain"
    image = load_file(folder / "inputs.safetensors")["imgs"]
    assert torch.equal(patchify(image, 8), load_file(folder / "outputs.safetensors")["patchify"])


def test_patchify_rectangle():
    image = torch.arange(2 * 2 * 6 * 4).reshape(2, 2, 6, 4)
    patches = patchify(image, 2)
    assert patches.shape == (2, 6, 8)
    assert patches[1, 3].tolist() == image[1, :, 2:4, 2:4].permute(1, 2, 0).flatten().tolist()
    assert torch.equal(unpatchify(patches, 2, (3, 2)), image)


def test_standardisation_without_gaps_is_the_plain_one():
    patches = random(2, 3, 16) * 5 + 2
    plain = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(standardize_patches(patches), plain)
    torch.testing.assert_close(standardize_patches(patches, torch.ones_like(patches, dtype=torch.bool)), plain)


def test_statistics_use_valid_values_only():
    patches, valid = random(2, 5, 12), torch.rand(2, 5, 12, generator=generator(1)) < 0.6
    valid[0, 0] = False
    valid[0, 1] = False
    valid[0, 1, 4] = True
    mean, deviation = patch_statistics(patches, valid)
    for b in range(2):
        for n in range(5):
            values = patches[b, n][valid[b, n]].tolist()
            expected_mean = sum(values) / len(values) if values else 0.0
            spread = sum((v - expected_mean) ** 2 for v in values) / max(len(values) - 1, 1)
            assert mean[b, n].item() == pytest.approx(expected_mean, abs=1e-6)
            assert deviation[b, n].item() == pytest.approx(math.sqrt(spread + 1e-6), rel=1e-5)


def test_far_flat_patches_are_not_blown_up():
    """Float32 depth of a wall 50 m away: rounding must not look like structure."""
    patches = torch.full((1, 2, 256), 50.1)
    assert standardize_patches(patches, patches > 0).abs().max() < 0.01


def test_l2_by_hand():
    prediction, target = random(2, 4, 3), random(2, 4, 3, seed=1)
    valid = torch.rand(2, 4, 3, generator=generator(2)) < 0.7
    where = torch.tensor([[True, False, True, True], [False, True, True, False]])
    errors = [
        (prediction[b, n, i] - target[b, n, i]).item() ** 2
        for b in range(2)
        for n in range(4)
        for i in range(3)
        if valid[b, n, i] and where[b, n]
    ]
    assert patch_l2(prediction, target, valid=valid, where=where).item() == pytest.approx(sum(errors) / len(errors))
    torch.testing.assert_close(patch_l2(prediction, target), torch.nn.functional.mse_loss(prediction, target))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_what_is_not_valid_never_counts(poison):
    prediction, target = random(1, 2, 4).requires_grad_(), random(1, 2, 4, seed=1)
    valid = torch.ones(1, 2, 4, dtype=torch.bool)
    valid[0, 0, 1] = valid[0, 1, 3] = False
    expected = patch_l2(prediction, standardize_patches(target, valid), valid=valid)
    target[~valid] = poison
    loss = patch_l2(prediction, standardize_patches(target, valid), valid=valid)
    assert torch.equal(loss, expected)
    loss.backward()
    assert (prediction.grad[~valid] == 0).all()
    assert prediction.grad[valid].all()


def test_nothing_to_compare_is_zero():
    prediction = random(1, 2, 4).requires_grad_()
    valid = torch.zeros(1, 2, 4, dtype=torch.bool)
    loss = patch_l2(standardize_patches(prediction, valid), torch.zeros(1, 2, 4), valid=valid)
    loss.backward()
    assert loss == 0
    assert (prediction.grad == 0).all()


def test_cross_entropy_by_hand():
    classes, labels = 3, torch.tensor([[[0, 2, 255, 1], [1, 1, 0, 255]]])
    logits = random(1, 2, 4 * classes)
    where = torch.tensor([[True, False]])
    terms = []
    for pixel in range(4):
        values = logits[0, 0, pixel * classes : (pixel + 1) * classes].tolist()
        label = labels[0, 0, pixel].item()
        if label != 255:
            terms.append(math.log(sum(map(math.exp, values))) - values[label])
    loss = patch_cross_entropy(logits, labels, ignore=255, where=where)
    assert loss.item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    nothing = patch_cross_entropy(logits.requires_grad_(), torch.full_like(labels, 255), ignore=255)
    nothing.backward()
    assert nothing == 0
    assert (logits.grad == 0).all()


def test_statistics_stay_float32_under_autocast():
    patches = random(1, 3, 64) * 1e-2 + 3
    with torch.autocast("cpu", torch.bfloat16):
        inside = patch_l2(patches.bfloat16(), standardize_patches(patches))
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, patch_l2(patches.bfloat16().float(), standardize_patches(patches)))
