"""Test-time augmentation against the reference fixture and predictions that are known."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.evaluation.augmentation import predict_flipped, predict_in_windows


def test_mim_depth_reference(golden):
    folder = golden / "mimdepth_tta_lr"
    meta = json.loads((folder / "meta.json").read_text())
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")

    def model(images):
        return 2 * images.mean(1, keepdim=True) + inputs["ramp"]

    prediction = predict_in_windows(lambda x: predict_flipped(model, x), inputs["img"], meta["shift_size"])
    torch.testing.assert_close(prediction, expected["tta"], **meta["suggested"])


def test_windows_by_hand():
    starts = []

    def model(images):
        starts.extend(images[:, 0, 0, 0].tolist())
        return torch.ones(len(images), 1, 4, 4) * (1 + torch.arange(len(images))).view(-1, 1, 1, 1)

    images = torch.arange(6.0).expand(1, 1, 4, 6)
    prediction = predict_in_windows(model, images, 2)
    assert starts == [0, 2]
    assert prediction[0, 0, 0].tolist() == [1, 1, 1.5, 1.5, 2, 2]


@pytest.mark.parametrize("width", [6, 7, 10, 12])
def test_windows_reach_both_ends(width):
    images = torch.arange(float(width)).expand(2, 1, 4, width)
    torch.testing.assert_close(predict_in_windows(lambda x: x, images, 3), images)


def test_coarse_predictions_are_enlarged():
    prediction = predict_in_windows(lambda x: torch.ones(len(x), 1, 2, 2), torch.zeros(1, 3, 8, 12), 2)
    assert prediction.shape == (1, 1, 8, 12)
    assert (prediction == 1).all()


def test_mirror_images_are_mirrored_back():
    images = torch.rand(2, 1, 3, 5)
    torch.testing.assert_close(predict_flipped(lambda x: x, images), images)
    ramp = torch.arange(5.0)
    torch.testing.assert_close(predict_flipped(lambda x: ramp.expand_as(x), images), torch.full_like(images, 2))


@pytest.mark.parametrize(("size", "count"), [((4, 9), 2), ((4, 3), 2), ((4, 6), 1)])
def test_windows_that_do_not_cover(size, count):
    with pytest.raises(ValueError, match=f"{count} windows of 4 x 4 pixels do not cover images of {size[1]} x 4"):
        predict_in_windows(lambda x: x, torch.zeros(1, 1, *size), count)
