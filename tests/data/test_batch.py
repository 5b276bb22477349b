import pytest
import torch
from torch.nn import functional as F

from rgbd3d.cards import Augment
from rgbd3d.data.base import Source
from rgbd3d.data.batch import IMAGENET_MEAN, IMAGENET_STD, normalise_image, prepare, standardise_depth
from rgbd3d.data.codec import DataError
from rgbd3d.data.loader import make_loader
from rgbd3d.data.sources import open_source
from rgbd3d.data.stream import IndexBatch
from rgbd3d.seeding import generator

EVERYTHING = Augment(crop_scale=(0.4, 1.0), flip=0.5, color_jitter=0.5, blur=0.5, depth_holes=0.2)
SIZE = (36, 48)


def make_sample(seed: int, height: int = 60, width: int = 84) -> dict:
    """Labels are blobs of 6 x 6 pixels; depth is label + 1 metres with a tenth of the pixels invalid."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 9, (height // 6, width // 6), generator=draws)
    semantic = coarse.repeat_interleave(6, 0).repeat_interleave(6, 1)
    depth = (semantic + 1.0) * (torch.rand(height, width, generator=draws) > 0.1)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=draws)
    return {"image": image, "depth": depth[None], "semantic": semantic, "frame_id": seed}


class Made(Source):
    name, columns, label_space = "made", ("image", "depth"), None

    def __len__(self):
        return 23

    def __getitem__(self, index):
        return make_sample(index)

    def row_groups(self):
        return (10, 10, 3)

    def digest(self):
        return ""


def denormalise(image: torch.Tensor) -> torch.Tensor:
    return image * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_without_augmentation_a_frame_is_only_normalised():
    sample = make_sample(0, *SIZE)
    batch = prepare([sample, sample], Augment(), SIZE, generator(0))
    assert {key: (value.dtype, tuple(value.shape)) for key, value in batch.items()} == {
        "image": (torch.float32, (2, 3, *SIZE)),
        "depth": (torch.float32, (2, 1, *SIZE)),
        "depth_metres": (torch.float32, (2, 1, *SIZE)),
        "semantic": (torch.int64, (2, *SIZE)),
    }
    torch.testing.assert_close(denormalise(batch["image"][0]), sample["image"] / 255)
    assert torch.equal(batch["depth_metres"][1], sample["depth"])
    assert torch.equal(batch["semantic"][1], sample["semantic"])
    assert torch.equal(batch["depth"], standardise_depth(batch["depth_metres"]))


def test_normalise_image_uses_imagenet_statistics():
    grey = torch.full((2, 3, 4, 4), 0.5)
    expected = torch.tensor([(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225])
    torch.testing.assert_close(normalise_image(grey)[1, :, 2, 3], expected)


def test_frames_of_different_sizes_share_a_batch():
    batch = prepare([make_sample(0), make_sample(1, 120, 204)], Augment(), SIZE, generator(0))
    assert batch["image"].shape == (2, 3, *SIZE)


def test_equal_generators_give_equal_batches_and_others_do_not():
    samples = [make_sample(seed) for seed in range(4)]
    first, again, other = (prepare(samples, EVERYTHING, SIZE, generator(*key)) for key in ((1, 2), (1, 2), (1, 3)))
    assert same(first, again)
    assert not any(torch.equal(first[key], other[key]) for key in first)


def test_samples_are_not_changed():
    sample = make_sample(0, *SIZE)
    before = {key: value.clone() for key, value in sample.items() if key != "frame_id"}
    prepare([sample], EVERYTHING, SIZE, generator(0))
    prepare([sample], Augment(depth_holes=0.3, color_jitter=1.0, blur=1.0), SIZE, generator(0))
    assert all(torch.equal(sample[key], before[key]) for key in before)


@pytest.mark.parametrize("size", [SIZE, (100, 90)])
def test_labels_follow_the_geometry_and_depth_never_mixes(size):
    """Depth was made from the labels: after any crop, flip and resize it still is, or it is invalid."""
    samples = [make_sample(seed) for seed in range(8)]
    batch = prepare(samples, EVERYTHING, size, generator(5))
    metres, valid = batch["depth_metres"][:, 0], batch["depth_metres"][:, 0] > 0
    assert torch.equal(metres[valid], (batch["semantic"] + 1.0)[valid])
    assert set(metres.unique().tolist()) <= set(range(10))
    assert 0.5 < valid.float().mean() < 0.9
    assert batch["depth"][:, 0][~valid].abs().max() == 0


def test_colour_follows_the_same_geometry():
    """An image whose red is the label, in blobs of 12 pixels, agrees with the labels away from their edges."""
    samples = []
    for seed in range(6):
        coarse = torch.randint(0, 9, (10, 12), generator=torch.Generator().manual_seed(seed))
        labels = coarse.repeat_interleave(12, 0).repeat_interleave(12, 1)
        samples.append({"image": (labels * 25).byte().expand(3, -1, -1), "semantic": labels})
    batch = prepare(samples, Augment(crop_scale=(0.3, 1.0), flip=0.5), (120, 144), generator(2))
    red = denormalise(batch["image"])[:, 0] * 255 / 25
    labels = batch["semantic"].float()[:, None]
    interior = F.max_pool2d(labels, 5, 1, 2) == -F.max_pool2d(-labels, 5, 1, 2)
    assert interior.float().mean() > 0.4
    assert ((red - labels[:, 0]).abs()[interior[:, 0]] < 0.1).all()


def test_crops_differ_between_samples_and_stay_in_the_asked_range():
    """Images of their own pixel coordinates tell which box was cut out."""
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(240.0), indexing="ij")
    image = torch.stack([y, x, x]).byte()
    batch = prepare([{"image": image}] * 64, Augment(crop_scale=(0.25, 0.64)), (50, 60), generator(0))
    pixels = denormalise(batch["image"]) * 255
    height = (pixels[:, 0, -1, 30] - pixels[:, 0, 0, 30]) * 50 / 49 / 200
    width = (pixels[:, 1, 25, -1] - pixels[:, 1, 25, 0]) * 60 / 59 / 240
    area = height * width
    assert (area > 0.24).all()
    assert (area < 0.66).all()
    assert area.std() > 0.05
    torch.testing.assert_close(height, width, atol=0.03, rtol=0)
    assert pixels[:, 0, 0, 0].unique().numel() > 30
    assert pixels[:, 1, 0, 0].unique().numel() > 30


@pytest.mark.parametrize("scale_depth", [True, False])
def test_a_crop_comes_as_near_as_it_looks(scale_depth):
    """What a crop makes twice as large is half as far, for a camera whose focal length is the same."""
    x = torch.arange(240.0).expand(3, 200, 240)
    depth = torch.full((1, 200, 240), 4.0)
    depth[..., ::7] = 0
    augment = Augment(crop_scale=(0.25, 0.64), scale_depth=scale_depth)
    batch = prepare([{"image": x.byte(), "depth": depth}] * 16, augment, (50, 60), generator(0))
    pixels = denormalise(batch["image"]) * 255
    side = (pixels[:, 0, 25, -1] - pixels[:, 0, 25, 0]) * 60 / 59 / 240
    metres = batch["depth_metres"].amax((1, 2, 3))
    torch.testing.assert_close(metres, 4 * side if scale_depth else torch.full((16,), 4.0), rtol=0.03, atol=0)
    for frame, most in zip(batch["depth_metres"], metres, strict=True):
        assert frame.unique().tolist() == [0, most]


def test_flip_has_its_probability():
    ramp = torch.arange(48).byte().expand(3, 36, 48)
    flipped = prepare([{"image": ramp}] * 400, Augment(flip=0.25), SIZE, generator(0))["image"]
    share = (flipped[:, 0, 0, 0] > flipped[:, 0, 0, -1]).float().mean()
    assert 0.15 < share < 0.35
    always = denormalise(prepare([{"image": ramp}], Augment(flip=1.0), SIZE, generator(0))["image"])
    torch.testing.assert_close(always[0], ramp.flip(-1) / 255)


def test_colour_jitter_changes_colour_only_and_grows_with_its_strength():
    samples = [
        {**make_sample(seed, *SIZE), "image": torch.full((3, *SIZE), 120, dtype=torch.uint8)} for seed in range(64)
    ]
    plain = prepare(samples, Augment(), SIZE, generator(0))
    spreads = []
    for strength in (0.1, 0.3, 1.0):
        jittered = prepare(samples, Augment(color_jitter=strength), SIZE, generator(0))
        assert torch.equal(jittered["depth"], plain["depth"])
        colour = denormalise(jittered["image"])
        assert colour.min() >= -1e-6
        assert colour.max() <= 1 + 1e-6
        spreads.append(float((colour.mean((2, 3)) - 120 / 255).std()))
        assert abs(float(colour.mean()) - 120 / 255) < 0.35 * strength
    assert spreads == sorted(spreads)
    assert spreads[0] > 0.01


def test_grey_stays_grey_up_to_the_channel_gain():
    """Brightness, contrast about the mean and saturation about grey treat the channels of a grey image alike."""
    grey = torch.arange(60, 60 + 36 * 3, 3).view(1, 36, 1).expand(1, *SIZE).expand(3, -1, -1).byte()
    jittered = denormalise(prepare([{"image": grey}] * 32, Augment(color_jitter=0.3), SIZE, generator(4))["image"])
    for image in jittered:
        ratios = image.log().flatten(1)
        ratios = ratios - ratios.mean(0)
        # gain (and gamma on top of it) scale each channel by a constant
        assert ratios.std(1).max() < 1e-3


def test_blur_smooths_the_chosen_share():
    sample = make_sample(0, *SIZE)
    batch = denormalise(prepare([sample] * 64, Augment(blur=0.5), SIZE, generator(0))["image"])
    blurred = (batch - sample["image"] / 255).abs().amax((1, 2, 3)) > 1e-3
    assert 16 < blurred.sum() < 48
    window = sample["image"][:, 4:7, 9:12].float().mean((1, 2)) / 255
    torch.testing.assert_close(batch[blurred][0, :, 5, 10], window, atol=1e-5, rtol=0)


def test_holes_hide_the_expected_share_in_blobs():
    depth = torch.full((1, 96, 128), 2.0)
    sample = {"image": torch.zeros(3, 96, 128, dtype=torch.uint8), "depth": depth}
    hidden = prepare([sample] * 200, Augment(depth_holes=0.15), (96, 128), generator(0))["depth_metres"] == 0
    shares = hidden.float().mean((1, 2, 3))
    assert abs(float(shares.mean()) - 0.15) < 0.02
    assert shares.min() < 0.03
    assert 0.27 < shares.max() < 0.31
    # A hidden pixel's neighbour is mostly hidden too; scattered pixels would be so at their rate, 15 %.
    assert hidden[..., 1:][hidden[..., :-1]].float().mean() > 0.7
    with pytest.raises(ValueError, match="depth_holes"):
        prepare([sample], Augment(depth_holes=0.7), (96, 128), generator(0))


def reference_standardise(depth: torch.Tensor) -> torch.Tensor:
    """FACTS.md §1.2 spelt out for one image (1, H, W) whose pixels are all valid."""
    ordered = depth.flatten().double().sort().values
    kept = ordered[int(0.1 * len(ordered)) : int(0.9 * len(ordered))]
    return ((depth - kept.mean()) / torch.sqrt(kept.var() + 1e-6)).float()


def test_standardisation_matches_the_formula():
    depth = torch.rand(3, 1, 37, 53) ** 2 * torch.tensor([1.0, 5.0, 20.0]).view(3, 1, 1, 1) + 0.3
    expected = torch.stack([reference_standardise(one) for one in depth])
    torch.testing.assert_close(standardise_depth(depth), expected, atol=1e-5, rtol=1e-5)


def test_standardisation_looks_at_valid_pixels_only():
    depth = torch.rand(1, 1, 20, 20) + 1
    padded = F.pad(depth, (7, 3, 11, 2))
    result = standardise_depth(padded)
    torch.testing.assert_close(result[..., 11:31, 7:27], standardise_depth(depth))
    assert result[padded == 0].abs().max() == 0


@pytest.mark.parametrize("valid", [0, 1, 2, 9])
def test_standardisation_of_almost_nothing_is_finite(valid):
    depth = torch.zeros(1, 1, 5, 5)
    depth.view(-1)[:valid] = torch.linspace(1, 2, valid) if valid else torch.zeros(0)
    assert standardise_depth(depth).isfinite().all()
    assert standardise_depth(torch.full((1, 1, 5, 5), 2.5)).abs().max() == 0


def test_keys_of_a_batch_must_agree():
    first, second = make_sample(0), make_sample(1)
    del second["depth"]
    with pytest.raises(DataError, match="depth"):
        prepare([first, second], Augment(), SIZE, generator(0))
    with pytest.raises(DataError, match="depth"):
        prepare([second, first], Augment(), SIZE, generator(0))
    assert set(prepare([second], Augment(), SIZE, generator(0))) == {"image", "semantic"}


@pytest.mark.parametrize("start", [0, 3, 9])
def test_batches_depend_on_their_number_only(start):
    """23 frames in batches of 6: batch 9 is in the third epoch. Workers and a later start change nothing."""
    options = {"batch_size": 6, "seed": 7}

    def batches(workers: int, start: int, count: int) -> list[dict]:
        loader = iter(make_loader(Made(), EVERYTHING, SIZE, **options, start=start, workers=workers))
        return [next(loader) for _ in range(count)]

    reference = batches(0, 0, start + 3)[start:]
    for workers in (0, 2):
        assert all(same(*pair) for pair in zip(batches(workers, start, 3), reference, strict=True))
    assert reference[0]["index"].dtype == torch.int64


def test_ranks_divide_the_indices_and_augment_differently():
    def first(**share) -> dict:
        return next(iter(make_loader(Made(), EVERYTHING, SIZE, batch_size=6, seed=7, **share)))

    whole, left, right = first(), first(rank=0, world=2), first(rank=1, world=2)
    assert torch.cat([left["index"], right["index"]]).tolist() == whole["index"].tolist()
    # Both would start from the same draws if the rank were not part of the key.
    dataset = make_loader(Made(), EVERYTHING, SIZE, batch_size=6, seed=7, rank=1, world=2).dataset
    assert not torch.equal(dataset.__getitems__(IndexBatch(left["index"].tolist(), 0))["image"], left["image"])


def test_real_frames_become_a_batch(rgbd_frames):
    source = open_source(rgbd_frames / "frames7" / "sun3d_lounge_a", columns=["image", "depth"])
    batch = prepare([source[0], source[20]], EVERYTHING, (108, 144), generator(0))
    valid = batch["depth_metres"] > 0
    assert 0.3 < valid.float().mean() < 1
    assert batch["depth_metres"][valid].min() > 0.3
    assert batch["depth_metres"].max() < 20
    assert batch["depth"].abs().max() < 30
    assert (batch["depth"][valid].median()).abs() < 1
