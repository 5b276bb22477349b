"""Batches by a transform of each frame: what networks take, whatever the transform ends in."""

import pytest
import torch

from rgbd3d.data.batch import IMAGENET_MEAN, IMAGENET_STD
from rgbd3d.data.codec import DataError
from rgbd3d.data.transforms import Compose, HorizontalFlip, Normalise, Resize, StandardiseDepth, ToFloat, preset
from rgbd3d.data.transforms.collate import transform_batch
from rgbd3d.seeding import generator

SIZE = (24, 32)


def frame(number: int, size: tuple[int, int] = (48, 64)) -> dict:
    rng = torch.Generator().manual_seed(number)
    return {
        "image": torch.randint(0, 256, (3, *size), generator=rng, dtype=torch.uint8),
        "depth": 1 + torch.rand(1, *size, generator=rng),
        "semantic": torch.randint(0, 40, size, generator=rng),
        "instance": torch.randint(0, 5, size, generator=rng, dtype=torch.int32),
        "scene_id": "room",
        "frame_id": number,
    }


@pytest.mark.parametrize("last", [[], [ToFloat()], [Normalise()]], ids=["uint8", "0..1", "normalised"])
def test_colour_is_normalised_once(last):
    batch = transform_batch([frame(0), frame(1)], Compose(last), generator(0))
    for channel, (mean, deviation) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        expected = (torch.stack([frame(n)["image"][channel] for n in (0, 1)]) / 255 - mean) / deviation
        torch.testing.assert_close(batch["image"][:, channel], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("last", [[], [StandardiseDepth(truncated=0.1)]], ids=["metres", "standardised"])
def test_depth_is_in_metres(last):
    batch = transform_batch([frame(0)], Compose(last), generator(0))
    assert torch.equal(batch["depth_metres"][0], frame(0)["depth"])
    assert set(batch) == {"image", "depth_metres", "semantic", "instance"}


def test_all_maps_move_together():
    batch = transform_batch([frame(0)], Compose([HorizontalFlip()]), generator(0))
    assert torch.equal(batch["semantic"][0], frame(0)["semantic"].flip(-1))
    assert torch.equal(batch["instance"][0], frame(0)["instance"].flip(-1))


@pytest.mark.parametrize("name", ["multimae-semseg", "multimae-depth", "progressive-semseg", "mim-depth", "pri3d"])
def test_sets_of_the_papers_end_in_the_size_of_the_network(name):
    batch = transform_batch([frame(0), frame(1)], preset(name, SIZE), generator(0))
    assert batch["image"].shape == (2, 3, *SIZE)
    assert batch["depth_metres"].shape == (2, 1, *SIZE)
    assert batch["semantic"].shape == (2, *SIZE)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() < -0.5, "normalised, not in 0..1"


def test_refuses_other_constants_sizes_and_columns():
    with pytest.raises(ValueError, match=r"by \(0\.45, 0\.45, 0\.45\).*ImageNet"):
        transform_batch([frame(0)], preset("sc-depth", SIZE), generator(0))
    with pytest.raises(DataError, match=r"several sizes \(32 x 24, 64 x 48\)"):
        transform_batch([frame(0), frame(1, SIZE)], Compose([]), generator(0))
    lacking = {key: value for key, value in frame(1).items() if key != "depth"}
    with pytest.raises(DataError, match="differ in having depth_metres"):
        transform_batch([frame(0), lacking], Compose([Resize(SIZE)]), generator(0))
