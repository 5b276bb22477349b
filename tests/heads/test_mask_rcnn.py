"""Targets from label maps, and the detector: losses, gradients, images without objects, ignored regions, any size."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from rgbd3d.backbones.vit import RgbdViT
from rgbd3d.data.label_spaces import class_names, lookup
from rgbd3d.heads.mask_rcnn import boxes_of_masks, build_mask_rcnn, targets_from_instances

LOSSES = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}


def tiny_vit(patch=8, **kwargs):
    return RgbdViT(
        img_size=(48, 64), patch_size=patch, embed_dim=24, depth=1, num_heads=2, class_token=False, num_classes=0,
        global_pool="avg", fc_norm=False, **kwargs,
    )  # fmt: skip


def detector(classes=2, **kwargs):
    torch.manual_seed(0)
    return build_mask_rcnn(tiny_vit(), classes, width=16, **kwargs)


def losses(model, images, targets):
    torch.manual_seed(1)  # of the sampled anchors and proposals
    return model.train()(images, targets)


def empty_target(height=48, width=64):
    nothing = torch.zeros(height, width, dtype=torch.int64)
    return targets_from_instances(nothing, nothing + 3, [0, 1])


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
    target = empty_target()
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
    """Two real frames of objects on a table at a quarter of their size, with targets."""
    folder, images, targets = rgbd_frames / "labelled/osd_learn", [], []
    for file in sorted((folder / "instance").glob("*.png"))[:2]:
        size = (80, 60)
        ids = torch.from_numpy(np.array(Image.open(file).resize(size, Image.Resampling.NEAREST)).astype(np.int32))
        color = next((folder / "color").glob(f"{file.stem}.*"))
        image = torch.from_numpy(np.array(Image.open(color).convert("RGB").resize(size))).permute(2, 0, 1) / 255
        semantic = torch.where(ids == 0, 255, torch.where(ids == 1, 5, 0)).long()
        images.append(image)
        targets.append(targets_from_instances(torch.where(ids > 1, ids, 0), semantic, [0]))
    return images, targets


def test_one_step_lowers_the_loss_on_real_frames(tabletop):
    model = detector(classes=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before = losses(model, *tabletop)
    assert before.keys() == LOSSES
    sum(before.values()).backward()
    optimizer.step()
    with torch.no_grad():
        after = losses(model, *tabletop)
    assert sum(after.values()) < 0.95 * sum(before.values())


@pytest.mark.slow
def test_training_finds_the_objects_of_real_frames(tabletop):
    images, targets = tabletop
    model = detector(classes=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = losses(model, images, targets)
    for step in range(60):
        torch.manual_seed(step)
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        optimizer.step()
    after = losses(model, images, targets)
    assert sum(after.values()) < 0.6 * sum(before.values())
    assert after["loss_mask"] < 0.8 * before["loss_mask"]
    with torch.no_grad():
        found = model.eval()(images)
    truth, masks = targets[0]["masks"].bool(), found[0]["masks"] >= 0.5
    overlap = (masks & truth).sum((2, 3)) / (masks | truth).sum((2, 3))
    assert overlap.max() > 0.5


def test_mixed_precision_gives_about_the_same_losses(tabletop):
    model = detector(classes=1)
    with torch.no_grad():
        full = losses(model, *tabletop)
        with torch.autocast("cpu", torch.bfloat16):
            half = losses(model, *tabletop)
    for name in ("loss_classifier", "loss_objectness", "loss_mask"):
        assert half[name] == pytest.approx(float(full[name]), rel=0.1)


def test_every_weight_gets_a_gradient(tabletop):
    model = detector(classes=1)
    sum(losses(model, *tabletop).values()).backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without == {"backbone.net.norm.weight", "backbone.net.norm.bias"}, "ViTDet reads the raw last block"


def test_images_without_objects_teach_background_only():
    model = detector()
    found = losses(model, [torch.rand(3, 48, 64)] * 2, [empty_target()] * 2)
    for name in ("loss_box_reg", "loss_mask", "loss_rpn_box_reg"):
        assert found[name] == 0
    sum(found.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.roi_heads.mask_predictor.mask_fcn_logits.weight.grad is not None, "needed in distributed training"


def test_ignored_regions_teach_nothing():
    target, images = empty_target(), [torch.rand(3, 48, 64)]
    with torch.no_grad():
        outside = losses(detector(), images, [target])
        everything = losses(detector(), images, [target | {"ignore": torch.ones(48, 64, dtype=torch.bool)}])
    assert outside["loss_objectness"] > 0
    assert outside["loss_classifier"] > 0
    assert all(loss == 0 for loss in everything.values())


def test_an_ignored_half_takes_its_anchors_out():
    model = detector().train()
    target = empty_target()
    target["ignore"][:, :32] = True
    anchors = torch.tensor([[0.0, 0, 20, 20], [30, 0, 50, 20], [20, 0, 44, 20], [40, 10, 60, 30]])
    target |= {"boxes": torch.tensor([[0.0, 0, 20, 20]]), "labels": torch.tensor([1])}
    (labels,), _ = model.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, 0, 0, 0]
    target["ignore"][:, :40] = True
    (labels,), _ = model.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, 0, -1, 0], "an object stays an object"
    del target["ignore"]
    (labels,), _ = model.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("sizes", [[(48, 64)], [(37, 51), (64, 30)], [(7, 9)]])
def test_any_image_size(sizes):
    images = [torch.rand(3, *size) for size in sizes]
    with torch.no_grad():
        found = detector(score_threshold=0.0, detections_per_image=5).eval()(images)
    for detections, (height, width) in zip(found, sizes, strict=True):
        boxes, count = detections["boxes"], len(detections["boxes"])
        assert 0 < count <= 5
        assert detections["masks"].shape == (count, 1, height, width)
        assert detections["scores"].diff().le(0).all()
        assert set(detections["labels"].tolist()) <= {1, 2}
        assert boxes.min() >= 0
        assert boxes[:, 2].max() <= width
        assert boxes[:, 3].max() <= height


def test_no_detection_is_no_error():
    with torch.no_grad():
        (found,) = detector(score_threshold=1.0).eval()([torch.rand(3, 40, 40)])
    assert found["boxes"].shape == (0, 4)
    assert found["masks"].shape == (0, 1, 40, 40)


def test_padding_is_at_least_a_patch_and_levels_fit():
    model = detector()
    seen = []
    model.backbone.net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    model.backbone.net.forward_intermediates = lambda image, **kwargs: [
        torch.zeros(1, 24, *(s // 8 for s in image.shape[2:]))
    ]
    images, _ = model.transform([torch.rand(3, 50, 70)], None)
    levels = model.backbone(images.tensors)
    assert images.tensors.shape == (1, 3, 64, 80)
    assert [tuple(level.shape[-2:]) for level in levels.values()] == [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]


def test_size_of_vitdet_b():
    """The paper counts 111 million parameters, of which relative positions are a few ten thousand."""
    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_224", dynamic_img_size=True, num_classes=0)
        parameters = sum(p.numel() for p in build_mask_rcnn(vit, 80).parameters())
    assert round(parameters / 1e6) == 111


def test_what_cannot_be_built():
    with pytest.raises(ValueError, match="at least one class"):
        build_mask_rcnn(tiny_vit(), 0)
    with pytest.raises(ValueError, match="square patches"):
        build_mask_rcnn(tiny_vit(patch=(8, 16)), 1)
    with pytest.raises(ValueError, match="dynamic_img_size=True"):
        build_mask_rcnn(timm.create_model("test_vit", dynamic_img_size=False), 1)


def test_training_needs_targets():
    with pytest.raises(AssertionError, match="targets"):
        detector().train()([torch.rand(3, 48, 64)])
