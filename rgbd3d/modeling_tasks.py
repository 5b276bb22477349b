"""Fine-tuned models as transformers knows them: the networks of `rgbd3d.downstream` with its arguments and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from timm.models.vision_transformer import Block
from torch import Tensor
from transformers.modeling_outputs import DepthEstimatorOutput, ModelOutput, SemanticSegmenterOutput
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from rgbd3d.cards import ForeignBackbone
from rgbd3d.configuration import RgbdConfig
from rgbd3d.downstream.base import DenseNetwork, TaskNetwork
from rgbd3d.downstream.network import build_task_network, particulars_of
from rgbd3d.downstream.sections import TaskSections
from rgbd3d.modeling_base import RgbdPreTrainedModel
from rgbd3d.strict_yaml import plain


class RgbdForTask(RgbdPreTrainedModel):
    """What the models of all tasks share.

    Attributes:
        task: Name of the task.
        model: The network, of `rgbd3d.downstream`.
    """

    task: ClassVar[str]
    network_name = "model"
    base_model_prefix = "model"
    model: TaskNetwork

    # Only the backbone's blocks: the decoder of pre-training as a head has some of the same class.
    _can_record_outputs = {"hidden_states": OutputRecorder(Block, layer_name="backbone.blocks")}  # noqa: RUF012

    def __init__(self, config: RgbdConfig):
        super().__init__(config)
        if config.task != self.task:
            found = f"a model for {config.task}" if config.task else "a pre-trained backbone, which has no head"
            remedy = f'rgbd3d.create_model(NAME, task="{self.task}") puts a new head on a pre-trained backbone'
            raise ValueError(f"{type(self).__name__} is for {self.task}, but config.json describes {found}; {remedy}")
        network = build_task_network(config.task_sections)
        if isinstance(config.backbone_section, ForeignBackbone):
            config.foreign = plain(particulars_of(network))  # so that it is saved, and built again offline
        self._wrap(network)

    def predict(self, images: Tensor, size: tuple[int, int] | Literal["frame", "height"] | None = None) -> Any:
        """Predicts for frames as they are, uint8 (B, 3, H, W); see `rgbd3d.downstream.base.TaskNetwork.predict`."""
        return self.model.predict(images, size)

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        backbone: Any = self.model.backbone
        if hasattr(backbone, "set_grad_checkpointing"):
            backbone.set_grad_checkpointing(enable)
        elif enable:
            backbone.gradient_checkpointing_enable()
        else:
            backbone.gradient_checkpointing_disable()
        head: Any = self.model.head
        if hasattr(head, "set_grad_checkpointing"):
            head.set_grad_checkpointing(enable)
        self.gradient_checkpointing = enable  # what `is_gradient_checkpointing` looks for

    def _compared(self, pixel_values: Tensor, labels: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Loss, where there are labels, and prediction of a dense network, from one pass."""
        network: Any = self.model
        assert isinstance(network, DenseNetwork)
        decoded = network.decode(pixel_values)
        loss = None if labels is None else network.compare(decoded, {network.inputs[1]: labels})[0]
        return loss, network.prediction(decoded)


class RgbdForSemanticSegmentation(RgbdForTask):
    """One class per pixel: `AutoModelForSemanticSegmentation`."""

    task = "semantic-segmentation"

    @capture_outputs
    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> SemanticSegmenterOutput:
        """Predicts, and compares with labels where there are some.

        Args:
            pixel_values: (B, 3, H, W), normalised; H and W are multiples of the patch.
            labels: int64 (B, H', W') of any size, train ids; 255 = ignore.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `logits` (B, num_labels, h, w), of Mask2Former scores for an argmax, at the resolution of the head, which
            `RgbdImageProcessor` enlarges; `loss` of `rgbd3d.downstream`; `hidden_states`, the embedded patches and the
            output of each block (of timm's plain vision transformers; empty for other backbones).

        Raises:
            ValueError: A label is no class of the model.
        """
        loss, logits = self._compared(pixel_values, labels)
        return SemanticSegmenterOutput(loss=loss, logits=logits)


class RgbdForDepthEstimation(RgbdForTask):
    """Metres per pixel: `AutoModelForDepthEstimation`."""

    task = "depth-estimation"

    @capture_outputs
    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> DepthEstimatorOutput:
        """Predicts, and compares with measured depth where there is some.

        Args:
            pixel_values: (B, 3, H, W), normalised; H and W are multiples of the patch.
            labels: float (B, H', W') or (B, 1, H', W') of any size, metres; 0 = no measurement.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `predicted_depth` (B, h, w), metres at the resolution of the head, which `RgbdImageProcessor` enlarges;
            `loss` of `rgbd3d.downstream`; `hidden_states`, the embedded patches and the output of each block (of timm's
            plain vision transformers; empty for other backbones).
        """
        if labels is not None and labels.ndim == 3:
            labels = labels[:, None]
        loss, metres = self._compared(pixel_values, labels)
        return DepthEstimatorOutput(loss=loss, predicted_depth=metres[:, 0])


@dataclass
class RgbdForInstanceSegmentationOutput(ModelOutput):
    """What `RgbdForInstanceSegmentation` returns; `RgbdImageProcessor` turns the objects into one map of segments.

    Attributes:
        loss: Sum of `losses`.
        losses: The parts of the loss by name, detached.
        objects: In evaluation, for each image: `boxes` float (N, 4), x1, y1, x2, y2 in pixels; `labels` int64 (N,), 1 +
            the class of `config.id2label`; `scores` float (N,), falling; `masks` float (N, 1, H, W), probabilities.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    objects: list[dict[str, Tensor]] | None = None


class RgbdForInstanceSegmentation(RgbdForTask):
    """Objects with boxes and masks: `AutoModelForInstanceSegmentation`."""

    task = "instance-segmentation"

    @can_return_tuple
    def forward(
        self, pixel_values: Tensor, labels: Mapping[str, Tensor] | None = None, **kwargs: Any
    ) -> RgbdForInstanceSegmentationOutput:
        """Finds objects in evaluation mode, and compares with labels where there are some.

        Args:
            pixel_values: (B, 3, H, W), normalised; H and W are multiples of the patch.
            labels: `semantic`, int64 (B, H, W), train ids of the objective's label space, 255 = ignore; `instance`, int
                (B, H, W), 0 = none. Needed in training mode.
            **kwargs: `return_dict`.

        Returns:
            See `RgbdForInstanceSegmentationOutput`.

        Raises:
            ValueError: Training mode without labels, labels of another size than the images, or ids out of range.
        """
        loss, losses = None, None
        if labels is not None:
            loss, losses = self.model.loss({"image": pixel_values, **labels})
        objects = None if self.training and labels is not None else self.model(pixel_values)
        return RgbdForInstanceSegmentationOutput(loss, losses, objects)


TASK_MODELS: dict[str, type[RgbdForTask]] = {
    model.task: model for model in (RgbdForSemanticSegmentation, RgbdForDepthEstimation, RgbdForInstanceSegmentation)
}
"""Class by task, a key of `rgbd3d.tasks.TASKS`."""


def task_model(sections: TaskSections) -> RgbdForTask:
    """Builds the model of a task, initialised from torch's global generator.

    Args:
        sections: Backbone, objective and classes.
    """
    config = RgbdConfig.from_sections(sections)
    return TASK_MODELS[str(config.task)](config)
