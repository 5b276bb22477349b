"""Heads by name, in the papers' proportions, and on backbones of timm."""

from typing import Any

import pytest
import timm
import torch
from task_networks import HEADS, pictures

from rgbd3d.downstream.create import create_timm_model
from rgbd3d.downstream.defaults import default_objective, heads_of
from rgbd3d.downstream.heads import build_head
from rgbd3d.downstream.levels import Level
from rgbd3d.objectives import Decoder
from rgbd3d.tasks import DPT, TASKS, ConvNeXt, InstanceSegmentation, Mask2Former, UperNet


def test_on_a_vit_b_the_sizes_are_those_of_the_papers():
    assert default_objective("semantic-segmentation", 768, 40).head == ConvNeXt(name="convnext")
    assert default_objective("depth-estimation", 768, None).head == DPT(name="dpt")
    assert default_objective("semantic-segmentation", 768, 40, "upernet").head == UperNet(name="upernet")
    assert default_objective("semantic-segmentation", 768, 40, "mask2former").head == Mask2Former(name="mask2former")
    found = default_objective("instance-segmentation", 768, 9)
    assert found == InstanceSegmentation(labels=None, classes=tuple(range(9)), width=256)


@pytest.mark.parametrize("dim", [192, 384, 768, 1024])
@pytest.mark.parametrize(("task", "name"), [(task, name) for task in TASKS for name in heads_of(task)])
def test_every_head_fits_every_width(task: str, name: str, dim: int):
    depth = task == "depth-estimation"
    objective = default_objective(task, dim, None if depth else 3, name, Decoder(dim=32, depth=1, heads=2))
    if task != "instance-segmentation":
        kind = "regression" if depth else "segmentation"
        with torch.device("meta"):
            build_head(objective.head, [Level(dim, 16)] * 12, 1 if depth else 3, task=kind)


def test_the_mim_depth_head_speaks_of_metres():
    assert default_objective("depth-estimation", 192, None, "mim-depth").output == "metres"
    assert default_objective("depth-estimation", 192, None).output == "log"


@pytest.mark.parametrize(
    ("task", "labels", "head", "message"),
    [
        (
            "semantic-segmentation",
            40,
            "dtp",
            "has no head 'dtp'; there are linear, attentive, convnext, dpt.*did you mean 'dpt'",
        ),
        ("depth-estimation", None, "mask2former", "depth-estimation has no head 'mask2former'"),
        ("depth-estimation", 3, None, "num_labels=3 makes no sense for depth-estimation"),
        ("semantic-segmentation", None, None, "semantic-segmentation needs num_labels"),
        ("semantic-segmentation", 0, None, "the number of classes, 1 to 255; got 0"),
        ("instance-segmentation", 256, None, "the number of classes, 1 to 255; got 256"),
        ("semantic-segmentation", 40, "decoder", "the head 'decoder' is that of a pre-trained model of this library"),
        ("segmentation", 40, None, "unknown task 'segmentation'; there are .*did you mean 'semantic-segmentation'"),
    ],
)
def test_what_cannot_be_built(task: str, labels: int | None, head: str | None, message: str):
    with pytest.raises(ValueError, match=message):
        default_objective(task, 192, labels, head)


def _vit() -> Any:
    return timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True, num_classes=0)


@pytest.mark.parametrize(("task", "head"), [pair for pair in HEADS if pair[1] in ("convnext", "dpt", "mask-rcnn")])
def test_heads_on_a_vit_of_timm(task: str, head: str):
    torch.manual_seed(0)
    labels = None if task == "depth-estimation" else 3
    network = create_timm_model(_vit(), task, num_labels=labels, head=head, image_size=(32, 48))
    assert network.preprocessing.mean == (0.5, 0.5, 0.5), "timm's own, not ImageNet's"
    assert network.image_size == (32, 48)
    found = network.predict(pictures((37, 55)), size="frame")
    assert len(found) == 2
    assert task == "instance-segmentation" or found.shape[-2:] == (37, 55)


def test_learnt_positions_of_another_grid_are_resampled_not_refused():
    one = create_timm_model(_vit(), "semantic-segmentation", num_labels=3, image_size=(32, 48))
    other = create_timm_model(_vit(), "semantic-segmentation", num_labels=3)
    other.load_backbone(one.backbone.state_dict())
    assert other.image_size == (224, 224)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_backbone({})


def test_a_network_for_one_size_is_refused():
    with pytest.raises(ValueError, match="many of timm's transformers do if built with dynamic_img_size=True"):
        create_timm_model(timm.create_model("vit_tiny_patch16_224"), "depth-estimation")
    with pytest.raises(ValueError, match=r"should be a multiple of the patch \(16, 16\)"):
        create_timm_model(_vit(), "depth-estimation", image_size=(32, 40))


def test_every_head_has_a_name():
    assert heads_of("semantic-segmentation") == (
        "linear",
        "attentive",
        "convnext",
        "dpt",
        "decoder",
        "upernet",
        "mask2former",
    )
    assert heads_of("depth-estimation") == ("linear", "attentive", "convnext", "dpt", "mim-depth")
    assert heads_of("instance-segmentation") == ("mask-rcnn",)
