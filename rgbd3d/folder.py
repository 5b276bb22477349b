"""The Hub folder of a model: one folder that timm, transformers and rgbd3d load, and that says what it is.

Holds config.json, model.safetensors, preprocessor_config.json, modeling_rgbd3d.py, card.yaml, README.md and
golden.safetensors (one input, what the model makes of it). The weights at its top are those of a backbone with timm's
names; then pretraining/ may hold the whole pre-training model. Or they are those of a fine-tuned model, `backbone.*`
and `head.*`; then backbone/ holds the backbone alone, for timm and AutoModel, unless it is of another library.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from rgbd3d.backbones.vit import RgbdViT, build_vit
from rgbd3d.cards import Backbone, Card, Weights, dump, load_card
from rgbd3d.configuration import RgbdConfig
from rgbd3d.downstream.network import TaskNetwork, build_task_network, particulars_of, task_sections
from rgbd3d.model_card import render
from rgbd3d.modeling import RgbdForPreTraining, RgbdModel, RgbdPreTrainedModel, write_companions
from rgbd3d.modeling_tasks import TASK_MODELS, RgbdForTask
from rgbd3d.pins import check_pin, pin
from rgbd3d.seeding import generator

WEIGHTS = "model.safetensors"
PRETRAINING, BACKBONE = "pretraining", "backbone"
GOLDEN = "golden.safetensors"
CARD = "card.yaml"

Wrapper = TypeVar("Wrapper", bound=RgbdPreTrainedModel)


def save_pretrained_folder(
    model: nn.Module, card: Card, folder: str | Path, *, image: Tensor | None = None, half: bool = False
) -> Path:
    """Writes the Hub folder of a model; it appears whole or not at all.

    Args:
        model: A backbone; a pre-training method, which adds the whole of it in pretraining/; or a task network of a
            fine-tuned card, which adds its backbone in backbone/.
        card: Describes it. The card in the folder pins the weights in the folder.
        folder: Is created; a Hub folder that is there already is replaced.
        image: Example for golden.safetensors, (1, 3, H, W) normalised; fixed noise if not given.
        half: Store weights in half precision. Features are then those of the rounded weights, in every library.

    Returns:
        `folder`.

    Raises:
        FileExistsError: `folder` holds something else than a Hub folder.
        ValueError: A task network with a card of pre-training, or the other way round.
    """
    folder = Path(folder)
    if _is_foreign(folder):
        raise FileExistsError(f"{folder} exists and is no Hub folder; name another one or remove it")
    if isinstance(model, TaskNetwork) != (card.task is not None):
        kind = card.task or "pre-training"
        raise ValueError(f"the card {card.name} is one of {kind}, but the model to save is a {type(model).__name__}")
    with _replaced_at_once(folder) as new:
        if image is None:
            image = torch.randn(1, 3, *card.backbone.image_size, generator=generator(0))
        if isinstance(model, TaskNetwork):
            _write_task(model, card, new, image, half)
        else:
            _write_pretrained(model, card, new, image, half)
        files = {path.relative_to(new).as_posix(): pin(path) for path in sorted(new.rglob("*.safetensors"))}
        card = replace(card, weights=Weights(status="bundled", files=files))
        (new / CARD).write_text(dump(card), encoding="utf-8")
        (new / "README.md").write_text(render(card), encoding="utf-8")
    return folder


def _write_pretrained(model: nn.Module, card: Card, new: Path, image: Tensor, half: bool) -> None:
    backbone = model if isinstance(model, RgbdViT) else model.get_submodule("backbone")
    config = RgbdConfig.from_card(card)
    _write_model(config, stored_weights(backbone, half), new, "RgbdModel")
    if backbone is not model:
        _write_model(config, stored_weights(model, half), new / PRETRAINING, "RgbdForPreTraining")
    write_golden(load_backbone(new), image, new / GOLDEN)


def _write_task(network: TaskNetwork, card: Card, new: Path, image: Tensor, half: bool) -> None:
    section = card.backbone
    config = RgbdConfig.from_card(card, None if isinstance(section, Backbone) else particulars_of(network))
    _write_model(config, stored_weights(network, half), new, TASK_MODELS[str(card.task)].__name__)
    if isinstance(section, Backbone):
        _write_model(
            RgbdConfig.for_backbone(section), stored_weights(network.backbone, half), new / BACKBONE, "RgbdModel"
        )
    stored = build_task_network(config.task_sections)
    stored.load_state_dict(load_file(new / WEIGHTS))
    write_prediction(stored, image, new / GOLDEN)


def _is_foreign(folder: Path) -> bool:
    if not folder.is_dir():
        return folder.exists()
    return any(folder.iterdir()) and not (folder / CARD).exists()


def load_backbone(folder: str | Path) -> RgbdViT:
    """Loads the RGB backbone of a Hub folder, in single precision; every weight must be there and no other.

    Args:
        folder: Of a backbone; of a fine-tuned model its subfolder backbone/.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: config.json is none of ours, or describes another network than card.yaml.
        RuntimeError: The weights do not fit the network.
    """
    section = _checked_config(Path(folder)).own_section
    with torch.device("meta"):
        model = build_vit(section)
    _load_strictly(model, Path(folder) / WEIGHTS)
    return model


def load_model(folder: str | Path) -> RgbdModel:
    """Loads the RGB backbone of a Hub folder in its Hugging Face wrapper; checks the pin of its card.

    Raises:
        ValueError: The file is not the one that card.yaml pins; or as `load_backbone`.
        FileNotFoundError: As `load_backbone`.
        RuntimeError: As `load_backbone`.
    """
    return _load_wrapper(RgbdModel, Path(folder), "")


def load_pretraining(folder: str | Path) -> RgbdForPreTraining:
    """Loads the whole pre-training model of a Hub folder.

    Raises:
        FileNotFoundError: The folder holds only a backbone, or a file is missing.
        ValueError: config.json is none of ours, or the file is not the one that card.yaml pins.
        RuntimeError: The weights do not fit the network.
    """
    folder = Path(folder)
    if folder.is_dir() and not (folder / PRETRAINING).is_dir():
        raise FileNotFoundError(f"{folder} holds only a backbone: it has no folder {PRETRAINING}/ with the whole model")
    return _load_wrapper(RgbdForPreTraining, folder, PRETRAINING)


def load_task_model(folder: str | Path) -> RgbdForTask:
    """Loads the fine-tuned model of a Hub folder; checks the pin of its card.

    Raises:
        ValueError: The file is not the one that card.yaml pins, or config.json describes another model than the card.
        FileNotFoundError: A file is missing.
        RuntimeError: The weights do not fit the network.
    """
    folder = Path(folder)
    task = _checked_config(folder).task
    if task is None:
        raise ValueError(f"{folder} holds a backbone, not a fine-tuned model")
    return _load_wrapper(TASK_MODELS[task], folder, "")


def stored_weights(model: nn.Module, half: bool = False) -> dict[str, Tensor]:
    """Weights as they are stored: on the CPU, contiguous, in one precision.

    In single precision stay positions, which are no weights but a table that rgbd3d computes anew for other sizes, and
    statistics, which half precision may not hold.
    """
    parameters = dict(model.named_parameters())

    def stored(name: str, value: Tensor) -> Tensor:
        value = value.detach().cpu().contiguous()
        if not value.is_floating_point():
            return value
        rounded = half and name in parameters and name.split(".")[-1] != "pos_embed"
        return value.to(torch.float16 if rounded else torch.float32)

    return {name: stored(name, value) for name, value in model.state_dict().items()}


def _write_model(config: RgbdConfig, weights: dict[str, Tensor], folder: Path, architecture: str) -> None:
    folder.mkdir(exist_ok=True)
    config.architectures = [architecture]
    config.save_pretrained(folder)
    write_companions(config, folder)
    write_tensors(weights, folder / WEIGHTS)


def write_golden(backbone: RgbdViT, image: Tensor, path: Path) -> None:
    """Writes one input and the features of a backbone that holds the weights as they are stored.

    Args:
        backbone: On the CPU, in single precision; is switched to evaluation.
        image: (1, 3, H, W), normalised.
        path: File to write.
    """
    image = image.detach().float().cpu().contiguous()
    backbone.grid(image)  # refuses a size that the patch does not divide
    with torch.no_grad():
        features = backbone.eval().forward_features(image)
    write_tensors({"image": image, "features": features.contiguous()}, path)


def write_prediction(network: TaskNetwork, image: Tensor, path: Path) -> None:
    """Writes one input and what a task network that holds the weights as they are stored makes of it.

    Args:
        network: On the CPU, in single precision; is switched to evaluation.
        image: (1, 3, H, W), normalised.
        path: File to write.
    """
    image = image.detach().float().cpu().contiguous()
    with torch.no_grad():
        trace = network.eval().trace(image)
    write_tensors({"image": image, "trace": trace.contiguous()}, path)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes a safetensors file that timm and transformers read too."""
    path.write_bytes(save(tensors, metadata={"format": "pt"}))  # safetensors' own files are for the owner's eyes only


