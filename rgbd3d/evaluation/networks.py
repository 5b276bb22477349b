"""Open any checkpoint whose features are to be looked at: of this library, of timm or of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from torch import Tensor, nn

from rgbd3d import registry
from rgbd3d.data.batch import normalise_image
from rgbd3d.data.resize import resize_color
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.downstream.foreign import open_foreign
from rgbd3d.strict_yaml import did_you_mean
from rgbd3d.types import RGBDSample

_RANDOM, _LIBRARIES = "random:", ("timm:", "transformers:")


@dataclass(frozen=True)
class Network:
    """A network for RGB images with its preprocessing.

    Attributes:
        name: As it was asked for; of another library's network with the commit.
        module: In evaluation mode.
        size: (height, width) of the images that it sees.
        mean: Of the pixels of each channel in 0..1, to be subtracted.
        std: By which they are divided.
    """

    name: str
    module: nn.Module
    size: tuple[int, int]
    mean: Sequence[float] = timm.data.IMAGENET_DEFAULT_MEAN
    std: Sequence[float] = timm.data.IMAGENET_DEFAULT_STD

    def images(self, samples: Sequence[RGBDSample]) -> Tensor:
        """The pictures of samples, squeezed to `size` and normalised, float32 (B, 3, h, w)."""
        stack = torch.stack([resize_color(sample["image"], self.size) for sample in samples])
        return normalise_image(stack / 255, self.mean, self.std)

    def layers(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Names of modules: the given ones, or the blocks or stages.

        Raises:
            ValueError: There is no such module, or none is listed.
        """
        known = {name for name, _ in self.module.named_modules() if name}
        if names is None:
            found = tuple(str(info["module"]) for info in getattr(self.module, "feature_info", ()))
            found = found or _first_list(self.module)
            if not found:
                raise ValueError(f"{self.name} lists no layers; name some, for example {sorted(known)[:3]}")
            return found
        for name in names:
            if name not in known:
                raise ValueError(f"{self.name} has no layer {name!r}{did_you_mean(name, known)}")
        return tuple(names)


def open_network(spec: str | Path) -> Network:
    """Loads a network with its weights.

    Args:
        spec: One of
            a card ("mask3d-vitt-synthrooms"), a folder that rgbd3d wrote, or a Hub id, as in `rgbd3d.from_pretrained`:
            of a fine-tuned model the backbone;
            `timm:NAME` or `transformers:OWNER/NAME`, either with @COMMIT behind it: a backbone with its pre-trained
            weights;
            `random:` before a card, `timm:` or `transformers:`, the network before training, drawn from seed 0.

    Raises:
        ModelError: There is none, or it has no weights.
        HubError: The Hub does not give it.
    """
    if str(spec).startswith(_RANDOM):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return _open(spec)
    return _open(spec)


def _open(spec: str | Path) -> Network:
    text = str(spec)
    name = text.removeprefix(_RANDOM)
    if name.startswith(_LIBRARIES):
        return _open_foreign(text)
    model: Any = registry.from_pretrained(spec) if name == text else registry.create_model(name)
    network = model.network
    if isinstance(network, TaskNetwork):
        shown = network.preprocessing
        return Network(text, network.backbone.eval(), shown.size, shown.mean, shown.std)
    preprocessing = model.config.pretrained_cfg or {}
    height, width = model.config.backbone_section.image_size
    return Network(text, model.backbone.eval(), (height, width), preprocessing["mean"], preprocessing["std"])


def _open_foreign(text: str) -> Network:
    try:
        section, module, known = open_foreign(text)
    except ValueError as error:
        raise registry.ModelError(f"{text}: {error}") from error
    return Network(section.spec, module.eval(), section.image_size, known.mean, known.std)


def _first_list(module: nn.Module) -> tuple[str, ...]:
    """The modules of the outermost list: the blocks of a plain transformer, the stages of another network."""
    lists = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.ModuleList) and len(part) > 1]
    if not lists:
        return ()
    name, part = min(lists, key=lambda entry: entry[0].count("."))
    return tuple(f"{name}.{index}" for index in range(len(part)))
