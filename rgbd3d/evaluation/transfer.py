"""How much does a backbone help on labelled frames? A frozen linear probe and a short fine-tuning.

Both predict semantic classes and depth together: `classes` logits and one log-depth channel. Every random draw comes
from the seed, so a result can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import timm.optim
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from rgbd3d.data.batch import normalise_image
from rgbd3d.data.resize import resize_nearest
from rgbd3d.evaluation.frames import LabelledFrames
from rgbd3d.evaluation.metrics import DepthMeter, SemanticMeter
from rgbd3d.heads.dense import DenseHead
from rgbd3d.heads.linear import LinearHead
from rgbd3d.heads.upsample import upsample
from rgbd3d.optimization import Precision
from rgbd3d.precision import emulates_bf16, forward_in
from rgbd3d.seeding import generator
from rgbd3d.types import IGNORE_LABEL

_log = logging.getLogger(__name__)

TYPICAL_LOG_DEPTH = 0.9
"""Start value of the log-depth output: exp(0.9) = 2.5 m, the middle of a room."""


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """A short fine-tuning of backbone and head.

    Attributes:
        epochs: Passes over the training frames.
        batch_size: Frames per step.
        lr: Learning rate of the head; the backbone's layers get `layer_decay` to the power of their distance from it.
        layer_decay: See `lr`.
        weight_decay: AdamW's, on matrices only.
        warmup_epochs: Linear warm-up before half a cosine to zero.
        depth_weight: Weight of the L1 loss of log depth beside the cross-entropy.
        color_jitter: Largest relative change of brightness and contrast, drawn per frame.
        precision: Of the training's forward passes; frames are scored in fp32.
    """

    epochs: int = 8
    batch_size: int = 16
    lr: float = 1e-3
    layer_decay: float = 0.75
    weight_decay: float = 0.05
    warmup_epochs: int = 2
    depth_weight: float = 2.0
    color_jitter: float = 0.3
    precision: Precision = "fp32"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A linear probe of the frozen final features, trained at token resolution.

    Attributes:
        epochs: Passes over the training features.
        batch_size: Frames per step.
        lr: Learning rate, half a cosine to zero.
        weight_decay: AdamW's.
    """

    epochs: int = 30
    batch_size: int = 32
    lr: float = 1e-2
    weight_decay: float = 1e-2


