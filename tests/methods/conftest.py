"""Small networks for the tests of methods."""

import pytest
import torch

from rgbd3d.backbones import vit
from rgbd3d.cards import Backbone


@pytest.fixture
def small(monkeypatch) -> Backbone:
    """A card's backbone section of a network with three narrow blocks, patch 8, for 24 x 40 pixels (3 x 5 patches)."""
    monkeypatch.setitem(vit.SIZES, "vit_tiny", vit.Size(dim=24, depth=3, heads=2))
    return Backbone(architecture="vit_tiny", patch_size=8, image_size=(24, 40), class_token=True, parameters=1)


@pytest.fixture
def build(small):
    """Builds a method with moved biases, norms and tokens, which start at values that would hide a forgotten one."""

    def make(method: type, objective: object) -> torch.nn.Module:
        torch.manual_seed(0)
        module = method(small, objective)
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn_like(parameter))
        return module

    return make
