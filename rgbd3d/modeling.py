"""The Hugging Face face: every model class of the library, and their registration with the Auto classes.

Importing this module registers `AutoConfig`, `AutoModel`, `AutoBackbone`, `AutoModelForPreTraining`, the classes of the
tasks (`rgbd3d.modeling_tasks`) and `AutoImageProcessor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForDepthEstimation,
    AutoModelForImageSegmentation,
    AutoModelForInstanceSegmentation,
    AutoModelForPreTraining,
    AutoModelForSemanticSegmentation,
)
from transformers.backbone_utils import BackboneMixin
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import PrefixChange
from transformers.modeling_outputs import BackboneOutput, BaseModelOutputWithPooling, ModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from rgbd3d.backbones.vit import RgbdViT, build_vit
from rgbd3d.cards import Card
from rgbd3d.configuration import RgbdConfig
from rgbd3d.methods import MAE, Mask3D, build_method
from rgbd3d.modeling_base import IncompleteCheckpointError, RgbdPreTrainedModel, write_companions
from rgbd3d.modeling_tasks import (
    TASK_MODELS,
    RgbdForDepthEstimation,
    RgbdForInstanceSegmentation,
    RgbdForSemanticSegmentation,
    RgbdForTask,
)
from rgbd3d.processing import RgbdImageProcessor

__all__ = [
    "IncompleteCheckpointError",
    "RgbdBackbone",
    "RgbdConfig",
    "RgbdForDepthEstimation",
    "RgbdForInstanceSegmentation",
    "RgbdForPreTraining",
    "RgbdForPreTrainingOutput",
    "RgbdForSemanticSegmentation",
    "RgbdImageProcessor",
    "RgbdModel",
    "RgbdPreTrainedModel",
    "model_from_card",
    "write_companions",
]


class RgbdModel(RgbdPreTrainedModel):
    """The RGB backbone: `AutoModel`.

    Attributes:
        backbone: The timm vision transformer.
    """

    backbone: RgbdViT

    def __init__(self, config: RgbdConfig):
        super().__init__(config)
        self._wrap(build_vit(config.own_section))

    @capture_outputs
    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Encodes images.

        Args:
            pixel_values: (B, 3, H, W), normalised; H and W are multiples of the patch.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` (B, prefix + N, D) after the final norm, patches in raster order behind the class token
            if there is one; `pooler_output` (B, D), the mean over patches; `hidden_states`, the embedded patches and
            the output of each block, the last one after the final norm.
        """
        tokens = self.backbone.forward_features(pixel_values)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=self.backbone.forward_head(tokens))

    def forward_intermediates(self, pixel_values: Tensor, indices: int | list[int] | None = None, **kwargs: Any) -> Any:
        """Dense features of several blocks.

        Args:
            pixel_values: (B, 3, H, W), normalised.
            indices: The last n blocks, chosen blocks, or all.
            **kwargs: timm's, for example `norm=True` or `intermediates_only=True`.

        Returns:
            As timm: (final tokens, list of (B, D, H / patch, W / patch)).
        """
        return self.backbone.forward_intermediates(pixel_values, indices=indices, **kwargs)


class RgbdBackbone(BackboneMixin, RgbdPreTrainedModel):
    """The RGB backbone for transformers' dense heads: `AutoBackbone`, with `out_indices=` or `out_features=`.

    Feature maps are those of `forward_intermediates`: the raw output of each chosen block. Stage i is block i.
    `AutoBackbone.from_pretrained` asks the Hub; for a folder on disk use `RgbdBackbone.from_pretrained`.
    """

    backbone: RgbdViT
    has_attentions = False

    def __init__(self, config: RgbdConfig):
        super().__init__(config)
        self.num_features = [config.num_features] * config.num_hidden_layers
        self._wrap(build_vit(config.own_section))

    @can_return_tuple
    def forward(self, pixel_values: Tensor, output_hidden_states: bool | None = None, **kwargs: Any) -> BackboneOutput:
        """Feature maps of the chosen blocks.

        Args:
            pixel_values: (B, 3, H, W), normalised.
            output_hidden_states: Also return the maps of all blocks.
            **kwargs: `return_dict`; others that heads pass are ignored.

        Returns:
            `feature_maps`, a tuple of (B, D, H / patch, W / patch).
        """
        chosen = [self.stage_names.index(name) for name in self.out_features]
        indices = None if output_hidden_states else chosen
        maps: Any = self.backbone.forward_intermediates(pixel_values, indices=indices, intermediates_only=True)
        if not output_hidden_states:
            return BackboneOutput(feature_maps=tuple(maps))
        features: Any = tuple(maps[i] for i in chosen)
        return BackboneOutput(feature_maps=features, hidden_states=tuple(maps))


