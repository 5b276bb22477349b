"""Card -> task network: a backbone, of this library or another, with the head of its task."""

from __future__ import annotations

import json

from torch import nn

from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import Card, ForeignBackbone
from rgbd3d.downstream.base import Preprocessing, TaskNetwork
from rgbd3d.downstream.depth import DepthNetwork
from rgbd3d.downstream.foreign import build_foreign
from rgbd3d.downstream.instances import InstanceNetwork
from rgbd3d.downstream.sections import Particulars, TaskSections, task_sections
from rgbd3d.downstream.semantic import SemanticNetwork
from rgbd3d.tasks import DepthEstimation, InstanceSegmentation, SemanticSegmentation, TaskObjective

__all__ = ["TaskNetwork", "TaskSections", "attach_head", "build_task_network", "task_sections"]


def build_task_network(sections: TaskSections | Card) -> TaskNetwork:
    """Builds the network of a fine-tuned card, initialised from torch's global generator (seed it first).

    Args:
        sections: Of the card, or the card itself.

    Raises:
        ValueError: The card is one of pre-training, or the head does not fit the backbone.
        HubError: The Hub does not give the configuration of a backbone of transformers.
    """
    if isinstance(sections, Card):
        sections = task_sections(sections)
    section = sections.backbone
    if isinstance(section, ForeignBackbone):
        backbone, known = build_foreign(section, sections.particulars)
        preprocessing = Preprocessing(section.image_size, known.mean, known.std)
        return attach_head(backbone, sections.objective, sections.classes, preprocessing)
    return attach_head(build_vit(section), sections.objective, sections.classes, Preprocessing(section.image_size))


def particulars_of(network: TaskNetwork) -> Particulars:
    """What to write down of a network on a backbone of another library, so that it can be built again offline."""
    config = getattr(network.backbone, "config", None)
    values = None if config is None else json.loads(config.to_json_string(use_diff=False))
    mean, std = tuple(network.preprocessing.mean), tuple(network.preprocessing.std)
    return Particulars(mean, std, network.levels[-1].stride, values)


def attach_head(
    backbone: nn.Module, objective: TaskObjective, classes: tuple[str, ...], preprocessing: Preprocessing
) -> TaskNetwork:
    """Puts the freshly initialised head of an objective on a backbone, which is used, not copied.

    Args:
        backbone: A network of timm or transformers that takes images of any size that its strides divide.
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
