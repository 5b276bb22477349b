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
from rgbd3d.cards import Backbone, Card, ForeignBackbone, backbone_type, own_backbone
from rgbd3d.downstream.sections import Particulars, TaskSections, class_names_of
from rgbd3d.foreign_code import refuse_foreign_code
from rgbd3d.objectives import OBJECTIVES, Objective
from rgbd3d.tasks import TASKS, DepthEstimation, InstanceSegmentation, TaskObjective

# Annotations are not postponed in this file: `strict` checks the types themselves, not their names.

REMOTE_MODULE = "modeling_rgbd3d"
_AUTO_CLASSES = {
    "AutoConfig": "RgbdConfig",
    "AutoModel": "RgbdModel",
    "AutoBackbone": "RgbdBackbone",
    "AutoImageProcessor": "RgbdImageProcessor",
}
_AUTO_CLASSES_OF_TASKS = {
    None: {"AutoModelForPreTraining": "RgbdForPreTraining"},
    "semantic-segmentation": {"AutoModelForSemanticSegmentation": "RgbdForSemanticSegmentation"},
    "depth-estimation": {"AutoModelForDepthEstimation": "RgbdForDepthEstimation"},
    "instance-segmentation": {
        "AutoModelForInstanceSegmentation": "RgbdForInstanceSegmentation",
        "AutoModelForImageSegmentation": "RgbdForInstanceSegmentation",  # for pipelines
    },
}


@dataclass(frozen=True)
class MethodSections:
    """The part of a card from which `rgbd3d.methods.build_method` builds."""

    method: str
    backbone: Backbone
    objective: Objective