def _load_wrapper(wrapper: type[Wrapper], folder: Path, subfolder: str) -> Wrapper:
    place, name = folder / subfolder, (Path(subfolder) / WEIGHTS).as_posix()
    _checked_config(place)
    _require_file(place / WEIGHTS)
    card = card_of(folder)
    if card is not None and (expected := (card.weights.files or {}).get(name)) is not None:
        try:
            check_pin(folder / name, name, expected)
        except ValueError as error:
            raise ValueError(f"{folder}: {error} (card.yaml): damaged or changed; save or download it again") from error
    model: Wrapper = wrapper.from_pretrained(str(place), dtype=torch.float32)
    model.card = card
    return model


def _checked_config(folder: Path) -> RgbdConfig:
    """Configuration of a folder, which has to agree with its card where it has one."""
    values = json.loads(_require_file(folder / "config.json").read_text(encoding="utf-8"))
    if values.get("model_type") != RgbdConfig.model_type:
        raise ValueError(f"{folder / 'config.json'} is of model type {values.get('model_type')!r}, not rgbd3d")
    config: RgbdConfig = RgbdConfig.from_dict(values)
    card = card_of(folder)
    if card is not None and (what := _differs(card, config)):
        raise ValueError(f"{folder}: config.json and card.yaml describe different {what}; save or download it again")
    return config


def _differs(card: Card, config: RgbdConfig) -> str | None:
    """In what the network of a configuration is not that of the card."""
    if card.backbone != config.backbone_section:
        return "backbones"
    if card.task != config.task:
        return "tasks"
    if card.task is not None and task_sections(card) != config.task_sections:
        return "heads"
    return None


def card_of(folder: Path) -> Card | None:
    """The card of a folder, where it has one."""
    return load_card(folder / CARD) if (folder / CARD).exists() else None


def _require_file(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {path.parent} is no whole Hub folder; save or download it again")
    return path


def _load_strictly(model: nn.Module, path: Path) -> None:
    """Gives a model on the meta device the weights of a file, in single precision."""
    state = {name: value.float() for name, value in load_file(_require_file(path)).items()}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise RuntimeError(f"{path} does not fit the network of its config.json: {error}") from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)


@contextmanager
def _replaced_at_once(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place at the end; after an error `folder` is as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    new, old = staging / "new", staging / "old"
    try:
        new.mkdir()
        yield new
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
    finally:
        if old.exists() and not folder.exists():
            os.rename(old, folder)  # stopped between the two; should this fail too, nothing is deleted
        shutil.rmtree(staging, ignore_errors=True)
