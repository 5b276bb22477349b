"""New heads on backbones of other libraries: DeiT, DINOv2, CLIP, SigLIP, ConvNeXt, Swin and others."""

from __future__ import annotations

from typing import Any

import timm
import timm.data
from torch import nn

from rgbd3d.downstream.base import Preprocessing, Size, TaskNetwork
from rgbd3d.downstream.defaults import default_objective, unnamed_classes
from rgbd3d.downstream.foreign import build_foreign, foreign_weights, section_of
from rgbd3d.downstream.levels import levels_of, require_any_size
from rgbd3d.downstream.network import attach_head


def create_task_model(
    backbone: str, task: str, *, image_size: Size, num_labels: int | None = None, head: str | None = None
) -> TaskNetwork:
    """Puts a new head on a backbone of timm or transformers, for training and evaluation as any other task network.

    Args:
        backbone: `[random:]LIBRARY:MODEL[@COMMIT]`, as `rgbd3d finetune --backbone` takes it
            (`rgbd3d.downstream.foreign.on_backbone`).
        task: "semantic-segmentation", "depth-estimation" or "instance-segmentation".
        image_size: (height, width) that it is trained at; rounded to multiples of the backbone's stride.
        num_labels: Number of classes; none for depth.
        head: Name of the head (`rgbd3d.downstream.defaults.heads_of`).

    Raises:
        ValueError: No such model or task, a model that gives no feature maps or takes images of one size only, or a
            head that does not fit.
        HubError: The Hub does not give what the backbone needs.
    """
    section = section_of(backbone, image_size)
    network, known = build_foreign(section)
    preprocessing = Preprocessing(section.image_size, known.mean, known.std)
    model = _with_head(network, preprocessing, task, num_labels, head)
    if section.pretrained:
        model.load_backbone(foreign_weights(section))
    return model


def create_timm_model(
    backbone: nn.Module,
    task: str,
    *,
    num_labels: int | None = None,
    head: str | None = None,
    image_size: Size | None = None,
) -> TaskNetwork:
    """Puts a new head on a network of timm that was built before; `create_task_model` takes names.

    Args:
        backbone: Is used, not copied, and has to take images of any size (`dynamic_img_size=True`).
        task: As in `create_task_model`.
        num_labels: Number of classes; none for depth.
        head: As there.
        image_size: (height, width) that it is trained at, multiples of the patch; by default timm's of the backbone.

    Raises:
        ValueError: No such task, a model that gives no feature maps or takes images of one size only, or a head or
            size that does not fit.
    """
    network: Any = backbone
    config = timm.data.resolve_model_data_config(network)
    height, width = config["input_size"][1:] if image_size is None else image_size
    stride = levels_of(network)[-1].stride
    if height % stride or width % stride:
        raise ValueError(f"image_size ({height}, {width}) should be a multiple of the patch ({stride}, {stride})")
    try:
        require_any_size(network, (height, width))
    except ValueError as error:
        raise ValueError(f"{error}; many of timm's transformers do if built with dynamic_img_size=True") from error
    return _with_head(network, Preprocessing((height, width), config["mean"], config["std"]), task, num_labels, head)


def _with_head(
    network: nn.Module, preprocessing: Preprocessing, task: str, num_labels: int | None, head: str | None
) -> TaskNetwork:
    objective = default_objective(task, levels_of(network)[-1].width, num_labels, head)
    return attach_head(network, objective, unnamed_classes(num_labels), preprocessing)
