"""The smallest models of every task and head, with labels for their images."""

import torch
from tiny import SIZE, tiny_card
from torch import Tensor

from rgbd3d.downstream.sections import TaskSections, class_names_of
from rgbd3d.modeling_tasks import RgbdForTask, task_model
from rgbd3d.objectives import Decoder
from rgbd3d.tasks import (
    DPT,
    Attentive,
    ConvNeXt,
    DepthEstimation,
    InstanceSegmentation,
    Linear,
    Mask2Former,
    MIMDepth,
    PretrainedDecoder,
    SemanticSegmentation,
    UperNet,
)

_LINEAR = Linear(name="linear")
_ATTENTIVE = Attentive(name="attentive", heads=3)
_CONVNEXT = ConvNeXt(name="convnext", width=16, cells=2, depth=1)
_DPT = DPT(name="dpt", level_dims=(8, 8, 8, 8), feature_dim=8)
_DECODER = PretrainedDecoder(name="decoder", decoder=Decoder(dim=32, depth=1, heads=2))
_UPERNET = UperNet(name="upernet", width=16)
_MASK2FORMER = Mask2Former(name="mask2former", width=32, queries=5, layers=2)

SEMANTIC = {
    f"semantic-{head.name}": SemanticSegmentation(labels="nyu13", head=head, drop_path=0.1)
    for head in (_LINEAR, _ATTENTIVE, _CONVNEXT, _DPT, _DECODER, _UPERNET, _MASK2FORMER)
}
DEPTH = {
    "depth-linear": DepthEstimation(head=_LINEAR, loss="l1", freeze_backbone=True),
    "depth-convnext": DepthEstimation(head=_CONVNEXT, loss="log-l1"),
    "depth-dpt": DepthEstimation(head=_DPT, loss="berhu", output="standardised", drop_path=0.1),
    "depth-mim-depth": DepthEstimation(head=MIMDepth(name="mim-depth"), loss="silog", output="metres"),
}
INSTANCE = {"instances": InstanceSegmentation(labels="nyu13", classes=(1, 4, 9), width=16)}
OBJECTIVES = SEMANTIC | DEPTH | INSTANCE
"""By a name for tests."""
ONE_EACH = ["semantic-convnext", "depth-convnext", "instances"]
"""One of every task."""


def sections(name: str) -> TaskSections:
    objective = OBJECTIVES[name]
    return TaskSections(tiny_card().backbone, objective, class_names_of(objective))


def build(name: str) -> RgbdForTask:
    """A model with random weights, the same at every call."""
    torch.manual_seed(0)
    model = task_model(sections(name)).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that are seen in the result
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
    for weight in model.network.head.parameters():
        if weight.ndim in (2, 4):  # initial heads give nearly the same everywhere
            torch.nn.init.kaiming_normal_(weight, nonlinearity="linear")
    return model


def labels(name: str, batch: int = 2, size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    """What the network of a task compares with, beside the image."""
    semantic = torch.ones(batch, *size, dtype=torch.int64)
    semantic[:, : size[0] // 2, : size[1] // 2] = 4
    semantic[:, -4:] = 255
    if name in DEPTH:
        depth = 1 + torch.rand(batch, 1, *size, generator=torch.Generator().manual_seed(0))
        depth[:, :, :5] = 0
        return {"depth_metres": depth}
    if name in INSTANCE:
        return {"semantic": semantic, "instance": (semantic != 255).int() + (semantic == 4).int()}
    return {"semantic": semantic}
