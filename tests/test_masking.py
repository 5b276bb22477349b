import pytest
import torch

from rgbd3d.masking import keep_count, keep_from_masks, keep_to_mask, random_keep
from rgbd3d.seeding import generator


@pytest.mark.parametrize(
    ("ratio", "patches", "count"), [(0.2, 300, 60), (0.0, 300, 0), (1.0, 300, 300), (0.05, 108, 5), (0.5, 108, 54)]
)
def test_keep_count(ratio, patches, count):
    assert keep_count(ratio, patches) == count


@pytest.mark.parametrize("ratio", [-0.1, 1.1, 20])
def test_keep_count_refuses_percentages(ratio):
    with pytest.raises(ValueError, match="between 0 and 1"):
        keep_count(ratio, 300)


def test_disjoint_draw():
    rgb, depth = random_keep(50, 20, (8, 12), disjoint=True, generator=generator(0))
    assert rgb.shape == (50, 8)
    assert depth.shape == (50, 12)
    together = torch.cat([rgb, depth], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(20).expand(50, -1))
    assert (rgb.diff(dim=1) > 0).all()
    assert (depth.diff(dim=1) > 0).all()


def test_independent_draw_overlaps_as_chance_has_it():
    rgb, depth = random_keep(2000, 20, (10, 10), disjoint=False, generator=generator(1))
    overlap = (keep_to_mask(rgb, 20) & keep_to_mask(depth, 20)).sum(dim=1).float().mean()
    assert overlap == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize("disjoint", [True, False])
def test_every_patch_is_kept_equally_often(disjoint):
    for keep in random_keep(4000, 12, (3, 6), disjoint=disjoint, generator=generator(2)):
        frequency = keep_to_mask(keep, 12).float().mean(dim=0)
        assert frequency == pytest.approx(keep.shape[1] / 12, abs=0.05)


def test_a_draw_is_a_function_of_the_generator():
    def draw(*key: int) -> torch.Tensor:
        return torch.cat(random_keep(4, 30, (6, 6), disjoint=True, generator=generator(*key)), dim=1)

    torch.manual_seed(1)
    first = draw(7, 3)
    torch.manual_seed(2)
    assert torch.equal(first, draw(7, 3))
    assert not torch.equal(first, draw(7, 4))


def test_none_and_all():
    nothing, everything = random_keep(3, 9, (0, 9), disjoint=True, generator=generator(0))
    assert nothing.shape == (3, 0)
    assert torch.equal(everything, torch.arange(9).expand(3, -1))


def test_too_many():
    with pytest.raises(ValueError, match=r"cannot keep 6 \+ 5 of 10 patches"):
        random_keep(1, 10, (6, 5), disjoint=True)
    with pytest.raises(ValueError, match=r"cannot keep \[11\] of 10"):
        random_keep(1, 10, (11,), disjoint=False)


def test_masks_round_trip():
    rgb, depth = random_keep(5, 12, (3, 0), disjoint=True, generator=generator(0))
    masks = {"depth": keep_to_mask(depth, 12), "rgb": keep_to_mask(rgb, 12)}
    back = keep_from_masks(masks, ("rgb", "depth"), 5, 12)
    assert torch.equal(back["rgb"], rgb)
    assert torch.equal(back["depth"], depth)


def test_masks_that_do_not_fit():
    mask = torch.zeros(2, 12, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"entries \['rgb'\], got \['image'\]"):
        keep_from_masks({"image": mask}, ("rgb",), 2, 12)
    with pytest.raises(ValueError, match=r"masks\['rgb'\] must be bool \(2, 15\)"):
        keep_from_masks({"rgb": mask}, ("rgb",), 2, 15)
    with pytest.raises(ValueError, match="must be bool"):
        keep_from_masks({"rgb": mask.float()}, ("rgb",), 2, 12)
    mask[0, 3] = True
    with pytest.raises(ValueError, match=r"equally many patches of every image, got \[1, 0\]"):
        keep_from_masks({"rgb": mask}, ("rgb",), 2, 12)
