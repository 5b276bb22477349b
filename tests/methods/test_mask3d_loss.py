"""The loss of Mask3D: computed by hand, without measurements, and under every switch."""

import math

import numpy as np
import pytest
import torch
from tiny_mask3d import CLASSES, COLUMNS, OBJECTIVE, PATCH, PATCHES, ROWS, frames, objective, run

from rgbd3d.methods.mask3d import Mask3D

# ----------------------------------------------------------------------------------------------------------- by hand


def standardize(values: list[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1)
    return [(v - mean) / math.sqrt(variance + 1e-6) for v in values]


def slow_l2(prediction, image, valid, selected, normalize_target, normalize_output) -> float:
    """Mean over the valid values of the selected patches, with loops and in double precision."""
    prediction, image, valid = (np.asarray(t.detach(), np.float64) for t in (prediction, image, valid))
    channels, errors = image.shape[1], []
    for b in range(image.shape[0]):
        for row in range(ROWS):
            for column in range(COLUMNS):
                if not selected[b, row * COLUMNS + column]:
                    continue
                targets, outputs = [], []
                for y in range(PATCH):
                    for x in range(PATCH):
                        for c in range(channels):
                            if valid[b, 0, row * PATCH + y, column * PATCH + x]:
                                targets.append(image[b, c, row * PATCH + y, column * PATCH + x])
                                place = (y * PATCH + x) * channels + c
                                outputs.append(prediction[b, row * COLUMNS + column, place])
                if not targets:
                    continue
                targets = standardize(targets) if normalize_target else targets
                outputs = standardize(outputs) if normalize_output else outputs
                errors += [(o - t) ** 2 for o, t in zip(outputs, targets, strict=True)]
    return math.fsum(errors) / len(errors)


@pytest.mark.parametrize("loss_on", ["all", "masked"])
def test_log_depth_loss_by_hand(build, loss_on):
    """In metres: a prediction that is off by a factor of e everywhere costs 1, wherever and however deep."""
    method, batch = build(Mask3D, objective(loss_on=loss_on, targets=("depth", "log_depth"))), frames()
    output = run(method, batch)
    prediction = output.reconstruction["log_depth"].detach().double()
    seen = output.masks["rgb"] | output.masks["depth"]
    errors = []
    for b, metres in enumerate(batch["depth_metres"][:, 0].double()):
        for y, x in metres.nonzero().tolist():
            patch, place = y // PATCH * COLUMNS + x // PATCH, y % PATCH * PATCH + x % PATCH
            if loss_on == "all" or not seen[b, patch]:
                errors.append(abs(prediction[b, patch, place].item() - math.log(metres[y, x])))
    assert output.losses["log_depth"].item() == pytest.approx(math.fsum(errors) / len(errors), rel=1e-5)
    assert output.loss.item() == pytest.approx(sum(output.losses.values()).item())


@pytest.mark.parametrize("normalize_target", [True, False])
@pytest.mark.parametrize("normalize_output", [True, False])
@pytest.mark.parametrize("loss_on", ["all", "masked"])
def test_depth_and_rgb_loss_by_hand(build, normalize_target, normalize_output, loss_on):
    switches = dict(normalize_target=normalize_target, normalize_output=normalize_output)
    method = build(Mask3D, objective(**switches, loss_on=loss_on, targets=("depth", "rgb")))
    batch = frames()
    batch["depth_metres"][0, :, :8, :8] = 0  # a patch without a measurement
    batch["depth_metres"][1, :, 8:16, 8:16] = 0
    batch["depth_metres"][1, :, 9, 9] = 2.0  # a patch with one
    output = run(method, batch)

    selected = torch.ones(2, PATCHES, dtype=torch.bool)
    if loss_on == "masked":
        selected = ~(output.masks["rgb"] | output.masks["depth"])
    metres, everywhere = batch["depth_metres"], torch.ones(2, 1, 24, 40)
    expected = {
        "depth": slow_l2(output.reconstruction["depth"], metres, metres > 0, selected, **switches),
        "rgb": slow_l2(output.reconstruction["rgb"], batch["image"], everywhere, selected, **switches),
    }
    assert {name: value.item() for name, value in output.losses.items()} == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert output.loss.item() == pytest.approx(sum(expected.values()), rel=1e-6)


@pytest.mark.parametrize("loss_on", ["all", "masked"])
def test_semantic_loss_by_hand(build, loss_on):
    batch = frames()
    output = run(build(Mask3D, objective(targets=("semantic",), loss_on=loss_on)), batch)
    logits = output.reconstruction["semantic"].detach().double().reshape(2, PATCHES, PATCH * PATCH, CLASSES)
    terms = []
    for b in range(2):
        for patch in range(PATCHES):
            if loss_on == "masked" and (output.masks["rgb"] | output.masks["depth"])[b, patch]:
                continue
            for pixel in range(PATCH * PATCH):
                y, x = patch // COLUMNS * PATCH + pixel // PATCH, patch % COLUMNS * PATCH + pixel % PATCH
                label = batch["semantic"][b, y, x].item()
                if label != 255:
                    values = logits[b, patch, pixel].tolist()
                    terms.append(math.log(math.fsum(map(math.exp, values))) - values[label])
    assert output.loss.item() == pytest.approx(math.fsum(terms) / len(terms), rel=1e-6)


def test_joint_mae_is_maes_loss_from_rgb_alone(build):
    """The same weights in MAE, without a class token in the decoder, give the same extra loss."""
    method, batch = build(Mask3D, objective(joint_mae=True)), frames()
    output = run(method, batch)
    keep = output.masks["rgb"].nonzero()[:, 1].reshape(2, -1)
    alone = method.decoder([method.backbone.encode(batch["image"], keep)], [keep], (ROWS, COLUMNS), ["mae"])["mae"]
    expected = slow_l2(alone, batch["image"], torch.ones(2, 1, 24, 40), ~output.masks["rgb"], True, False)
    assert output.losses["mae"].item() == pytest.approx(expected, rel=1e-6)
    assert output.loss.item() == pytest.approx((output.losses["depth"] + output.losses["mae"]).item())
    depth_only = run(build(Mask3D, OBJECTIVE), batch)
    assert set(depth_only.losses) == {"depth"}

    other = dict(batch, depth=batch["depth"] + 1)
    assert torch.equal(run(method, other).reconstruction["mae"], output.reconstruction["mae"])
    assert not torch.equal(run(method, other).reconstruction["depth"], output.reconstruction["depth"])


# ---------------------------------------------------------------------------------------------- invalid measurements


def test_invalid_pixels_change_nothing(build):
    method, batch = build(Mask3D, objective(normalize_output=True)), frames()
    expected = run(method, batch)
    batch["depth_metres"] = torch.where(batch["depth_metres"] > 0, batch["depth_metres"], -1e6)
    output = run(method, batch)
    assert torch.equal(output.loss, expected.loss)
    batch["depth_metres"] = torch.where(batch["depth_metres"] > 0, batch["depth_metres"], float("nan"))
    assert torch.equal(run(method, batch).loss, expected.loss)


@pytest.mark.parametrize("normalize_output", [True, False])
def test_images_without_any_depth_give_zero(build, normalize_output):
    method, batch = build(Mask3D, objective(normalize_output=normalize_output)), frames(holes=1.1)
    output = run(method, batch)
    assert output.loss == 0
    output.loss.backward()
    gradients = [parameter.grad for parameter in method.parameters() if parameter.requires_grad]
    assert all((gradient == 0).all() for gradient in gradients)


# ---------------------------------------------------------------------------------------------------------- switches


@pytest.mark.parametrize(
    "changes",
    [
        dict(keep_rgb=0.4),
        dict(keep_depth=0.4),
        dict(keep_depth=0.0),
        dict(disjoint=False, keep_rgb=0.4, keep_depth=0.4),
        dict(depth_encoder_depth=1),
        dict(mask_token="constant"),
        dict(normalize_target=False),
        dict(normalize_output=True),
        dict(loss_on="masked"),
        dict(targets=("depth", "rgb")),
        dict(targets=("semantic",)),
        dict(targets=("depth", "rgb", "semantic")),
        dict(joint_mae=True),
    ],
    ids=str,
)
def test_every_switch_changes_the_loss_and_reaches_every_parameter(build, changes):
    method, batch = build(Mask3D, objective(**changes)), frames()
    output = run(method, batch)
    assert not torch.equal(output.loss, run(build(Mask3D, OBJECTIVE), batch).loss)
    assert output.loss.item() == pytest.approx(sum(loss.item() for loss in output.losses.values()), rel=1e-6)
    output.loss.backward()
    for name, parameter in method.named_parameters():
        assert not parameter.requires_grad or (parameter.grad is not None and parameter.grad.any()), name


def test_without_depth_there_is_no_depth_encoder(build):
    method = build(Mask3D, objective(keep_depth=0.0))
    assert method.depth_encoder is None
    first = run(method)
    second = run(method, dict(frames(), depth=torch.full((2, 1, 24, 40), float("nan"))))
    assert torch.equal(first.loss, second.loss)


def test_constant_mask_token_is_not_learnt(build):
    assert build(Mask3D, objective(mask_token="constant")).decoder.mask_token is None
    assert build(Mask3D, OBJECTIVE).decoder.mask_token.requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(loss_on="masked", keep_rgb=1.0, keep_depth=0.0), "keep ratios leave none"),
        (dict(loss_on="masked", keep_rgb=0.6, keep_depth=0.4), "keep ratios leave none"),
        (dict(joint_mae=True, keep_rgb=1.0, keep_depth=0.0), "visible and hidden RGB patches, but keep_rgb is 1.0"),
        (dict(joint_mae=True, keep_rgb=0.0), "visible and hidden RGB patches, but keep_rgb is 0.0"),
    ],
)
def test_switches_that_leave_nothing_to_score(small, changes, message):
    with pytest.raises(ValueError, match=message):
        Mask3D(small, objective(**changes))
