"""What all Hugging Face models of the library share: exact loading, whole folders, pushing with a card.

Files on disk hold the networks' own weight names, timm's for a backbone; the prefixes of the wrappers never reach them.
What a checkpoint lacks is an error: no weight is random where a trained one was asked for.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from timm.models.vision_transformer import Block
from torch import nn
from transformers import PreTrainedModel
from transformers.core_model_loading import PrefixChange

from rgbd3d.cards import Backbone, Card
from rgbd3d.configuration import REMOTE_MODULE, RgbdConfig
from rgbd3d.processing import RgbdImageProcessor

_REMOTE_CODE = '''"""Loads the classes from the installed package; this file executes nothing else."""

try:
    from rgbd3d.modeling import RgbdBackbone, RgbdConfig, RgbdForPreTraining, RgbdImageProcessor, RgbdModel
    from rgbd3d.modeling import RgbdForDepthEstimation, RgbdForInstanceSegmentation, RgbdForSemanticSegmentation
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
        if self.network_name == "backbone" and self.config.task is not None:
            # The file of a fine-tuned model holds the head too; as a backbone it is whole without.
            self._keys_to_ignore_on_load_unexpected = [r"^backbone\.head\."]
        self._weight_conversions = [PrefixChange(prefix_to_add=self.network_name)]  # undone when saving
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # The networks' constructors initialise them, and `from_pretrained` refuses a checkpoint that lacks anything.
        pass

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        network: Any = self.network
        network.set_grad_checkpointing(enable)
        self.gradient_checkpointing = enable  # what `is_gradient_checkpointing` looks for


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
            'the whole pre-training model in subfolder="pretraining"; that of a fine-tuned model has the model of its '
            'task at its top and the backbone in subfolder="backbone". If the place is right, download it again'
        )


def _few(names: set[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(sorted(names)[:shown]) + rest


def write_companions(config: RgbdConfig, folder: Path) -> None:
    """Writes `preprocessor_config.json` and the file that `trust_remote_code=True` loads beside a `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    _processor(config).save_pretrained(folder)
    (folder / f"{REMOTE_MODULE}.py").write_text(_REMOTE_CODE, encoding="utf-8")


def _processor(config: RgbdConfig) -> RgbdImageProcessor:
    section, known = config.backbone_section, config.particulars
    if isinstance(section, Backbone):
        return RgbdImageProcessor.for_backbone(section, config.task)
    assert known is not None, "the model has said them"
    height, width = section.image_size
    return RgbdImageProcessor(
        size={"height": height, "width": width},
        patch_size=known.stride,
        image_mean=list(known.mean),
        image_std=list(known.std),
        task=config.task,
    )
