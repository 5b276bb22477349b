"""Card -> task network: a backbone of the zoo with the head of its task."""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer

from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import Card
from rgbd3d.downstream.base import Preprocessing, TaskNetwork
from rgbd3d.downstream.depth import DepthNetwork
from rgbd3d.downstream.instances import InstanceNetwork
from rgbd3d.downstream.sections import TaskSections, task_sections
from rgbd3d.downstream.semantic import SemanticNetwork
from rgbd3d.tasks import DepthEstimation, InstanceSegmentation, SemanticSegmentation, TaskObjective

__all__ = ["TaskNetwork", "TaskSections", "attach_head", "build_task_network", "task_sections"]


def build_task_network(sections: TaskSections | Card, backbone: VisionTransformer | None = None) -> TaskNetwork:
    """Builds the network of a fine-tuned card, initialised from torch's global generator (seed it first).

    Args:
        sections: Of the card, or the card itself.
        backbone: Used instead of a freshly built one.

    Raises:
        ValueError: The card is one of pre-training, or the head does not fit the backbone.
    """
    if isinstance(sections, Card):
        sections = task_sections(sections)
    backbone = build_vit(sections.backbone) if backbone is None else backbone
    preprocessing = Preprocessing(sections.backbone.image_size)
    return attach_head(backbone, sections.objective, sections.classes, preprocessing)


def attach_head(
    backbone: VisionTransformer, objective: TaskObjective, classes: tuple[str, ...], preprocessing: Preprocessing
) -> TaskNetwork:
    """Puts the freshly initialised head of an objective on a backbone, which is used, not copied.

    Args:
        backbone: A ViT that takes any grid of patches.
        objective: Head and loss.
        classes: Their names; none for depth.
        preprocessing: What the backbone expects.

    Raises:
        ValueError: The head does not fit the backbone.
    """
    match objective:
        case SemanticSegmentation():
            return SemanticNetwork(backbone, objective, classes, preprocessing)
        case DepthEstimation():
            return DepthNetwork(backbone, objective, classes, preprocessing)
        case InstanceSegmentation():
            return InstanceNetwork(backbone, objective, classes, preprocessing)
