"""The heads of this library on the vision transformers of timm: DeiT, DINOv2, CLIP, SigLIP and others."""

from __future__ import annotations

from typing import Any

import timm
import timm.data
from timm.models.vision_transformer import VisionTransformer

from rgbd3d.downstream.base import Preprocessing, Size, TaskNetwork
from rgbd3d.downstream.defaults import default_objective, unnamed_classes
from rgbd3d.downstream.network import attach_head


def create_timm_model(
    backbone: str | VisionTransformer,
    task: str,
    *,
    num_labels: int | None = None,
    head: str | None = None,
    image_size: Size | None = None,
    pretrained: bool = False,
) -> TaskNetwork:
    """Puts a new head on a vision transformer of timm, for training and evaluation as any other task network.

    Args:
        backbone: timm's name of it, or the model itself, which is used, not copied, and has to take images of any
            size (`dynamic_img_size=True`).
        task: "semantic-segmentation", "depth-estimation" or "instance-segmentation".
        num_labels: Number of classes; none for depth.
        head: Name of the head (`rgbd3d.downstream.defaults.heads_of`).
        image_size: (height, width) that it is trained at, multiples of the patch; by default timm's of the backbone.
        pretrained: Load timm's weights of a backbone that is given by name. The head is new either way.

    Raises:
        ValueError: No such model or task, a model that is no plain vision transformer or takes images of one size only,
            a head or size that does not fit, or no weights although they were asked for.
    """
    model = _built(backbone, pretrained) if isinstance(backbone, str) else backbone
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"{_name(backbone)} is a {type(model).__name__}; the heads read timm's VisionTransformer only")
    if not model.dynamic_img_size:
        raise ValueError(f"{_name(backbone)} takes images of one size only; build it with dynamic_img_size=True")
    preprocessing = _preprocessing(model, image_size)
    objective = default_objective(task, model.embed_dim, num_labels, head)
    return attach_head(model, objective, unnamed_classes(num_labels), preprocessing)


def _built(name: str, pretrained: bool) -> Any:
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
    except (RuntimeError, TypeError) as error:  # unknown, without weights, or an architecture without that argument
        raise ValueError(f"timm has no vision transformer {name!r} for images of any size: {error}") from error


def _preprocessing(model: VisionTransformer, image_size: Size | None) -> Preprocessing:
    config = timm.data.resolve_model_data_config(model)
    _, *own_size = config["input_size"]
    rows, columns = model.patch_embed.patch_size
    height, width = own_size if image_size is None else image_size
    if height % rows or width % columns:
        raise ValueError(f"image_size ({height}, {width}) should be a multiple of the patch ({rows}, {columns})")
    return Preprocessing((height, width), config["mean"], config["std"])


def _name(backbone: str | VisionTransformer) -> str:
    return repr(backbone) if isinstance(backbone, str) else "the backbone"
