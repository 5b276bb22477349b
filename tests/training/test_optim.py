import json
from pathlib import Path

import pytest
import torch
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from rgbd3d.backbones.vit import RgbdViT
from rgbd3d.cards import Backbone
from rgbd3d.methods.mask3d import Mask3D
from rgbd3d.objectives import Decoder, Mask3DObjective
from rgbd3d.optimization import SGD, AdamW
from rgbd3d.training.optim import build_optimizer, layer_decay_groups, layers_of, parameter_groups


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


@pytest.mark.parametrize("name", ["position_embeddings", "relative_position_bias_table", "logit_scale", "mask_token"])
def test_tables_and_scales_of_attention_are_not_decayed(name: str):
    model = nn.Module()
    model.register_parameter(name, nn.Parameter(torch.zeros(4, 3)))
    model.register_parameter("weight", nn.Parameter(torch.zeros(4, 3)))
    decayed, undecayed = (group["params"] for group in parameter_groups(model, 0.05))
    assert decayed[0] is model.weight
    assert undecayed[0] is model.get_parameter(name)


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


def test_dampening_is_torch_s():
    layer = nn.Linear(3, 2, bias=False)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(SGD(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.0, dampening=0.1), layer)
    velocity, expected = torch.zeros_like(before), before.clone()
    for step in range(3):
        layer.weight.grad = torch.full_like(before, 1.0 + step)
        velocity = 0.9 * velocity + (1.0 + step) * (1.0 if step == 0 else 0.9)  # torch damps from the second step on
        expected = expected - 0.1 * velocity
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), expected)


# ---------------------------------------------------------------------------------------------- layer-wise decay


class Model(nn.Module):
    """A backbone and a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(4, 7)


def by_name(model: nn.Module, groups: list[dict]) -> dict[str, tuple[float, float]]:
    """Parameter -> (share of the learning rate, weight decay); checks that no parameter is in two groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    members = [(names[id(p)], (group["lr_scale"], group["weight_decay"])) for group in groups for p in group["params"]]
    assert len(members) == len(dict(members))
    return dict(members)


def reference_groups(path: Path) -> dict[str, tuple[float, float]]:
    table = json.loads(path.read_text())
    return {name: (group["lr_scale"], group["weight_decay"]) for group in table for name in group["params"]}


def tiny_vit(depth: int, **options) -> VisionTransformer:
    return RgbdViT(img_size=16, patch_size=8, embed_dim=12, depth=depth, num_heads=3, num_classes=0, **options)


def test_layer_decay_is_mae_s(golden: Path):
    model = Model(tiny_vit(3))
    groups = layer_decay_groups(model, model.backbone, lr=1e-3, weight_decay=0.05, layer_decay=0.75)
    ours = {name.removeprefix("backbone."): value for name, value in by_name(model, groups).items()}
    expected = reference_groups(golden / "mae_optim" / "param_groups.json")
    del expected["pos_embed"]  # the reference's positions are trained
    assert ours == expected
    assert [group["lr"] for group in groups] == [1e-3 * group["lr_scale"] for group in groups]


def test_layer_decay_is_multimae_s(golden: Path):
    """The reference's names are those of its own encoder; it has no final norm and no class token but a global one."""
    model = Model(tiny_vit(4, final_norm=False))
    groups = layer_decay_groups(model, model.backbone, lr=1e-4, weight_decay=0.05, layer_decay=0.75)
    translate = {"cls_token": "global_tokens", "blocks": "encoder", "patch_embed": "input_adapters.rgb"}
    ours = {}
    for name, value in by_name(model, groups).items():
        first, _, rest = name.removeprefix("backbone.").partition(".")
        ours[".".join(filter(None, (translate.get(first, first), rest)))] = value
    expected = reference_groups(golden / "multimae_optim" / "param_groups.json")
    heads = {name: expected.pop(name) for name in list(expected) if name.startswith("output_adapters.")}
    assert {value for name, value in heads.items() if name.endswith(".bias")} == {ours.pop("head.bias")}
    assert heads["output_adapters.depth.head.4.weight"] == ours.pop("head.weight")
    assert ours == expected