@dataclass
class RgbdForPreTrainingOutput(ModelOutput):
    """`rgbd3d.types.PretrainingOutput` as a transformers output; the same fields."""

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    reconstruction: dict[str, Tensor] | None = None
    masks: dict[str, Tensor] | None = None


class RgbdForPreTraining(RgbdPreTrainedModel):
    """A whole pre-training method, encoders and decoder: `AutoModelForPreTraining`.

    Attributes:
        method: The module of `rgbd3d.methods`.
    """

    network_name = "method"
    base_model_prefix = "method"
    method: MAE | Mask3D

    def __init__(self, config: RgbdConfig):
        super().__init__(config)
        self._wrap(build_method(config.method_sections))  # type: ignore[arg-type]  # all that it reads of a card

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        depth_values: Tensor | None = None,
        depth_metres: Tensor | None = None,
        semantic: Tensor | None = None,
        generator: torch.Generator | None = None,
        masks: dict[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> RgbdForPreTrainingOutput:
        """One pre-training step on the tensors of `RgbdImageProcessor`; the method takes those that it needs.

        Args:
            pixel_values: (B, 3, H, W), normalised.
            depth_values: (B, 1, H, W), standardised depth.
            depth_metres: (B, 1, H, W) in metres, 0 = no measurement.
            semantic: int64 (B, H, W), labels.
            generator: Source of the random masks; torch's default generator if not given.
            masks: bool (B, N) by modality, True = visible, instead of drawing.
            **kwargs: `return_dict`.

        Returns:
            Loss, its parts, predictions and masks.

        Raises:
            ValueError: The method needs an input that is not given.
        """
        frame = {"image": pixel_values, "depth": depth_values, "depth_metres": depth_metres, "semantic": semantic}
        inputs: dict[str, Any] = {name: frame[name] for name in self.method.inputs}
        if absent := [name for name, value in inputs.items() if value is None]:
            raise ValueError(f"{self.config.method} also needs {', '.join(absent)}; RgbdImageProcessor makes depth's")
        output = self.method(**inputs, generator=generator, masks=masks)
        return RgbdForPreTrainingOutput(output.loss, output.losses, output.reconstruction, output.masks)


def model_from_card(card: Card, task: str | None = None) -> RgbdModel | RgbdForPreTraining | RgbdForTask:
    """Builds a card's model, initialised from torch's global generator; loads nothing.

    Args:
        card: Describes it.
        task: None for what the card describes, the RGB backbone or a fine-tuned model; "pretraining" for the whole
            pre-training model.
    """
    config = RgbdConfig.from_card(card)
    if task is not None:
        return RgbdForPreTraining(config)
    return RgbdModel(config) if card.task is None else TASK_MODELS[card.task](config)


_MODELS: tuple[type[RgbdPreTrainedModel], ...] = (RgbdModel, RgbdBackbone, RgbdForPreTraining, *TASK_MODELS.values())
for _class in _MODELS:
    register_checkpoint_conversion_mapping(
        _class.__name__, [PrefixChange(prefix_to_add=_class.network_name)], overwrite=True
    )
AutoConfig.register(RgbdConfig.model_type, RgbdConfig, exist_ok=True)
AutoModel.register(RgbdConfig, RgbdModel, exist_ok=True)
AutoBackbone.register(RgbdConfig, RgbdBackbone, exist_ok=True)
AutoModelForPreTraining.register(RgbdConfig, RgbdForPreTraining, exist_ok=True)
AutoModelForSemanticSegmentation.register(RgbdConfig, RgbdForSemanticSegmentation, exist_ok=True)
AutoModelForDepthEstimation.register(RgbdConfig, RgbdForDepthEstimation, exist_ok=True)
AutoModelForInstanceSegmentation.register(RgbdConfig, RgbdForInstanceSegmentation, exist_ok=True)
# The only other class that the pipeline "image-segmentation" tries; ours refuses what is no model of its task.
AutoModelForImageSegmentation.register(RgbdConfig, RgbdForInstanceSegmentation, exist_ok=True)
AutoImageProcessor.register(RgbdConfig, image_processor_classes={"torchvision": RgbdImageProcessor}, exist_ok=True)
# Before that pipeline calls a model unsupported it looks into a copy of this table, which has no registered classes.
cast(dict[str, Any], MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES)[RgbdConfig.model_type] = (
    RgbdForSemanticSegmentation.__name__,
    RgbdForInstanceSegmentation.__name__,
)
