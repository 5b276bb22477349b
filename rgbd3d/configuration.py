"""What `config.json` of a Hub folder holds: timm's fields and the sections of the card that the architecture needs."""

import json
from dataclasses import dataclass
from typing import Any, Self

from huggingface_hub.dataclasses import strict
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers import PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

from rgbd3d import strict_yaml
from rgbd3d.backbones.vit import SIZES, timm_config
from rgbd3d.cards import Backbone, Card
from rgbd3d.objectives import OBJECTIVES, Objective

# Annotations are not postponed in this file: `strict` checks the types themselves, not their names.

REMOTE_MODULE = "modeling_rgbd3d"
_AUTO_MAP = {
    "AutoConfig": f"{REMOTE_MODULE}.RgbdConfig",
    "AutoModel": f"{REMOTE_MODULE}.RgbdModel",
    "AutoBackbone": f"{REMOTE_MODULE}.RgbdBackbone",
    "AutoModelForPreTraining": f"{REMOTE_MODULE}.RgbdForPreTraining",
    "AutoImageProcessor": f"{REMOTE_MODULE}.RgbdImageProcessor",
}


@dataclass(frozen=True)
class MethodSections:
    """The part of a card from which `rgbd3d.methods.build_method` builds."""

    method: str
    backbone: Backbone
    objective: Objective


@strict
class RgbdConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of all models of the library; only keywords, and wrong types are refused.

    timm's fields follow from `backbone`. Where a file gives them they have to agree with it, because plain timm builds
    the network from them.

    Attributes:
        backbone: The card's backbone section.
        method: Name of the pre-training method, if the whole pre-training model is described.
        objective: The card's objective section.
        architecture: timm's name of the network.
        model_args: What timm's `create_model` needs beside it.
        pretrained_cfg: timm's preprocessing.
        num_classes: 0: there is no classifier.
        num_features: Width of the features.
        global_pool: How features are pooled.
        stage_names: One per block; stage i is block i, as in `forward_intermediates`.
    """

    model_type = "rgbd3d"
    has_no_defaults_at_init = True

    backbone: dict[str, Any]
    method: str | None = None
    objective: dict[str, Any] | None = None
    architecture: str | None = None
    model_args: dict[str, Any] | None = None
    pretrained_cfg: dict[str, Any] | None = None
    num_classes: int = 0
    num_features: int | None = None
    global_pool: str | None = None
    stage_names: list[str] | None = None
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        spec = self.backbone_section
        for name, value in _timm_fields(spec).items():
            given = getattr(self, name)
            if given is not None and given != value:
                raise ValueError(
                    f"config.json contradicts itself: its backbone section needs {name} = {value}, not {given}"
                )
            setattr(self, name, value)
        self.pretrained_cfg = self.pretrained_cfg or _preprocessing(spec)
        if self.method is not None:
            self.method_sections  # noqa: B018 - reading it checks it
        self.stage_names = [f"block{i}" for i in range(self.num_hidden_layers)]
        self.set_output_features_output_indices(kwargs.pop("out_features", None), kwargs.pop("out_indices", None))
        super().__post_init__(**{"auto_map": dict(_AUTO_MAP), "dtype": "float32", **kwargs})

    @classmethod
    def from_card(cls, card: Card) -> Self:
        """Configuration of a card's models."""
        return cls(
            backbone=strict_yaml.plain(card.backbone),
            method=card.method,
            objective=strict_yaml.plain(card.objective),
        )

    @property
    def backbone_section(self) -> Backbone:
        """`backbone`, read as strictly as in a card."""
        section: Backbone = _read(self.backbone, Backbone, "backbone")
        return section

    @property
    def method_sections(self) -> MethodSections:
        """What the pre-training method is built from, read as strictly as in a card.

        Raises:
            ValueError: The configuration describes only a backbone, or an unknown method.
        """
        if self.method not in OBJECTIVES or self.objective is None:
            known = ", ".join(OBJECTIVES)
            raise ValueError(f"config.json describes no pre-training method (method: {self.method!r}; known: {known})")
        objective: Objective = _read(self.objective, OBJECTIVES[self.method], "objective")
        return MethodSections(self.method, self.backbone_section, objective)

    @property
    def num_hidden_layers(self) -> int:
        """Number of blocks."""
        return SIZES[self.backbone_section.architecture].depth

    @property
    def hidden_size(self) -> int:
        """Width of the features."""
        return SIZES[self.backbone_section.architecture].dim

    @property
    def patch_size(self) -> int:
        """Pixels per patch side."""
        return self.backbone_section.patch_size


def _read(section: dict[str, Any], kind: type, path: str) -> Any:
    return strict_yaml.read(strict_yaml.compose(json.dumps(section), "config.json"), kind, path)


def _timm_fields(spec: Backbone) -> dict[str, Any]:
    fields = timm_config(spec)
    # timm records the number of classes beside the arguments; transformers' timm wrapper breaks on a second one.
    arguments = {name: value for name, value in fields["model_args"].items() if name != "num_classes"}
    return {
        "architecture": fields["architecture"],
        "model_args": arguments,
        "num_features": SIZES[spec.architecture].dim,
        "global_pool": arguments["global_pool"],
    }


def _preprocessing(spec: Backbone) -> dict[str, Any]:
    """Timm's description of the inputs; "squash" resizes to the size as `RgbdImageProcessor` does."""
    return {
        "input_size": [3, *spec.image_size],
        "fixed_input_size": False,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": list(IMAGENET_DEFAULT_MEAN),
        "std": list(IMAGENET_DEFAULT_STD),
        "num_classes": 0,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }
