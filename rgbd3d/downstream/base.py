"""What all task networks share: a backbone, a head, a loss of a batch and a prediction for frames of any size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from rgbd3d.backbones.drop_path import set_drop_path
from rgbd3d.backbones.vit import RgbdViT
from rgbd3d.data.batch import IMAGENET_MEAN, IMAGENET_STD, denormalise_image, normalise_image
from rgbd3d.data.resize import resize_color
from rgbd3d.downstream.heads import Reading
from rgbd3d.downstream.levels import levels_of, read_levels
from rgbd3d.heads.upsample import upsample
from rgbd3d.tasks import TaskObjective

Size = tuple[int, int]
"""(height, width) in pixels."""

Losses = dict[str, Tensor]
"""The parts of a loss by name: scalars, detached."""


@dataclass(frozen=True)
class Preprocessing:
    """How frames become the input of a network.

    Attributes:
        size: (height, width) that `predict` resizes to by default; multiples of the patch.
        mean: Of the pixels of each channel in 0..1, to be subtracted.
        std: By which they are divided.
    """

    size: Size
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def from_imagenet(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) that are normalised with ImageNet's mean and deviation, normalised with these."""
        if (tuple(self.mean), tuple(self.std)) == (IMAGENET_MEAN, IMAGENET_STD):
            return image
        return normalise_image(denormalise_image(image), self.mean, self.std)


class TaskNetwork(nn.Module, ABC):
    """A backbone and a head that are trained together for one task.

    Weights are named `backbone.*`, as timm or transformers names them, and `head.*`.

    Args:
        backbone: Is used, not copied; takes images of any size that its strides divide.
        objective: Section of a card: head, drop path and whether the backbone is frozen.
        classes: Names of the classes; none for depth.
        preprocessing: Of the frames that `predict` is given.

    Attributes:
        inputs: Entries of a batch that `loss` takes.
        backbone: The encoder.
        levels: The feature maps that it offers.
        head: Everything else.
    """

    inputs: ClassVar[tuple[str, ...]]
    head: nn.Module

    def __init__(
        self,
        backbone: nn.Module,
        objective: TaskObjective,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__()
        self.objective, self.classes, self.preprocessing = objective, classes, preprocessing
        self.backbone = backbone
        self.levels = levels_of(backbone)
        self.head = self._build_head()
        self.frozen = getattr(objective, "freeze_backbone", False)
        if self.frozen:
            backbone.requires_grad_(False)
        set_drop_path(backbone, objective.drop_path)
        self.train(self.training)

    @property
    def patch_size(self) -> Size:
        """(height, width) of a patch in pixels, in a hierarchical backbone of a cell of its coarsest map."""
        stride = self.levels[-1].stride
        return stride, stride

    @property
    def image_size(self) -> Size:
        """(height, width) of the images that the network is trained on."""
        return self.preprocessing.size

    def train(self, mode: bool = True) -> Self:
        """As in torch, but a frozen backbone stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Starts the backbone from trained weights.

        Raises:
            RuntimeError: A weight is missing, unexpected or of another shape.
            ValueError: Its positions are learnt ones, which the backbone has not.
        """
        if isinstance(self.backbone, RgbdViT):
            self.backbone.load_weights(dict(state))
        else:
            self.backbone.load_state_dict(state, strict=True)

    @abstractmethod
    def forward(self, image: Tensor) -> Any:
        """Predicts at the resolution of the head.

        Args:
            image: float (B, 3, H, W), normalised; H and W are multiples of the patch.
        """

    @abstractmethod
    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Losses]:
        """The loss of a batch.

        Args:
            batch: What `inputs` names; `image` is normalised.

        Returns:
            The scalar to minimise, and its parts. Finite and without gradient where nothing is labelled.

        Raises:
            ValueError: A label is no class of the network, or shapes differ.
        """

    def predict(self, images: Tensor, size: Size | Literal["frame", "height"] | None = None) -> Any:
        """Predicts for frames as they are, in evaluation mode and without gradients.

        Args:
            images: uint8 (B, 3, H, W) of any size.
            size: (height, width) that the network sees, multiples of the patch; "frame" is the frame's own size,
                "height" the height it was trained at with the frame's aspect, both rounded to the patch; None is the
                size it was trained at.

        Returns:
            What the protocols of the task score (`rgbd3d.evaluation`), at the size of the frames.

        Raises:
            ValueError: Images of another type or shape, or a size that the patch does not divide.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or not len(images):
            kind = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise ValueError(f"images to predict for are uint8 (B, 3, H, W), at least one, not {kind}")
        frame = (images.shape[-2], images.shape[-1])
        with _evaluating(self), torch.no_grad():
            return self._predict(self._prepared(images, self._size(frame, size)), frame)

    @abstractmethod
    def trace(self, image: Tensor) -> Tensor:
        """A continuous function of all weights and of one normalised image, by which a copy is recognised."""

    @abstractmethod
    def _build_head(self) -> nn.Module: ...

    @abstractmethod
    def _predict(self, image: Tensor, frame: Size) -> Any:
        """The prediction of normalised images, at the size of the frames."""

    def _read(self, image: Tensor, reading: Reading) -> list[Tensor]:
        """Features of the backbone, (B, D, h, w) each."""
        return read_levels(self.backbone, self.levels, image, reading.blocks, normed=reading.normed)

    def _size(self, frame: Size, size: Size | Literal["frame", "height"] | None) -> Size:
        rows, columns = self.patch_size
        if isinstance(size, str):
            if size not in ("frame", "height"):
                raise ValueError(f"size should be (height, width), 'frame' or 'height', not {size!r}")
            scale = 1 if size == "frame" else self.image_size[0] / frame[0]
            wanted = ((frame[0] * scale, rows), (frame[1] * scale, columns))
            height, width = (max(round(side / patch), 1) * patch for side, patch in wanted)
            return height, width
        height, width = self.image_size if size is None else size
        if height < 1 or width < 1 or height % rows or width % columns:
            raise ValueError(f"size ({height}, {width}) should be a positive multiple of the patch ({rows}, {columns})")
        return height, width

    def _prepared(self, images: Tensor, size: Size) -> Tensor:
        # As in training: bytes are resized on the CPU, where torch has a kernel for them.
        resized = torch.stack([resize_color(image, size) for image in images.cpu()])
        weight = next(self.parameters())
        pixels = resized.to(weight.device).float() / 255
        return normalise_image(pixels, self.preprocessing.mean, self.preprocessing.std).to(weight.dtype)


class DenseNetwork(TaskNetwork):
    """A network whose prediction is a map."""

    reading: Reading

    def forward(self, image: Tensor) -> Tensor:
        """Predicts float (B, channels, h, w) at the resolution of the head; see `TaskNetwork.forward`."""
        return self.prediction(self.decode(image))

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Losses]:
        """The loss of a batch at the resolution of the truth; see `TaskNetwork.loss`."""
        return self.compare(self.decode(batch["image"]), batch)

    def decode(self, image: Tensor) -> Any:
        """What the head makes of normalised images: `prediction` and `compare` take it."""
        return self.head(self._read(image, self.reading))

    @abstractmethod
    def prediction(self, decoded: Any) -> Tensor:
        """The prediction, float (B, channels, h, w), from what `decode` gives."""

    @abstractmethod
    def compare(self, decoded: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Losses]:
        """The loss of what `decode` gives, and its parts; `batch` as for `loss`, its `image` is not looked at."""

    def trace(self, image: Tensor) -> Tensor:
        """The prediction itself."""
        return self(image)

    def _predict(self, image: Tensor, frame: Size) -> Tensor:
        return upsample(self(image), frame)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