@dataclass(frozen=True)
class _Numbers:
    """What is read of `RgbdConfig.foreign`."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stride: int


@strict
class RgbdConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of all models of the library; only keywords, and wrong types are refused.

    timm's fields follow from `backbone`. Where a file gives them they have to agree with it, because plain timm builds
    the network from them.

    Attributes:
        backbone: The card's backbone section.
        method: Name of the pre-training method.
        task: What a fine-tuned model does, a key of `rgbd3d.tasks.TASKS`; None for pre-training.
        objective: The card's objective section: of the task where there is one, of the method otherwise. None for a
            backbone alone.
        foreign: `rgbd3d.downstream.sections.Particulars` of a backbone of another library; it has none of timm's fields
            below.
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
    task: str | None = None
    objective: dict[str, Any] | None = None
    foreign: dict[str, Any] | None = None
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
        refuse_foreign_code(kwargs, "config.json, or an argument,")
        spec = self.backbone_section
        if isinstance(spec, Backbone):
            self._describe_for_timm(spec)
        if self.task is not None:
            self._name_classes(kwargs.get("num_labels"))
        elif self.method is not None:
            self.method_sections  # noqa: B018 - reading it checks it
        features, indices = kwargs.pop("out_features", None), kwargs.pop("out_indices", None)
        if isinstance(spec, Backbone):
            self.stage_names = [f"block{i}" for i in range(self.num_hidden_layers)]
            self.set_output_features_output_indices(features, indices)
        classes = {**_AUTO_CLASSES, **_AUTO_CLASSES_OF_TASKS[self.task]}
        auto_map = {auto: f"{REMOTE_MODULE}.{ours}" for auto, ours in classes.items()}
        super().__post_init__(**{"auto_map": auto_map, "dtype": "float32", **kwargs})
        if self.task is not None:
            self.task_sections  # noqa: B018 - as above

    def _describe_for_timm(self, spec: Backbone) -> None:
        """Sets timm's fields.

        Raises:
            ValueError: One is given otherwise.
        """
        for name, value in _timm_fields(spec).items():
            given = getattr(self, name)
            if given is not None and given != value:
                raise ValueError(
                    f"config.json contradicts itself: its backbone section needs {name} = {value}, not {given}"
                )
            setattr(self, name, value)
        self.pretrained_cfg = self.pretrained_cfg or _preprocessing(spec)

    @classmethod
    def from_card(cls, card: Card, particulars: Particulars | None = None) -> Self:
        """Configuration of a card's models; with the particulars of a backbone of another library, if it has one."""
        return cls(
            backbone=strict_yaml.plain(card.backbone),
            method=card.method,
            task=card.task,
            objective=strict_yaml.plain(card.objective),
            foreign=None if particulars is None else strict_yaml.plain(particulars),
        )

    @classmethod
    def from_sections(cls, sections: TaskSections) -> Self:
        """Configuration of a model for a task, without a card."""
        tasks = {kind: task for task, kind in TASKS.items()}
        classes: dict[str, Any] = {"id2label": dict(enumerate(sections.classes))} if sections.classes else {}
        return cls(
            backbone=strict_yaml.plain(sections.backbone),
            task=tasks[type(sections.objective)],
            objective=strict_yaml.plain(sections.objective),
            **classes,
        )

    @classmethod
    def for_backbone(cls, backbone: Backbone) -> Self:
        """Configuration of a backbone alone: of `AutoModel` and `AutoBackbone`."""
        return cls(backbone=strict_yaml.plain(backbone))

    @property
    def backbone_section(self) -> Backbone | ForeignBackbone:
        """`backbone`, read as strictly as in a card."""
        section: Backbone | ForeignBackbone = _read(self.backbone, backbone_type(self.backbone), "backbone")
        return section

    @property
    def own_section(self) -> Backbone:
        """`backbone_section` of a network of this library.

        Raises:
            ValueError: It is of another library.
        """
        return own_backbone(self.backbone_section)

    @property
    def particulars(self) -> Particulars | None:
        """`foreign`, checked; None if it is not known, or for a backbone of this library.

        Raises:
            ValueError: Something else than numbers where numbers are needed.
        """
        if self.foreign is None:
            return None
        rest = {name: value for name, value in self.foreign.items() if name != "config"}
        numbers: _Numbers = _read(rest, _Numbers, "foreign")
        return Particulars(numbers.mean, numbers.std, numbers.stride, self.foreign.get("config"))

    @property
    def method_sections(self) -> MethodSections:
        """What the pre-training method is built from, read as strictly as in a card.

        Raises:
            ValueError: The configuration describes only a backbone, a fine-tuned model, or an unknown method.
        """
        if self.task is not None:
            raise ValueError(f"config.json describes a model for {self.task}, no pre-training method")
        if self.method not in OBJECTIVES or self.objective is None:
            known = ", ".join(OBJECTIVES)
            raise ValueError(f"config.json describes no pre-training method (method: {self.method!r}; known: {known})")
        objective: Objective = _read(self.objective, OBJECTIVES[self.method], "objective")
        return MethodSections(self.method, self.own_section, objective)

    @property
    def task_sections(self) -> TaskSections:
        """What the network of a task is built from, read as strictly as in a card.

        Raises:
            ValueError: No task, or classes (`id2label`) that are not those of the objective.
        """
        if self.task is None:
            raise ValueError("config.json describes a pre-trained backbone, no model of a task")
        objective = self._task_objective
        if isinstance(objective, DepthEstimation):
            return TaskSections(self.backbone_section, objective, (), self.particulars)
        numbered = {int(label): name for label, name in (self.id2label or {}).items()}
        names = tuple(numbered[label] for label in sorted(numbered))
        own = names if objective.labels is None else class_names_of(objective)
        if names != own:
            raise ValueError(
                f"config.json contradicts itself: it names {len(names)} classes, {_few(names)}, but its objective has "
                f"the {len(own)} of {objective.labels}, {_few(own)}"
            )
        if isinstance(objective, InstanceSegmentation) and len(objective.classes) != len(names):
            raise ValueError(f"config.json names {len(names)} classes, but its objective {len(objective.classes)}")
        return TaskSections(self.backbone_section, objective, names, self.particulars)

    @property
    def _task_objective(self) -> TaskObjective:
        if self.task not in TASKS or self.objective is None:
            raise ValueError(f"config.json describes no known task (task: {self.task!r}; known: {', '.join(TASKS)})")
        objective: TaskObjective = _read(self.objective, TASKS[self.task], "objective")
        return objective

    def _name_classes(self, num_labels: int | None) -> None:
        """Gives `id2label` the names of the label space where it is not given."""
        objective = self._task_objective
        if isinstance(objective, DepthEstimation):
            return
        if self.id2label is None and objective.labels is not None:
            self.id2label = dict(enumerate(class_names_of(objective)))
        if self.id2label is not None:
            self.label2id = {name: int(label) for label, name in self.id2label.items()}
            if num_labels not in (None, len(self.id2label)):
                raise ValueError(
                    f"the model has {len(self.id2label)} classes, not num_labels = {num_labels}; for others put "
                    f'a new head on a backbone: rgbd3d.create_model(NAME, task="{self.task}", num_labels={num_labels})'
                )

    @property
    def num_hidden_layers(self) -> int:
        """Number of blocks."""
        return SIZES[self._vit.architecture].depth

    @property
    def hidden_size(self) -> int:
        """Width of the features."""
        return SIZES[self._vit.architecture].dim

    @property
    def patch_size(self) -> int:
        """Pixels per patch side."""
        return self._vit.patch_size

    @property
    def _vit(self) -> Backbone:
        section = self.backbone_section
        if isinstance(section, Backbone):
            return section
        raise AttributeError(f"the configuration of {section.label} is in `foreign`")  # `hasattr` is False


def _few(names: tuple[str, ...], shown: int = 2) -> str:
    return ", ".join(map(repr, names[:shown])) + (", ..." if len(names) > shown else "")


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
