"""Targets from label maps, and the detector on a backbone: losses, gradients, no objects, ignored regions, any size."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from rgbd3d.backbones.vit import RgbdViT
from rgbd3d.data.batch import normalise_image
from rgbd3d.data.label_spaces import class_names, lookup
from rgbd3d.downstream.base import Preprocessing
from rgbd3d.downstream.create import create_timm_model
from rgbd3d.downstream.network import attach_head
from rgbd3d.heads.mask_rcnn import MaskRCNNHead, boxes_of_masks, targets_from_instances
from rgbd3d.tasks import InstanceSegmentation

LOSSES = {"classifier", "box_reg", "mask", "objectness", "rpn_box_reg"}
SIZE = (72, 96)


def tiny_vit(patch=12, **kwargs):
    return RgbdViT(
        img_size=SIZE, patch_size=patch, embed_dim=24, depth=1, num_heads=2, class_token=False, num_classes=0,
        global_pool="avg", fc_norm=False, **kwargs,
    )  # fmt: skip


def detector(classes=2):
    torch.manual_seed(0)
    objective = InstanceSegmentation(labels=None, classes=tuple(range(classes)), width=16)
    return attach_head(tiny_vit(), objective, ("thing",) * classes, Preprocessing(SIZE))


def test_the_numbers_are_those_of_base_rcnn_fpn():
    """Detectron2's configs/Base-RCNN-FPN.yaml and config/defaults.py."""
    head = detector().head
    proposals, regions = head.proposals, head.regions
    assert (proposals.proposal_matcher.high_threshold, proposals.proposal_matcher.low_threshold) == (0.7, 0.3)
    assert (proposals.fg_bg_sampler.batch_size_per_image, proposals.fg_bg_sampler.positive_fraction) == (256, 0.5)
    assert proposals._pre_nms_top_n == {"training": 2000, "testing": 1000}
    assert proposals._post_nms_top_n == {"training": 1000, "testing": 1000}
    assert proposals.nms_thresh == 0.7
    assert (regions.proposal_matcher.high_threshold, regions.proposal_matcher.low_threshold) == (0.5, 0.5)
    assert (regions.fg_bg_sampler.batch_size_per_image, regions.fg_bg_sampler.positive_fraction) == (512, 0.25)
    assert regions.box_coder.weights == (10.0, 10.0, 5.0, 5.0)
    assert (regions.score_thresh, regions.nms_thresh, regions.detections_per_img) == (0.05, 0.5, 100)
    assert (regions.box_roi_pool.output_size, regions.mask_roi_pool.output_size) == (7, 14)


def losses(model, batch):
    torch.manual_seed(1)  # of the sampled anchors and proposals
    return model.train().loss(batch)


def empty(frames=1, semantic=3, size=SIZE):
    """Frames full of a class that is no thing."""
    nothing = torch.zeros(frames, *size, dtype=torch.int64)
    return {"image": torch.rand(frames, 3, *size), "semantic": nothing + semantic, "instance": nothing}


# ---------------------------------------------------------------------------------------------------------- targets


def test_targets_of_a_hand_made_frame():
    semantic = torch.full((6, 8), 2)
    instance = torch.zeros(6, 8, dtype=torch.int32)
    semantic[0:2, 0:3], instance[0:2, 0:3] = 7, 5  # an object of class 7
    semantic[3, 4], instance[3, 4] = 7, 9  # one of a single pixel
    semantic[2:4, 6:8], instance[2:4, 6:8] = 4, 5  # another class with the same id
    semantic[5, 0:4] = 7  # a crowd
    semantic[5, 6:8], instance[5, 6:8] = 255, 3  # an object whose class is not known
    instance[0, 7] = 1  # one of a class that is no thing
    target = targets_from_instances(instance, semantic, [4, 7])
    found = sorted(zip(target["labels"].tolist(), target["boxes"].tolist(), strict=True))
    assert found == [(1, [6, 2, 8, 4]), (2, [0, 0, 3, 2]), (2, [4, 3, 5, 4])]
    assert sorted(target["masks"].sum((1, 2)).tolist()) == [1, 4, 6]
    assert target["ignore"].nonzero().tolist() == [[5, 0], [5, 1], [5, 2], [5, 3], [5, 6], [5, 7]]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].dtype == torch.int64
    assert target["masks"].dtype == torch.uint8


