"""Boxes, levels, anchors and masks at hand-made cases with known answers."""

import numpy as np
import torch
from PIL import Image
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align

from rgbd3d.heads.mask_rcnn import targets_from_instances
from rgbd3d.heads.regions import PyramidAnchors, PyramidPooler, crop_masks, ignored_share, paste_masks

STRIDES = (3, 6, 12, 24)  # of a patch of 12 pixels


def test_anchors_lie_at_the_true_strides():
    anchors = PyramidAnchors((3, 6))
    images = ImageList(torch.zeros(2, 3, 24, 36), [(24, 36), (20, 30)])
    one, other = anchors(images, [torch.zeros(2, 1, 8, 12), torch.zeros(2, 1, 4, 6)])
    assert torch.equal(one, other)
    assert one.shape == (3 * (8 * 12 + 4 * 6), 4)
    centres = (one[:, :2] + one[:, 2:]) / 2
    assert centres[1::3][:13].tolist() == [[3 * i, 0] for i in range(12)] + [[0, 3]]
    assert centres[-1].tolist() == [30, 18]
    square = one[1, 2:] - one[1, :2]
    assert square.tolist() == [24, 24]


def test_a_box_is_read_from_the_level_of_its_size():
    pool = PyramidPooler(STRIDES, 12, 7)
    sides = torch.tensor([1.0, 42, 83, 85, 167, 169, 335, 337, 5000])
    boxes = torch.stack([0 * sides, 0 * sides, sides, sides], dim=1)
    assert pool.levels(boxes).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert pool.levels(torch.zeros(1, 4)).tolist() == [0]


def test_pooling_reads_the_place_of_the_box():
    """Levels that hold their own coordinates in pixels: a pooled cell holds the coordinates of its centre."""

    def coordinates(stride):
        y, x = torch.meshgrid(torch.arange(720 / stride), torch.arange(720 / stride), indexing="ij")
        return torch.stack([x + 0.5, y + 0.5])[None] * stride

    levels = {str(i): coordinates(stride).repeat(2, 1, 1, 1) for i, stride in enumerate(STRIDES)}
    boxes = [torch.tensor([[300.0, 200, 700, 600], [50, 60, 78, 88]]), torch.tensor([[100.0, 120, 240, 260]])]
    pooled = PyramidPooler(STRIDES, 12, 7)(levels, boxes, [(720, 720)] * 2)
    for cells, (x1, y1, x2, y2) in zip(pooled, torch.cat(boxes).tolist(), strict=True):
        inner = torch.arange(7) / 7 + 0.5 / 7
        expected = torch.stack([(x1 + (x2 - x1) * inner).expand(7, 7), (y1 + (y2 - y1) * inner)[:, None].expand(7, 7)])
        torch.testing.assert_close(cells, expected, rtol=0, atol=1e-2)


def test_pooling_of_no_box_and_in_low_precision():
    levels = {str(i): torch.randn(1, 4, 8, 8, requires_grad=True) for i in range(4)}
    empty = PyramidPooler(STRIDES, 12, 7)(levels, [torch.zeros(0, 4)], [(24, 24)])
    assert empty.shape == (0, 4, 7, 7)
    empty.sum().backward()
    half = {name: level.detach().bfloat16() for name, level in levels.items()}
    assert PyramidPooler(STRIDES, 12, 7)(half, [torch.rand(3, 4)], [(24, 24)]).dtype == torch.bfloat16


def test_pooling_of_one_level_is_torchvisions_aligned():
    level, boxes = torch.randn(1, 3, 10, 10), torch.tensor([[3.0, 4, 17, 15.5]])
    rois = torch.cat([torch.zeros(1, 1), boxes], dim=1)
    pooled = PyramidPooler((2.0,), 2, 5)({"0": level}, [boxes], [(20, 20)])
    torch.testing.assert_close(pooled, roi_align(level, rois, 5, 0.5, aligned=True))


def test_crop_and_paste_of_a_rectangle_are_exact():
    mask = torch.zeros(1, 20, 30, dtype=torch.uint8)
    mask[0, 4:12, 6:22] = 1
    whole = torch.tensor([[6.0, 4, 22, 12]])
    cells = crop_masks(mask, torch.tensor([0]), whole, 8)
    assert torch.equal(cells, torch.ones(1, 8, 8))
    assert torch.equal(paste_masks(cells[:, None], whole, (20, 30))[0, 0] >= 0.5, mask[0].bool())
    wider = torch.tensor([[-2.0, 4, 14, 12]])
    assert crop_masks(mask, torch.tensor([0]), wider, 8)[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_paste_outside_and_of_degenerate_boxes():
    boxes = torch.tensor([[-5.0, -5, 3, 2], [40, 40, 50, 50], [5, 5, 5, 9]])
    pasted = paste_masks(torch.ones(3, 1, 4, 4), boxes, (10, 12))
    assert pasted.shape == (3, 1, 10, 12)
    assert (pasted[0, 0] >= 0.5).nonzero().amax(0).tolist() == [1, 2]
    assert not pasted[1:].any()
    assert paste_masks(torch.ones(0, 1, 4, 4), torch.zeros(0, 4), (10, 12)).shape == (0, 1, 10, 12)


def test_a_perfect_detector_is_scored_as_one_on_real_masks(rgbd_frames):
    """Mask targets pasted back give the truth; with torchvision's rounding the mean IoU is below 0.97."""
    overlaps = []
    for file in sorted((rgbd_frames / "labelled/osd_learn/instance").glob("*.png"))[:6]:
        ids = torch.from_numpy(np.array(Image.open(file)).astype(np.int32))
        objects = torch.where(ids > 1, ids, 0)
        target = targets_from_instances(objects, torch.where(ids > 1, 0, 255), [0])
        truth, boxes = target["masks"].bool(), target["boxes"]
        cells = crop_masks(target["masks"], torch.arange(len(boxes)), boxes, 28)
        found = paste_masks(cells[:, None], boxes, ids.shape)[:, 0] >= 0.5
        overlaps += ((found & truth).sum((1, 2)) / (found | truth).sum((1, 2))).tolist()
    assert np.mean(overlaps) > 0.98
    assert min(overlaps) > 0.95


def test_share_that_is_ignored():
    ignore = torch.zeros(10, 10, dtype=torch.bool)
    ignore[:, :4] = True
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 10], [4, 0, 10, 10], [-8, -8, 8, 8], [3, 3, 3, 3], [20, 0, 30, 5]])
    torch.testing.assert_close(ignored_share(boxes, ignore), torch.tensor([1, 0.5, 0, 0.5, 0, 0]))
