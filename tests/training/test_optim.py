import json
from pathlib import Path

import pytest
import torch
from torch import nn

from rgbd3d.cards import Backbone
from rgbd3d.methods.mask3d import Mask3D
from rgbd3d.objectives import Decoder, Mask3DObjective
from rgbd3d.optimization import SGD, AdamW
from rgbd3d.training.optim import build_optimizer, parameter_groups


@pytest.fixture(scope="module")
def model() -> nn.Module:
    backbone = Backbone(
        architecture="vit_tiny", patch_size=16, image_size=(32, 48), class_token=True, parameters=5524416
    )
    return Mask3D(backbone, Mask3DObjective(depth_encoder_depth=1, decoder=Decoder(dim=32, depth=1, heads=2)))


def test_every_trained_parameter_is_in_exactly_one_group(model: nn.Module):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, undecayed = [[names[id(p)] for p in group["params"]] for group in parameter_groups(model, 0.05)]
    assert sorted(decayed + undecayed) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
    assert all(name.endswith(".weight") and "norm" not in name for name in decayed)
    assert {"backbone.cls_token", "backbone.norm.weight", "backbone.patch_embed.proj.bias"} <= set(undecayed)
    assert any("mask_token" in name for name in undecayed)
    assert [group["weight_decay"] for group in parameter_groups(model, 0.05)] == [0.05, 0.0]


def test_groups_are_mae_s(model: nn.Module, golden: Path):
    """The encoder's parameters split as in the reference implementation (its layer decay left aside)."""
    table = json.loads((golden / "mae_optim" / "param_groups.json").read_text())
    reference = {name: group["weight_decay"] for group in table for name in group["params"]}
    ours = {
        name: group["weight_decay"]
        for group in parameter_groups(model.backbone, 0.05)
        for name, parameter in model.backbone.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    shared = ours.keys() & reference.keys()
    assert len(shared) > 20
    assert {name: ours[name] for name in shared} == {name: reference[name] for name in shared}


def test_sgd_step_is_the_formula():
    layer = nn.Linear(3, 2, bias=False)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(SGD(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01), layer)
    velocity = torch.zeros_like(before)
    expected = before.clone()
    for step in range(3):
        layer.weight.grad = torch.full_like(before, float(step))
        velocity = 0.9 * velocity + step + 0.01 * expected
        expected = expected - 0.1 * velocity
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_adamw_decays_weights_but_no_bias():
    layer = nn.Linear(3, 2)
    nn.init.ones_(layer.bias)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(AdamW(name="adamw", lr=0.1, betas=(0.9, 0.95), weight_decay=0.5), layer)
    layer.weight.grad, layer.bias.grad = torch.zeros(2, 3), torch.zeros(2)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.1 * 0.5))
    torch.testing.assert_close(layer.bias.detach(), torch.ones(2))
