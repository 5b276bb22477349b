"""Open any checkpoint whose features are to be looked at: a card, a folder, a Hub id, or a model of timm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import timm.data
import torch
from torch import Tensor, nn

from rgbd3d import registry
from rgbd3d.data.batch import normalise_image
from rgbd3d.data.resize import resize_color
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.strict_yaml import did_you_mean
from rgbd3d.types import RGBDSample

_TIMM, _RANDOM = "timm:", "random:"


@dataclass(frozen=True)
class Network:
    """A network for RGB images with its preprocessing.

    Attributes:
        name: As it was asked for.
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
        """Names of modules: the given ones, or the blocks or stages that timm lists.

        Raises:
            ValueError: There is no such module, or none is listed.
        """
        known = {name for name, _ in self.module.named_modules() if name}
        if names is None:
            found = tuple(str(info["module"]) for info in getattr(self.module, "feature_info", ()))
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
            `timm:NAME`, a model of timm with its pre-trained weights;
            `random:CARD`, the network of a card as it is before training, drawn from seed 0.

    Raises:
        ModelError: There is none, or it has no weights.
    """
    text = str(spec)
    if text.startswith(_TIMM):
        return _open_timm(text)
    if text.startswith(_RANDOM):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = registry.create_model(text.removeprefix(_RANDOM))
    else:
        model = registry.from_pretrained(spec)
    network = model.network
    if isinstance(network, TaskNetwork):
        shown = network.preprocessing
        return Network(text, network.backbone.eval(), shown.size, shown.mean, shown.std)
    preprocessing = model.config.pretrained_cfg or {}
    height, width = model.config.backbone_section.image_size
    return Network(text, model.backbone.eval(), (height, width), preprocessing["mean"], preprocessing["std"])


def _open_timm(text: str) -> Network:
    try:
        module = timm.create_model(text.removeprefix(_TIMM), pretrained=True, num_classes=0)
    except RuntimeError as error:  # an unknown name, or one without weights
        raise registry.ModelError(f"{text}: {error}") from error
    config = timm.data.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    return Network(text, module.eval(), (height, width), config["mean"], config["std"])