def test_layer_decay_of_a_swin_is_mimdepth_s(golden: Path):
    """timm has the patch merging at the start of a stage, the reference at the end of the one before."""
    backbone = SwinTransformerV2(
        img_size=64, embed_dim=8, depths=(2, 2, 4, 2), num_heads=(2, 2, 4, 4), window_size=2, num_classes=0
    )
    model = Model(backbone)
    groups = layer_decay_groups(model, backbone, lr=5e-4, weight_decay=0.05, layer_decay=0.85)
    table = json.loads((golden / "mimdepth_glp" / "layer_decay.json").read_text())["params"]
    compared = 0
    for name, (scale, decay) in by_name(model, groups).items():
        own = name.removeprefix("backbone.").replace("cpb_mlp", "rpe_mlp")
        if own.startswith("layers.") and ".downsample." in own:
            own = f"layers.{int(own.split('.')[1]) - 1}.{own.split('.', 2)[2]}"
        reference = table.get(f"encoder.{own.replace('norm.', 'norm3.') if own.startswith('norm.') else own}")
        if reference is not None:
            compared += 1
            assert (scale, decay > 0) == (pytest.approx(reference["lr_scale"]), reference["decay"]), name
    encoder = [name for name in table if name.startswith("encoder.")]
    assert compared == len(encoder)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["embeddings.x", "encoder.layer.0.a", "encoder.layer.0.b", "encoder.layer.1.a", "layernorm.x"],
            [0, 1, 1, 2, 3],
        ),
        (["stem.x", "stages.0.layers.0.a", "stages.1.down.x", "stages.1.layers.0.a"], [0, 1, 2, 2]),
        (["cls_token", "norm_pre.x", "blocks.0.mlp.layers.0.a", "blocks.10.x", "fc_norm.x"], [0, 0, 1, 2, 3]),
    ],
)
def test_layers_are_told_from_the_names(names: list[str], expected: list[int]):
    class Named(nn.Module):
        def named_parameters(self, *args, **kwargs):
            return ((name, None) for name in names)

    layers, _ = layers_of(Named())
    assert list(layers.values()) == expected


def test_frozen_parameters_are_left_out_and_the_head_learns_at_the_full_rate():
    model = Model(tiny_vit(2))
    model.backbone.blocks[0].requires_grad_(False)
    groups = by_name(model, layer_decay_groups(model, model.backbone, lr=1.0, weight_decay=0.1, layer_decay=0.5))
    assert sorted(groups) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    assert groups["head.weight"] == (1.0, 0.1)
    assert groups["backbone.blocks.1.mlp.fc1.weight"] == (0.5, 0.1)
    assert groups["backbone.patch_embed.proj.weight"] == (0.125, 0.1)


def test_a_decayed_layer_takes_smaller_steps():
    model = Model(tiny_vit(1))
    optimizer = build_optimizer(
        AdamW(name="adamw", lr=0.1, betas=(0.9, 0.999), weight_decay=0.0),
        model,
        backbone=model.backbone,
        layer_decay=0.5,
    )
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    moved = {name: (before[name] - p).max().item() for name, p in model.named_parameters()}  # Adam's first step is lr
    assert moved["head.bias"] == pytest.approx(0.1, rel=1e-4)
    assert moved["backbone.blocks.0.attn.qkv.bias"] == pytest.approx(0.05, rel=1e-4)
    assert moved["backbone.cls_token"] == pytest.approx(0.025, rel=1e-4)
    assert optimizer.defaults["lr"] == 0.1


def test_without_layer_decay_the_optimiser_is_that_of_pretraining():
    model = Model(tiny_vit(1))
    section = AdamW(name="adamw", lr=0.1, betas=(0.9, 0.999), weight_decay=0.05)
    plain, same = (
        build_optimizer(section, model, **options).state_dict() for options in ({}, {"backbone": model.backbone})
    )
    assert plain == same
    assert len(plain["param_groups"]) == 2


def test_layer_decay_that_makes_no_sense_is_refused():
    model = Model(tiny_vit(1))
    options = {"lr": 1.0, "weight_decay": 0.0}
    with pytest.raises(ValueError, match=r"layer_decay should lie in 0\.\.1, 0 excluded, got 1\.5"):
        layer_decay_groups(model, model.backbone, layer_decay=1.5, **options)
    with pytest.raises(ValueError, match="the RgbdViT is no part of the Model that is trained"):
        layer_decay_groups(model, tiny_vit(1), layer_decay=0.5, **options)
    with pytest.raises(ValueError, match=r"Linear has no blocks\.N or layers\.N"):
        layer_decay_groups(model, model.head, layer_decay=0.5, **options)
    with pytest.raises(ValueError, match=r"layer_decay 0\.5 needs the backbone"):
        build_optimizer(AdamW(name="adamw", lr=0.1, betas=(0.9, 0.95), weight_decay=0.5), model, layer_decay=0.5)