def test_boxes_are_the_extents_of_real_masks(rgbd_frames):
    """Against PIL's bounding box, whose right and lower edges lie behind the last pixel as ours do."""
    things = [class_names("cityscapes19").index(name) for name in ("person", "rider", "car", "bicycle")]
    table, objects = torch.from_numpy(lookup("cityscapes19", "cityscapes").astype(np.int64)), 0
    for file in sorted((rgbd_frames / "labelled/cityscapes").glob("*_instanceIds.png")):
        ids = torch.from_numpy(np.array(Image.open(file)).astype(np.int64))
        labels = torch.from_numpy(np.array(Image.open(str(file).replace("instanceIds", "labelIds"))).astype(np.int64))
        target = targets_from_instances(torch.where(ids >= 1000, ids, 0), table[labels], things)
        for mask, box, label in zip(target["masks"], target["boxes"], target["labels"], strict=True):
            assert Image.fromarray(mask.numpy()).getbbox() == tuple(box.int().tolist())
            assert table[labels[mask.bool()]].unique().tolist() == [things[label - 1]]
            assert len(ids[mask.bool()].unique()) == 1
        expected = [i for i in ids.unique().tolist() if i >= 1000 and int(table[i // 1000]) in things]
        assert len(target["boxes"]) == len(expected)
        objects += len(expected)
    assert objects > 20


def test_a_frame_without_objects():
    target = targets_from_instances(torch.zeros(48, 64).int(), torch.full((48, 64), 3), [0, 1])
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    assert target["masks"].shape == (0, 48, 64)
    assert not target["ignore"].any()
    assert boxes_of_masks(torch.zeros(0, 3, 3)).shape == (0, 4)


@pytest.mark.parametrize(
    ("instance", "semantic", "things", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), [0], "of one size"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), [0], "of one size"),
        (torch.full((2, 3), -1), torch.zeros(2, 3), [0], "out of range: instances -1"),
        (torch.zeros(2, 3), torch.full((2, 3), 300), [0], "classes 300"),
        (torch.zeros(2, 3), torch.zeros(2, 3), [], "thing classes"),
        (torch.zeros(2, 3), torch.zeros(2, 3), [1, 1], "thing classes"),
        (torch.zeros(2, 3), torch.zeros(2, 3), [255], "thing classes"),
    ],
)
def test_bad_label_maps(instance, semantic, things, message):
    with pytest.raises(ValueError, match=message):
        targets_from_instances(instance.int(), semantic.long(), things)


# --------------------------------------------------------------------------------------------------------- detector


@pytest.fixture
def tabletop(rgbd_frames):
    """A batch of two real frames of objects on a table, at 0.15 times their size."""
    folder, frames = rgbd_frames / "labelled/osd_learn", []
    for file in sorted((folder / "instance").glob("*.png"))[:2]:
        height, width = SIZE
        ids = Image.open(file).resize((width, height), Image.Resampling.NEAREST)
        ids = torch.from_numpy(np.array(ids).astype(np.int32))
        color = Image.open(next((folder / "color").glob(f"{file.stem}.*"))).convert("RGB").resize((width, height))
        image = normalise_image(torch.from_numpy(np.array(color)).permute(2, 0, 1) / 255)
        semantic = torch.where(ids == 0, 255, torch.where(ids == 1, 5, 0)).long()
        frames.append({"image": image, "semantic": semantic, "instance": torch.where(ids > 1, ids, 0)})
    return {name: torch.stack([frame[name] for frame in frames]) for name in frames[0]}


