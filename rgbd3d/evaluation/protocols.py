"""All evaluation protocols by name. Numbers of different protocols are never put in one column.

Those here are of transfer: they train something small on a pre-trained backbone and measure it, or measure the task
that it was pre-trained on. Those of `rgbd3d.evaluation.protocols_scored` train nothing and score models for a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch

from rgbd3d import registry
from rgbd3d.backbones.vit import RgbdViT, build_vit
from rgbd3d.card_sections import Backbone, own_backbone
from rgbd3d.cards import Card
from rgbd3d.data.sources import Source
from rgbd3d.evaluation.frames import load_frames
from rgbd3d.evaluation.pretext import pretext_losses
from rgbd3d.evaluation.protocols_base import ScoredProtocol, find
from rgbd3d.evaluation.protocols_data import NYUV2_TRAIN_HELD_OUT, frames
from rgbd3d.evaluation.protocols_scored import SCORED_PROTOCOLS
from rgbd3d.evaluation.transfer import FineTuning, fine_tune, linear_probe
from rgbd3d.folder import card_of

if TYPE_CHECKING:
    from rgbd3d.modeling import RgbdForPreTraining

NYU_CLASSES = 40
NYU_FRAMES = frames(NYUV2_TRAIN_HELD_OUT, ("image", "depth", "semantic"), "nyu40")
"""Those up to `first` are trained on, the others scored. A room's frames follow each other, so these show other rooms;
only the room of the last frame trained on (1197) is seen again, in the first one scored (1198)."""
NYU_SCORED = 120
FINE_TUNINGS = {
    "finetune": FineTuning(),
    "finetune-long": FineTuning(epochs=40),
    "finetune-80": FineTuning(epochs=80, precision="bf16"),
}
"""Of nyuv2-train795/NAME. Random initialisation gains by more than 8 epochs: docs/results.md."""


@dataclass(frozen=True)
class TransferProtocol:
    """How a number of a trained model or backbone is measured.

    Attributes:
        name: As typed on the command line.
        description: What is trained on which frames, and what is scored.
        run: (what `find_card` takes, data, pretrained, seed) -> metrics.
        scored: Number of frames that are scored; None is all of them.
        measures: "backbone", which a fine-tuned model has too, or the whole model of "pre-training".
    """

    name: str
    description: str
    run: Callable[[str, Source, bool, int], dict[str, float]]
    scored: int | None = None
    measures: Literal["backbone", "pre-training"] = "backbone"

    def facts(self) -> dict[str, str]:
        """What decides the numbers."""
        return {"protocol": self.description} | ({} if self.scored is None else {"frames": str(self.scored)})


def _nyu_transfer(method: Callable[..., dict[str, float]]) -> Callable[[str, Source, bool, int], dict[str, float]]:
    def run(name: str, source: Source, pretrained: bool, seed: int) -> dict[str, float]:
        NYU_FRAMES.check(source)
        section = own_backbone(find_card(name).backbone)
        backbone = _load_backbone(name, section) if pretrained else _new_backbone(section, seed)
        loaded = load_frames(source, section.image_size)
        train, test = loaded.select(slice(0, NYU_FRAMES.first)), loaded.select(slice(NYU_FRAMES.first, None))
        return method(backbone, train, test, NYU_CLASSES, seed)

    return run


def _check_depth(source: Source) -> None:
    if "depth" not in source.columns:
        raise ValueError(f"{source.name} has no depth; it has {', '.join(source.columns)}")


def _pretext(name: str, source: Source, pretrained: bool, seed: int) -> dict[str, float]:
    _check_depth(source)
    model = registry.from_pretrained(name, "pretraining") if pretrained else _new_pretraining(name, seed)
    if "depth_metres" not in model.method.inputs:
        raise ValueError(f"{name} is not pre-trained on depth: this protocol does not fit it")
    return pretext_losses(model.method, find_card(name), source, seed)


def _load_backbone(name: str, section: Backbone) -> RgbdViT:
    """The trained backbone, without the drop path that a fine-tuned model may have."""
    network: Any = registry.from_pretrained(name).network
    backbone = build_vit(section)
    backbone.load_weights(getattr(network, "backbone", network).state_dict())
    return backbone


def _new_backbone(section: Backbone, seed: int) -> RgbdViT:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_vit(section)


def _new_pretraining(name: str, seed: int) -> RgbdForPreTraining:
    from rgbd3d.modeling import RgbdConfig, RgbdForPreTraining

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RgbdForPreTraining(RgbdConfig.from_card(find_card(name)))


_MODELS_OF_A_RUN = ("final/card.yaml", "seed-*/final/card.yaml", "../final/card.yaml")
"""From the folder of a run, of its seeds, or of a checkpoint."""


def find_card(name: str) -> Card:
    """Card of what `registry.from_pretrained` loads by a name: a registered card, a folder, or a Hub id.

    Raises:
        UnknownModelError: There is no such card or folder, or no card in the folder.
        CardError: The card cannot be read.
        HubError: The Hub doesn't give it whole.
    """
    folder = registry.model_folder(name)
    if folder is None:
        return registry.get_card(name)
    card = card_of(folder)
    if card is None:
        models = [path.parent for pattern in _MODELS_OF_A_RUN for path in sorted(folder.glob(pattern))]
        advice = "name a card, or a folder that `pretrain` or `pull` wrote"
        if models:
            advice = f"did you mean {models[0].resolve()}"
        raise registry.UnknownModelError(f"there is no card.yaml in {folder}; {advice}")
    return card


def _length(config: FineTuning) -> str:
    return f"{config.epochs} epochs" + (" in bf16" if config.precision == "bf16" else "")


_TRANSFER = (
    TransferProtocol(
        "nyuv2-train795/probe",
        "Linear probe of frozen features: semantic classes (40) and depth, trained on the first 675 labelled NYUv2 "
        "training frames, scored on the last 120 (other rooms but one).",
        _nyu_transfer(linear_probe),
        scored=NYU_SCORED,
    ),
    *(
        TransferProtocol(
            f"nyuv2-train795/{name}",
            f"Joint fine-tuning for semantic classes (40) and depth, {_length(config)} on the first 675 labelled NYUv2 "
            "training frames, scored on the last 120 (other rooms but one).",
            _nyu_transfer(partial(fine_tune, config=config)),
            scored=NYU_SCORED,
        )
        for name, config in FINE_TUNINGS.items()
    ),
    TransferProtocol(
        "rgbd/pretext",
        "Loss of the pre-training task on the given frames (choose some that were not trained on: --split val); "
        "masks depend on the seed only.",
        _pretext,
        measures="pre-training",
    ),
)

PROTOCOLS: Mapping[str, TransferProtocol | ScoredProtocol[Any]] = MappingProxyType(
    {protocol.name: protocol for protocol in _TRANSFER} | dict(SCORED_PROTOCOLS)
)


def find_protocol(name: str) -> TransferProtocol | ScoredProtocol[Any]:
    """One of `PROTOCOLS`; see `find`."""
    return find(name, PROTOCOLS)
