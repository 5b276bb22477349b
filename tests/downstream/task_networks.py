"""Small task networks and batches for them, one of every head."""

from dataclasses import replace

import torch
from tiny import tiny_card
from torch import Tensor

from rgbd3d.cards import Card, Evaluation, Weights
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.downstream.defaults import heads_of, new_sections
from rgbd3d.downstream.network import build_task_network
from rgbd3d.tasks import TASKS, ConvNeXt, DepthEstimation, InstanceSegmentation, SemanticSegmentation, TaskObjective

CLASSES = 5
HEADS = [(task, head) for task in TASKS for head in heads_of(task)]
CONVNEXT = ConvNeXt(name="convnext", width=8, cells=2, depth=1)

OBJECTIVES: dict[str, TaskObjective] = {
    "semantic-segmentation": SemanticSegmentation(labels="nyu13", head=CONVNEXT),
    "depth-estimation": DepthEstimation(head=CONVNEXT, loss="log-l1"),
    "instance-segmentation": InstanceSegmentation(labels="nyu13", classes=(0, 3), width=16),
}
PROTOCOLS = {
    "semantic-segmentation": Evaluation(protocol="nyuv2-semseg/13", metric="miou", every=1),
    "depth-estimation": Evaluation(protocol="nyuv2-depth/eigen", metric="delta1", every=1),
    "instance-segmentation": Evaluation(protocol="nyuv2-instances/9", metric="mask_ap", every=1),
}


def task_card(task: str, **changes: object) -> Card:
    """A fine-tuned card of a task: a ViT-Ti at 32 x 48 pixels."""
    card = replace(
        tiny_card(),
        name=f"tiny.{task}",
        task=task,
        objective=OBJECTIVES[task],
        evaluation=PROTOCOLS[task],
        weights=Weights(status="recipe"),
        measured=(),
        tolerance=None,
    )
    return replace(card, **changes)


def network(task: str, head: str, seed: int = 0) -> TaskNetwork:
    torch.manual_seed(seed)
    return build_task_network(new_sections(tiny_card(), task, None if task == "depth-estimation" else CLASSES, head))


def batch(size: tuple[int, int], frames: int = 2) -> dict[str, Tensor]:
    """Noise with labels in every frame; two objects in each."""
    generator = torch.Generator().manual_seed(0)
    semantic = torch.randint(0, CLASSES, (frames, *size), generator=generator)
    instance = torch.zeros(frames, *size, dtype=torch.int32)
    instance[:, : size[0] // 2], instance[:, size[0] // 2 :, : size[1] // 2] = 1, 2
    semantic[:, : size[0] // 2], semantic[:, size[0] // 2 :, : size[1] // 2] = 1, 3
    return {
        "image": torch.randn(frames, 3, *size, generator=generator),
        "semantic": semantic,
        "depth_metres": 0.5 + 4 * torch.rand(frames, 1, *size, generator=generator),
        "instance": instance,
    }


def unlabelled(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same images without any truth."""
    nothing = {"semantic": 255, "depth_metres": 0.0, "instance": 0}
    return {key: torch.full_like(value, nothing[key]) if key in nothing else value for key, value in batch.items()}


def pictures(size: tuple[int, int], frames: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (frames, 3, *size), dtype=torch.uint8, generator=generator)
