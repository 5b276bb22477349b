"""The Hugging Face face: `PreTrainedModel` wrappers and their registration with the Auto classes.

Importing this module registers `AutoConfig`, `AutoModel`, `AutoBackbone`, `AutoModelForPreTraining` and
`AutoImageProcessor`. Files on disk hold the networks' own weight names, timm's for a backbone; the prefixes of the
wrappers never reach them. What a checkpoint lacks is an error: no weight is random where a trained one was asked for.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForPreTraining,
    PreTrainedModel,
)
from transformers.backbone_utils import BackboneMixin
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import PrefixChange
from transformers.modeling_outputs import BackboneOutput, BaseModelOutputWithPooling, ModelOutput
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from rgbd3d.backbones.vit import RgbdViT, build_vit
from rgbd3d.cards import Card
from rgbd3d.configuration import REMOTE_MODULE, RgbdConfig
from rgbd3d.methods import MAE, Mask3D, build_method
from rgbd3d.processing import RgbdImageProcessor

_REMOTE_CODE = '''"""Loads the classes from the installed package; this file executes nothing else."""

try:
    from rgbd3d.modeling import RgbdBackbone, RgbdConfig, RgbdForPreTraining, RgbdImageProcessor, RgbdModel
except ImportError as error:
    raise ImportError("this model needs the package rgbd3d: pip install rgbd3d") from error
'''


class IncompleteCheckpointError(RuntimeError):
    """A checkpoint whose weights are not exactly those of the model."""


class RgbdPreTrainedModel(PreTrainedModel):
    """What all wrappers share.

    Attributes:
        card: Describes the weights, where they were loaded and it is known; None for an untrained model.
        fixed: Names of the parameters that are never trained: position tables.
        network_name: The attribute that holds the wrapped network.
    """

    card: Card | None = None
    fixed: tuple[str, ...] = ()
    network_name: ClassVar[str] = "backbone"

    config_class = RgbdConfig  # transformers would take the postponed annotation for it, which is a string
    config: RgbdConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = "image"
    model_tags = ["rgbd3d"]  # noqa: RUF012 - as in every transformers model
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # otherwise Trainer takes the loss for a sum over items and divides it again
    _supports_sdpa = True
    _no_split_modules = {"Block"}  # noqa: RUF012
    _can_record_outputs = {"hidden_states": Block}  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in transformers, but a checkpoint that lacks a weight, or has one too many, is refused.

        Args:
            *args: Hub id or folder first, then transformers' arguments.
            output_loading_info: Return (model, information on the keys).
            **kwargs: transformers' arguments, for example `revision`, `dtype`, `attn_implementation`, `subfolder`.

        Raises:
            IncompleteCheckpointError: A weight is missing or unexpected.
        """
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        where = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        _require_exact(cls.__name__, f"{where}/{kwargs.get('subfolder', '')}".rstrip("/"), info)
        for name in model.fixed:  # transformers makes every parameter that it loads a trainable one
            model.get_parameter(name).requires_grad_(False)
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in transformers, and the two small files that make the folder load everywhere.

        Args:
            save_directory: Is created.
            *args: transformers' arguments.
            **kwargs: transformers' arguments.
        """
        write_companions(self.config, Path(save_directory))  # first, because the other may also upload the folder
        super().save_pretrained(save_directory, *args, **kwargs)

    def push_to_hub(  # type: ignore[override]  # transformers' would push a folder without card, example and pins
        self, repo_id: str, *, private: bool = False, branch: str = "main", token: str | None = None
    ) -> str:
        """Writes the whole Hub folder and pushes it: `rgbd3d.folder.save_pretrained_folder`, `rgbd3d.hub.push`.

        Args:
            repo_id: Repository, owner/name; is created if it does not exist.
            private: Create it private.
            branch: Branch to commit to.
            token: Access token with write permission; by default the one of `hf auth login` or HF_TOKEN.

        Returns:
            The commit, 40 hex digits.

        Raises:
            ValueError: Nothing says what the weights are: they are random, or were not loaded by rgbd3d's functions.
            HubError: The Hub refuses or fails.
        """
        from rgbd3d.folder import save_pretrained_folder
        from rgbd3d.hub import push

        if self.card is None:
            raise ValueError(
                "this model has no card: its weights are untrained, or were not loaded by rgbd3d. Load it with "
                "rgbd3d.from_pretrained; what you trained yourself: save_pretrained_folder with its card, `rgbd3d push`"
            )
        with tempfile.TemporaryDirectory() as parent:
            folder = save_pretrained_folder(self.network, self.card, Path(parent, "folder"))
            return push(folder, repo_id, private=private, branch=branch, token=token)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """As in torch; names may also be those on disk, because Trainer resumes from a file by this method."""
        prefix = f"{self.network_name}."
        renamed = {key if key.startswith(prefix) else prefix + key: value for key, value in state_dict.items()}
        return super().load_state_dict(renamed, *args, **kwargs)

    @property
    def network(self) -> nn.Module:
        """The wrapped network."""
        return self.get_submodule(self.network_name)

    def get_input_embeddings(self) -> None:  # type: ignore[override]  # as in transformers' own wrapper of timm
        """None: images are no tokens of a vocabulary."""

    def _wrap(self, network: nn.Module) -> None:
        """Makes `network` the wrapped one; the last step of every constructor."""
        if self.config._attn_implementation == "eager":
            for module in network.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = False  # type: ignore[assignment]  # mypy takes it for a tensor
        self.add_module(self.network_name, network)
        self.fixed = tuple(name for name, parameter in self.named_parameters() if not parameter.requires_grad)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # The networks' constructors initialise them, and `from_pretrained` refuses a checkpoint that lacks anything.
        pass

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        network: Any = self.network
        network.set_grad_checkpointing(enable)


def _require_exact(model: str, where: str, info: dict[str, Any]) -> None:
    problems = {
        "it lacks": set(info["missing_keys"]),
        "it has, but the model has not:": set(info["unexpected_keys"]),
        "it has in another shape:": {name for name, *_ in info["mismatched_keys"]},
    }
    found = [f"{problem} {_few(names)}" for problem, names in problems.items() if names]
    if found:
        raise IncompleteCheckpointError(
            f"{where} is no checkpoint of {model}: {'; '.join(found)}. A Hub folder has the backbone at its top and "
            'the whole pre-training model in subfolder="pretraining"; if the place is right, download it again'
        )


def _few(names: set[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(sorted(names)[:shown]) + rest


def write_companions(config: RgbdConfig, folder: Path) -> None:
    """Writes `preprocessor_config.json` and the file that `trust_remote_code=True` loads beside a `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    RgbdImageProcessor.for_backbone(config.backbone_section).save_pretrained(folder)
    (folder / f"{REMOTE_MODULE}.py").write_text(_REMOTE_CODE, encoding="utf-8")


class RgbdModel(RgbdPreTrainedModel):
    """The RGB backbone: `AutoModel`.

    Attributes:
        backbone: The timm vision transformer.
    """

    backbone: RgbdViT

    def __init__(self, config: RgbdConfig):
        super().__init__(config)
        self._wrap(build_vit(config.backbone_section))

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
        self._wrap(build_vit(config.backbone_section))

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


def model_from_card(card: Card, task: str | None = None) -> RgbdModel | RgbdForPreTraining:
    """Builds a card's model, initialised from torch's global generator; loads nothing.

    Args:
        card: Describes it.
        task: None for the RGB backbone, "pretraining" for the whole pre-training model.
    """
    config = RgbdConfig.from_card(card)
    return RgbdModel(config) if task is None else RgbdForPreTraining(config)


for _class in (RgbdModel, RgbdBackbone, RgbdForPreTraining):
    register_checkpoint_conversion_mapping(
        _class.__name__, [PrefixChange(prefix_to_add=_class.network_name)], overwrite=True
    )
AutoConfig.register(RgbdConfig.model_type, RgbdConfig, exist_ok=True)
AutoModel.register(RgbdConfig, RgbdModel, exist_ok=True)
AutoBackbone.register(RgbdConfig, RgbdBackbone, exist_ok=True)
AutoModelForPreTraining.register(RgbdConfig, RgbdForPreTraining, exist_ok=True)
AutoImageProcessor.register(RgbdConfig, image_processor_classes={"torchvision": RgbdImageProcessor}, exist_ok=True)