def test_one_step_lowers_the_loss_on_real_frames(tabletop):
    model = detector(classes=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before, parts = losses(model, tabletop)
    assert parts.keys() == LOSSES
    torch.testing.assert_close(sum(parts.values()), before.detach())
    before.backward()
    optimizer.step()
    with torch.no_grad():
        after, _ = losses(model, tabletop)
    assert after < 0.95 * before


@pytest.mark.slow
def test_training_finds_the_objects_of_real_frames(tabletop):
    model = detector(classes=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before, parts_before = losses(model, tabletop)
    for step in range(60):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model.loss(tabletop)[0].backward()
        optimizer.step()
    after, parts = losses(model, tabletop)
    assert after < 0.6 * before
    assert parts["mask"] < 0.8 * parts_before["mask"]
    found = model.eval()(tabletop["image"])
    truth = (tabletop["instance"][0] == tabletop["instance"][0].unique()[1:, None, None])[None]
    masks = found[0]["masks"] >= 0.5
    overlap = (masks & truth).sum((2, 3)) / (masks | truth).sum((2, 3))
    assert overlap.max() > 0.5


def test_mixed_precision_gives_about_the_same_losses(tabletop):
    model = detector(classes=1)
    with torch.no_grad():
        _, full = losses(model, tabletop)
        with torch.autocast("cpu", torch.bfloat16):
            _, half = losses(model, tabletop)
    for name in ("classifier", "objectness", "mask"):
        assert half[name] == pytest.approx(float(full[name]), rel=0.1)


def test_every_weight_gets_a_gradient(tabletop):
    model = detector(classes=1)
    losses(model, tabletop)[0].backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without == {"backbone.norm.weight", "backbone.norm.bias"}, "ViTDet reads the raw last block"


def test_images_without_objects_teach_background_only():
    model = detector()
    total, parts = losses(model, empty(frames=2))
    for name in ("box_reg", "mask", "rpn_box_reg"):
        assert parts[name] == 0
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.head.regions.mask_predictor.mask_fcn_logits.weight.grad is not None, "needed in distributed training"


@pytest.mark.parametrize("semantic", [255, 1])
def test_ignored_regions_teach_nothing(semantic):
    """Without labels, and full of a crowd."""
    with torch.no_grad():
        _, outside = losses(detector(), empty())
        _, everything = losses(detector(), empty(semantic=semantic))
    assert outside["objectness"] > 0
    assert outside["classifier"] > 0
    assert all(loss == 0 for loss in everything.values())


def test_an_ignored_half_takes_its_anchors_out():
    proposals = detector().head.proposals
    ignore = torch.zeros(48, 64, dtype=torch.bool)
    ignore[:, :32] = True
    anchors = torch.tensor([[0.0, 0, 20, 20], [30, 0, 50, 20], [20, 0, 44, 20], [40, 10, 60, 30]])
    target = {"boxes": torch.tensor([[0.0, 0, 20, 20]]), "labels": torch.tensor([1]), "ignore": ignore}
    (labels,), _ = proposals.assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, 0, 0, 0]
    ignore[:, :40] = True
    (labels,), _ = proposals.assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, 0, -1, 0], "an object stays an object"


@pytest.mark.parametrize("size", [SIZE, (12, 12), (60, 36), (24, 84)])
def test_any_image_size(size):
    model = detector().eval()
    model.head.regions.score_thresh, model.head.regions.detections_per_img = 0.0, 5
    images = torch.randint(256, (2, 3, 37, 51), dtype=torch.uint8)
    for frame, found in ((size, model(torch.randn(2, 3, *size))), ((37, 51), model.predict(images, size))):
        assert len(found) == 2
        for detections in found:
            boxes, count = detections["boxes"], len(detections["boxes"])
            assert 0 < count <= 5
            assert detections["masks"].shape == (count, 1, *frame)
            assert detections["scores"].diff().le(0).all()
            assert set(detections["labels"].tolist()) <= {1, 2}
            assert boxes.min() >= 0
            assert (boxes[:, 2:] <= torch.tensor([frame[1], frame[0]])).all()


def test_objects_of_a_larger_frame_are_as_much_larger():
    model = detector().eval()
    model.head.regions.score_thresh, model.head.regions.detections_per_img = 0.0, 5
    frame = torch.full((1, 3, *SIZE), 90, dtype=torch.uint8)
    (own,) = model.predict(frame, SIZE)
    assert len(own["boxes"])
    for rows, columns in ((2, 2), (3, 2)):
        (found,) = model.predict(frame.repeat_interleave(rows, 2).repeat_interleave(columns, 3), SIZE)
        torch.testing.assert_close(found["scores"], own["scores"])
        torch.testing.assert_close(found["boxes"], own["boxes"] * torch.tensor([columns, rows] * 2))


def test_no_detection_is_no_error():
    model = detector().eval()
    model.head.regions.score_thresh = 1.0
    (found,) = model(torch.randn(1, 3, 36, 48))
    assert found["boxes"].shape == (0, 4)
    assert found["masks"].shape == (0, 1, 36, 48)


def test_size_of_vitdet_b():
    """The paper counts 111 million parameters, of which relative positions are a few ten thousand."""
    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_224", dynamic_img_size=True, num_classes=0)
        model = create_timm_model(vit, "instance-segmentation", num_labels=80)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 111


def test_what_cannot_be_built():
    with pytest.raises(ValueError, match="at least one class"):
        MaskRCNNHead(24, 12, 0, 16)
    with pytest.raises(ValueError, match="cannot read images"):
        create_timm_model(tiny_vit(patch=(8, 16)), "instance-segmentation", num_labels=1, image_size=(48, 64))
    fixed = timm.create_model("test_vit", dynamic_img_size=False)
    with pytest.raises(ValueError, match="dynamic_img_size=True"):
        create_timm_model(fixed, "instance-segmentation", num_labels=1)


def test_training_needs_targets():
    with pytest.raises(ValueError, match="targets"):
        MaskRCNNHead(24, 12, 1, 16).train()([torch.rand(1, 24, 6, 8)], torch.rand(1, 3, *SIZE))