class DensePredictor(nn.Module):
    """Backbone and head; the first `classes` channels are logits, the last one is log depth."""

    def __init__(self, backbone: VisionTransformer, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = DenseHead(backbone.embed_dim, classes + 1)
        _start_at_typical_depth(self.head.predict)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> (B, classes + 1, 2 H / patch, 2 W / patch)."""
        return self.head([final_features(self.backbone, image)])


def final_features(backbone: VisionTransformer, image: Tensor) -> Tensor:
    """The normalised output of the last block as a map, (B, D, H / patch, W / patch)."""
    maps = backbone.forward_intermediates(image, indices=1, norm=True, intermediates_only=True)
    assert isinstance(maps, list)
    return maps[0]


def fine_tune(
    backbone: VisionTransformer,
    train: LabelledFrames,
    test: LabelledFrames,
    classes: int,
    seed: int,
    config: FineTuning = FineTuning(),
) -> dict[str, float]:
    """Fine-tunes `backbone` in place on `train` and scores it on `test`.

    Returns:
        The metrics of `SemanticMeter` and `DepthMeter` at the resolution of the truth.
    """
    if config.precision == "bf16" and emulates_bf16():
        _log.warning("this CPU emulates bf16, ten times slower than fp32")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DensePredictor(backbone, classes)
    groups = timm.optim.param_groups_layer_decay(
        backbone, config.weight_decay, tuple(backbone.no_weight_decay()), layer_decay=config.layer_decay
    )
    groups += timm.optim.param_groups_weight_decay(model.head, config.weight_decay)
    for group in groups:
        group["lr"] = config.lr * group.pop("lr_scale", 1.0)
    optimizer = torch.optim.AdamW(groups)
    steps = -(-len(train) // config.batch_size)
    schedule = _cosine(optimizer, config.warmup_epochs * steps, config.epochs * steps)
    model.train()
    progress = tqdm(
        total=config.epochs * steps, desc=f"fine-tuning, seed {seed}", unit="step", leave=False, disable=None
    )
    for epoch in range(config.epochs):
        draws = generator(seed, epoch)
        order = torch.randperm(len(train), generator=draws)
        for batch in train.batches(config.batch_size, order):
            image, batch = _augment(batch, config.color_jitter, draws)
            with forward_in(config.precision, "cpu"):
                prediction = model(image)
            loss = _joint_loss(prediction, batch, config.depth_weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            progress.update()
    progress.close()
    model.eval()
    return _score(model, test, classes)


def linear_probe(
    backbone: VisionTransformer,
    train: LabelledFrames,
    test: LabelledFrames,
    classes: int,
    seed: int,
    config: Probe = Probe(),
) -> dict[str, float]:
    """Trains a linear map of the frozen features of `train` and scores it on `test`.

    Returns:
        The metrics of `SemanticMeter` and `DepthMeter` at the resolution of the truth.
    """
    backbone.eval()
    features = _extract(backbone, train)
    grid = (features.shape[2], features.shape[3])
    mean, std = features.mean((0, 2, 3)), features.std((0, 2, 3)) + 1e-5
    head = LinearHead(features.shape[1], classes + 1, mean=mean, std=std)
    _start_at_typical_depth(head.predict)
    optimizer = torch.optim.AdamW(head.parameters(), config.lr, weight_decay=config.weight_decay)
    steps = -(-len(train) // config.batch_size)
    schedule = _cosine(optimizer, 0, config.epochs * steps)
    small = LabelledFrames(train.image, resize_nearest(train.depth, grid), resize_nearest(train.semantic, grid))
    for epoch in range(config.epochs):
        order = torch.randperm(len(train), generator=generator(seed, epoch))
        for index in order.split(config.batch_size):
            loss = _joint_loss(head([features[index]]), small.select(index), 1.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def predict(image: Tensor) -> Tensor:
        return head([final_features(backbone, image)])

    return _score(predict, test, classes)


def _start_at_typical_depth(layer: nn.Linear | nn.Conv2d) -> None:
    """Zero bias for the classes, `TYPICAL_LOG_DEPTH` for the depth."""
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.bias[-1] = TYPICAL_LOG_DEPTH


def _cosine(optimizer: torch.optim.Optimizer, warmup: int, total: int) -> torch.optim.lr_scheduler.LRScheduler:
    after = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - warmup)
    if not warmup:
        return after
    before = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, total_iters=warmup)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [before, after], [warmup])


def _augment(batch: LabelledFrames, jitter: float, draws: torch.Generator) -> tuple[Tensor, LabelledFrames]:
    """Flips half of the frames and changes brightness and contrast; no crops, which would change metric depth."""
    flip = torch.rand(len(batch), generator=draws) < 0.5

    def mirrored(x: Tensor) -> Tensor:
        return torch.where(flip.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)

    image = mirrored(batch.image).float() / 255
    brightness, contrast = (1 + jitter * (2 * torch.rand(2, len(batch), 1, 1, 1, generator=draws) - 1)).unbind()
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (((image - mean) * contrast + mean) * brightness).clamp(0, 1)
    return normalise_image(image), LabelledFrames(batch.image, mirrored(batch.depth), mirrored(batch.semantic))


def _joint_loss(prediction: Tensor, batch: LabelledFrames, depth_weight: float) -> Tensor:
    """Cross-entropy plus the L1 loss of log depth at the resolution of the prediction (B, classes + 1, h, w)."""
    prediction = prediction.float()
    grid = (prediction.shape[2], prediction.shape[3])
    semantic = resize_nearest(batch.semantic, grid)
    depth = resize_nearest(batch.depth, grid)
    valid = depth > 0
    cross_entropy = functional.cross_entropy(
        prediction[:, :-1], semantic, ignore_index=IGNORE_LABEL, reduction="sum"
    ) / (semantic != IGNORE_LABEL).sum().clamp(min=1)
    difference = (prediction[:, -1:] - depth.clamp(min=0.1).log()).abs()
    return cross_entropy + depth_weight * (difference * valid).sum() / valid.sum().clamp(min=1)


@torch.no_grad()
def _extract(backbone: VisionTransformer, frames: LabelledFrames) -> Tensor:
    maps = []
    for batch in frames.batches(32):
        maps.append(final_features(backbone, batch.normalized()))
    return torch.cat(maps)


@torch.no_grad()
def _score(model: Callable[[Tensor], Tensor], frames: LabelledFrames, classes: int) -> dict[str, float]:
    semantic, depth = SemanticMeter(classes), DepthMeter()
    for batch in frames.batches(8):
        output = model(batch.normalized())
        prediction = upsample(output, (batch.semantic.shape[1], batch.semantic.shape[2]))
        semantic.update(prediction[:, :-1].argmax(1), batch.semantic)
        depth.update(prediction[:, -1:].exp(), batch.depth)
    return semantic.compute() | depth.compute()
