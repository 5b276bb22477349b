"""Backbones of timm and transformers: what is typed, what is pinned, what comes from the Hub, and what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from foreign_backbones import (
    CONVNEXT,
    DINO,
    DINO_CONFIG,
    MEAN,
    STD,
    VIT,
    publish_dino,
    publish_timm,
    publish_transformers,
)
from hub_folders import publish
from loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file
from task_networks import batch, pictures, task_card
from timm.layers import DropPath
from transformers import (
    ConvNextConfig,
    Dinov2Backbone,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    PreTrainedConfig,
    SwinConfig,
    Swinv2Config,
)

import rgbd3d
from rgbd3d.backbones.drop_path import set_drop_path
from rgbd3d.cards import CardError, ForeignBackbone, License, dump, parse, with_overrides
from rgbd3d.data.batch import normalise_image
from rgbd3d.downstream.create import create_task_model
from rgbd3d.downstream.foreign import build_foreign, foreign_weights, on_backbone, section_of, terms_of
from rgbd3d.downstream.heads import build_head
from rgbd3d.downstream.levels import Level, is_pyramid, levels_of, read_levels, require_any_size
from rgbd3d.downstream.start import initial_network
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.hub import HubError
from rgbd3d.hub_verify import check_folder
from rgbd3d.modeling import model_from_card
from rgbd3d.modeling_tasks import RgbdForDepthEstimation
from rgbd3d.strict_yaml import FieldError
from rgbd3d.tasks import DPT, DepthEstimation, Mask2Former, PretrainedDecoder, SemanticSegmentation
from rgbd3d.training.optim import layers_of
from rgbd3d.training.task_loss import TaskLoss
from rgbd3d.zoo import describe

pytest_plugins = ["hub_fixtures"]

SIZE = (64, 96)
_SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 14, "image_size": 28}
PLAIN = [DINO_CONFIG, Dinov2WithRegistersConfig(**_SMALL), DINOv3ViTConfig(**_SMALL, intermediate_size=32)]
_STAGES = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2}
PYRAMIDS = [
    SwinConfig(**_STAGES),
    Swinv2Config(**_STAGES),
    ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
]


def section(**values: object) -> ForeignBackbone:
    return dataclasses.replace(section_of(f"random:timm:{VIT}", SIZE), **values)


# ------------------------------------------------------------------------------------------------------- the section


def test_a_section_says_all_that_was_typed_and_counted():
    found = section_of("random:timm:test_vit", (60, 100))
    assert (found.model, found.revision, found.pretrained) == (VIT, None, False), "with timm's tag"
    assert found.image_size == (64, 96), "multiples of 16"
    network = timm.create_model("test_vit", num_classes=0)
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert section_of(found.spec, found.image_size) == found


def test_the_newest_commit_is_pinned_and_reported(hub: LoopbackHub, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    commit = publish_timm(hub, tmp_path / "timm")
    found = section_of(f"timm:{VIT}", SIZE)
    assert found.spec == f"timm:{VIT}@{commit}"
    assert f"pin it with revision={commit}" in caplog.text
    older = publish_dino(hub, tmp_path / "dino")
    publish_dino(hub, tmp_path / "newer")
    assert section_of(f"transformers:{DINO}@{older}", (28, 42)).revision == older


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vit_tiny_patch16_224", "should look like timm:NAME"),
        ("timm:test_vit@main", "a commit of 40 hex digits"),
        ("random:timm:test_vot", "timm knows no model 'test_vot'; did you mean 'test_vit'"),
        ("random:timm:beit_base_patch16_224", r"Beit cannot read images of \(64, 96\) .* one size only"),
        ("random:timm:levit_128", r"LevitDistilled cannot read images of \(64, 128\)"),
        ("random:timm:../secret", "timm knows no model"),
    ],
)
def test_what_cannot_be_typed(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        section_of(spec, SIZE)


def test_a_repository_that_is_not_there(hub: LoopbackHub):
    with pytest.raises(HubError, match="cannot resolve nobody/nothing@main"):
        section_of("transformers:nobody/nothing", SIZE)
    with pytest.raises(HubError, match=f"cannot resolve timm/{VIT}@main"):
        section_of(f"timm:{VIT}", SIZE)


# ---------------------------------------------------------------------------------------------------------- the card


def test_a_recipe_on_another_backbone():
    recipe = task_card("depth-estimation", departures=("Shorter.",))
    card = on_backbone(recipe, f"random:timm:{VIT}")
    assert parse(dump(card)) == card
    assert card.name == "timm-test_vit.r160_in1k.depth-estimation-synthrooms"
    assert (card.method, card.init, card.starts_trained) == (None, None, False)
    for unchanged in ("task", "objective", "data", "train", "evaluation", "license"):
        assert getattr(card, unchanged) == getattr(recipe, unchanged)
    assert card.departures == ("Shorter.", f"The recipe of {recipe.name} on another backbone, random:timm:{VIT}.")
    assert with_overrides(card, ["backbone.image_size=[96, 96]"]).backbone.image_size == (96, 96)


def test_trained_weights_bring_their_own_terms(hub: LoopbackHub, tmp_path: Path):
    publish_timm(hub, tmp_path / "timm")
    recipe = task_card("depth-estimation", license=License(weights="MIT, not apache-2.0", data="made up"))
    card = on_backbone(recipe, f"timm:{VIT}")
    assert card.starts_trained
    assert card.license.weights == f"{recipe.license.weights}, and those of timm:{VIT} it starts from: apache-2.0"
    untrained = with_overrides(card, ["backbone.pretrained=false"])
    assert not untrained.starts_trained, "the baseline"
    assert initial_network(untrained).levels == initial_network(card).levels


@pytest.mark.parametrize(
    ("spec", "terms"),
    [
        (f"timm:convnextv2_tiny.fcmae_ft_in22k_in1k@{40 * 'a'}", "cc-by-nc-4.0"),
        (f"timm:vit_small_patch14_dinov2.lvd142m@{40 * 'a'}", "apache-2.0"),
        (f"timm:resnet50.bamboo@{40 * 'a'}", "not stated"),
        (f"transformers:{DINO}@{40 * 'a'}", "not stated"),
    ],
)
def test_the_terms_are_those_that_the_library_states(spec: str, terms: str):
    library, model, revision = spec.replace("@", ":").split(":")
    found = section(library=library, model=model, revision=revision, pretrained=True)
    assert terms_of(found) == terms


def test_a_recipe_is_moved_once():
    """Or it would keep the terms and the departures of the first one."""
    recipe = task_card("depth-estimation")
    card = on_backbone(recipe, f"random:timm:{VIT}")
    with pytest.raises(ValueError, match=f"on a backbone of another library already, timm:{VIT}: take the recipe"):
        on_backbone(card, f"random:timm:{CONVNEXT}")
    assert card.paper == f"Recipe of: {recipe.paper}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=mask3d", "should be null: the backbone is pre-trained by another library"),
        ("init=mask3d-vitt-synthrooms", "should be null: the backbone brings its own weights"),
        ("backbone.revision=main", "branches and tags can move"),
        ("backbone.pretrained=true", "is needed: the commit"),
        ("backbone.library=keras", "should be one of 'timm', 'transformers'"),
        ("backbone.model=a/b", "timm's name of a model"),
        ("backbone.patch_size=16", "unknown key 'patch_size'"),
    ],
)
def test_cards_that_make_no_sense(override: str, message: str):
    card = on_backbone(task_card("depth-estimation"), f"random:timm:{VIT}")
    with pytest.raises(CardError, match=message):
        with_overrides(card, [override])


def test_a_card_of_pretraining_is_not_moved():
    recipe = task_card("depth-estimation")
    with pytest.raises(FieldError, match="belongs to cards with a task only"):
        dataclasses.replace(on_backbone(recipe, f"random:timm:{VIT}"), task=None)
    decoder = SemanticSegmentation(labels="nyu13", head=PretrainedDecoder(name="decoder"))
    card = on_backbone(task_card("semantic-segmentation", objective=decoder), f"random:timm:{VIT}")
    with pytest.raises(ValueError, match="is a decoder of pre-training, which timm:test_vit"):
        initial_network(card)


# ------------------------------------------------------------------------------------------------------- the network


def test_weights_of_timm_are_those_of_the_pinned_file(hub: LoopbackHub, tmp_path: Path):
    publish_timm(hub, tmp_path / "timm")
    card = on_backbone(task_card("depth-estimation"), f"timm:{VIT}")
    network = initial_network(card)
    published = load_file(tmp_path / "timm" / "model.safetensors")
    own = network.backbone.state_dict()
    assert {"head.weight", "head.bias"} == published.keys() - own.keys()
    assert all(torch.equal(value, published[name]) for name, value in own.items())
    again = initial_network(card)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_weights_of_transformers_are_those_of_the_pinned_file(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    card = on_backbone(task_card("depth-estimation"), f"transformers:{DINO}")
    assert card.backbone.image_size == (28, 42), "of 32 x 48, multiples of 14"
    network = initial_network(card)
    assert isinstance(network.backbone, Dinov2Backbone)
    assert (network.preprocessing.mean, network.preprocessing.std) == (tuple(MEAN), tuple(STD))
    image = torch.randn(1, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    model = Dinov2Model.from_pretrained(tmp_path / "dino").eval()
    with torch.no_grad():
        tokens = model(image).last_hidden_state[:, 1:]
        maps = network.eval()._read(image, network.reading)[-1]
    torch.testing.assert_close(maps, tokens.transpose(1, 2).unflatten(2, (2, 3)))


@pytest.mark.parametrize("config", [*PLAIN, *PYRAMIDS], ids=lambda config: config.model_type)
def test_backbones_of_transformers_come_back_from_a_folder(
    config: PreTrainedConfig, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    publish_transformers(hub, tmp_path / "hub", config)
    objective = DepthEstimation(head=DPT(name="dpt", level_dims=(8, 8, 8, 8), feature_dim=8), loss="l1")
    card = on_backbone(task_card("depth-estimation", objective=objective), f"transformers:{DINO}")
    network = initial_network(card)
    saved = save_pretrained_folder(network, card, tmp_path / "saved")
    monkeypatch.setattr("rgbd3d.downstream.foreign.snapshot", None)  # nothing may be asked of the Hub, or of its cache
    assert check_folder(saved).ok, str(check_folder(saved))
    model = rgbd3d.from_pretrained(saved)
    state = model.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert torch.equal(model.predict(pictures((37, 55))), network.predict(pictures((37, 55))))
    assert is_pyramid(network.levels) == (config in PYRAMIDS)
    assert f"transformers:{DINO}" in describe(card)


def test_gradient_checkpointing_changes_nothing(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    for spec in (f"random:transformers:{DINO}", f"random:timm:{VIT}"):
        model: Any = model_from_card(on_backbone(task_card("depth-estimation"), spec)).train()
        pixels, metres = torch.randn(2, 3, *model.model.image_size), torch.ones(2, 8, 8)
        gradients = []
        for enable in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
            enable()
            model.zero_grad()
            model(pixels, labels=metres).loss.backward()
            gradients.append([p.grad.clone() for p in model.model.backbone.parameters() if p.grad is not None])
        assert all(torch.allclose(*pair) for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize("task", ["semantic-segmentation", "depth-estimation", "instance-segmentation"])
def test_every_task_on_a_backbone_of_transformers(task: str, hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    labels = None if task == "depth-estimation" else 5
    network = create_task_model(f"random:transformers:{DINO}", task, num_labels=labels, image_size=(28, 42))
    frames = batch((28, 42))
    loss, _ = network.train().loss({name: frames[name] for name in network.inputs})
    loss.backward()
    assert loss.isfinite()
    assert network.backbone.encoder.layer[0].mlp.fc1.weight.grad.abs().sum() > 0
    assert len(network.predict(pictures((37, 55)), size="frame")) == 2


@pytest.mark.parametrize("head", ["linear", "attentive", "convnext", "dpt", "upernet"])
def test_heads_on_a_hierarchical_backbone(head: str):
    network = create_task_model(
        f"random:timm:{CONVNEXT}", "semantic-segmentation", num_labels=5, head=head, image_size=SIZE
    )
    assert [level.stride for level in network.levels] == [4, 8, 16, 32]
    assert network.patch_size == (32, 32)
    loss, _ = network.train().loss(batch(SIZE))
    loss.backward()
    grads = [network.backbone.stages[stage].blocks[0].mlp.fc1.weight.grad for stage in range(4)]
    assert head == "linear" or head == "attentive" or all(grad.abs().sum() > 0 for grad in grads)
    scale = {"linear": 1, "attentive": 1, "convnext": 4, "dpt": 16, "upernet": 8}[head]
    with torch.no_grad():
        found = network.eval()(torch.zeros(2, 3, *SIZE))
    assert found.shape[2:] == (SIZE if head == "dpt" else (2 * scale, 3 * scale))
    assert network.predict(pictures((37, 55)), size="frame").shape == (2, 5, 37, 55)


def test_heads_that_make_their_own_pyramid_are_refused():
    pyramid = [Level(8 * 2**stage, 4 * 2**stage) for stage in range(4)]
    with pytest.raises(ValueError, match="head mask2former works on the one map of a plain vision transformer"):
        build_head(Mask2Former(name="mask2former"), pyramid, 5, task="segmentation")
    with pytest.raises(ValueError, match="head mask-rcnn works on the one map"):
        create_task_model(f"random:timm:{CONVNEXT}", "instance-segmentation", num_labels=5, image_size=SIZE)


def test_the_loss_sees_what_the_backbone_expects(hub: LoopbackHub, tmp_path: Path):
    """Batches are ImageNet-normalised; training and prediction have to agree."""
    publish_dino(hub, tmp_path / "dino")
    card = on_backbone(task_card("depth-estimation"), f"transformers:{DINO}")
    network = initial_network(card).eval()
    pixels = torch.rand(2, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    truth = 1 + torch.rand(2, 1, 28, 42, generator=torch.Generator().manual_seed(1))
    expected, _ = network.loss({"image": normalise_image(pixels, MEAN, STD), "depth_metres": truth})
    found = TaskLoss(network)(
        generator=torch.Generator().manual_seed(0), image=normalise_image(pixels), depth_metres=truth
    )
    torch.testing.assert_close(found.loss, expected)


@pytest.mark.parametrize("spec", [f"random:timm:{CONVNEXT}", f"random:transformers:{DINO}"])
def test_drop_path_rises_over_the_blocks(spec: str, hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    network, known = build_foreign(section_of(spec, SIZE))
    set_drop_path(network, 0.3)
    rates = [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.3 * index / len(rates) for index in range(1, len(rates) + 1)])
    image, levels = torch.randn(8, 3, 2 * known.stride, known.stride), levels_of(network)
    once, twice = (read_levels(network.train(), levels, image, [0, 1, 2, 3], normed=False)[-1] for _ in range(2))
    assert not torch.equal(once, twice)


def test_layers_for_layer_wise_decay(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    network, _ = build_foreign(section_of(f"random:transformers:{DINO}", (28, 42)))
    layers, depth = layers_of(network)
    assert depth == 4
    assert layers["embeddings.cls_token"] == 0
    assert layers["encoder.layer.3.mlp.fc1.weight"] == 4
    assert layers["layernorm.weight"] == 5
    resnet, _ = build_foreign(section_of("random:timm:test_resnet", SIZE))
    with pytest.raises(ValueError, match="its layers cannot be told apart"):
        layers_of(resnet)


# --------------------------------------------------------------------------------------------------- what is refused


def test_pickles_are_not_loaded(hub: LoopbackHub, tmp_path: Path):
    publish_timm(hub, tmp_path / "timm", file="pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"has no model.safetensors: weights in other formats \(pickles\)"):
        foreign_weights(section_of(f"timm:{VIT}", SIZE))
    Dinov2Model(DINO_CONFIG).save_pretrained(tmp_path / "dino")
    (tmp_path / "dino" / "model.safetensors").rename(tmp_path / "dino" / "pytorch_model.bin")
    (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"has no model\.safetensors"):
        foreign_weights(section_of(f"transformers:{DINO}", (28, 42)))


@pytest.mark.parametrize("lost", ["blocks.0.attn.qkv.weight", "patch_embed.proj.bias"])
def test_a_file_that_lacks_a_weight_of_timm(hub: LoopbackHub, tmp_path: Path, lost: str):
    publish_timm(hub, tmp_path / "timm")
    state = load_file(tmp_path / "timm" / "model.safetensors")
    del state[lost]
    save_file(state, tmp_path / "timm" / "model.safetensors")
    publish(hub, tmp_path / "timm", name=f"timm/{VIT}")
    with pytest.raises(ValueError, match=f"does not hold the weights of timm's {VIT}.*{lost}"):
        foreign_weights(section_of(f"timm:{VIT}", SIZE))


def test_a_file_that_lacks_a_weight_of_transformers(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    state = load_file(tmp_path / "dino" / "model.safetensors")
    del state["encoder.layer.0.mlp.fc1.weight"]
    save_file(state, tmp_path / "dino" / "model.safetensors", metadata={"format": "pt"})
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"does not hold all weights .*it lacks encoder.layer.0.mlp.fc1.weight"):
        foreign_weights(section_of(f"transformers:{DINO}", (28, 42)))


def test_configurations_that_are_none(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    for values, message in (
        ({"model_type": "vit"}, r"no backbone of type 'vit' \(AutoBackbone\)"),
        ({"model_type": "nothing"}, "knows no model of type 'nothing'"),
        ({**DINO_CONFIG.to_dict(), "hidden_size": "x"}, r"cannot build .*/config\.json .*'hidden_size' expected int"),
        (
            {**DINO_CONFIG.to_dict(), "num_hidden_layers": -1},
            r"cannot build .*/config\.json \(ValueError: out_",
        ),
        ({**DINO_CONFIG.to_dict(), "hidden_act": "nothing"}, r"cannot build .*/config\.json \(KeyError: 'nothing'\)"),
        ({"model_type": "timm_backbone", "backbone": "resnet18"}, "only names a model of timm: give it as timm:NAME"),
        ([], "is no JSON object"),
    ):
        (tmp_path / "dino" / "config.json").write_text(json.dumps(values))
        publish(hub, tmp_path / "dino", name=DINO)
        with pytest.raises(ValueError, match=message):
            section_of(f"transformers:{DINO}", SIZE)
    (tmp_path / "dino" / "config.json").write_text("{")
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"/config\.json is no JSON .*take another commit"):
        section_of(f"transformers:{DINO}", SIZE)
    shutil.copytree(tmp_path / "dino", tmp_path / "other")
    DINO_CONFIG.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "preprocessor_config.json").unlink()
    publish(hub, tmp_path / "other", name=DINO)
    with pytest.raises(ValueError, match=r"has no preprocessor_config\.json"):
        section_of(f"transformers:{DINO}", SIZE)


KERNEL = {"_attn_implementation": "someone/kernel"}


@pytest.mark.parametrize(
    "values",
    [
        KERNEL,
        {"attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"": "someone/kernel"}},
        {"_attn_implementation_internal": "someone/kernel"},
        {"experts_implementation": "someone/kernel"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"auto_map": {"AutoBackbone": "someone--code.Backbone"}},
        {"backbone_config": {"parts": [KERNEL]}},
    ],
)
def test_a_configuration_that_asks_for_other_code(values: dict[str, Any], hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    (tmp_path / "dino" / "config.json").write_text(json.dumps({**DINO_CONFIG.to_dict(), **values}))
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"/config\.json asks by \w+ for code or arithmetic of others"):
        section_of(f"random:transformers:{DINO}", SIZE)


def test_transformers_own_attention_may_be_asked_for(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    harmless = {"_attn_implementation": "eager", "quantization_config": None}
    (tmp_path / "dino" / "config.json").write_text(json.dumps({**DINO_CONFIG.to_dict(), **harmless}))
    publish(hub, tmp_path / "dino", name=DINO)
    assert section_of(f"random:transformers:{DINO}", SIZE).parameters > 0


def test_a_saved_folder_that_asks_for_other_code(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    card = on_backbone(task_card("depth-estimation"), f"random:transformers:{DINO}")
    saved = save_pretrained_folder(initial_network(card), card, tmp_path / "saved")
    values = json.loads((saved / "config.json").read_text())
    values["foreign"]["config"] |= KERNEL
    (saved / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"foreign\.config of config\.json asks by _attn_implementation"):
        RgbdForDepthEstimation.from_pretrained(saved)


@pytest.mark.parametrize("mean", [0.5, [0.5], ["a", "b", "c"], [0.5, 0.5, float("nan")], None])
def test_a_normalisation_that_is_none(mean: object, hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    for values in ({"image_mean": mean, "image_std": STD}, {"image_mean": MEAN, "image_std": [0.0, 1.0, 1.0]}):
        (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps(values))
        publish(hub, tmp_path / "dino", name=DINO)
        with pytest.raises(ValueError, match=r"preprocessor_config\.json does not say .*: take another commit"):
            section_of(f"transformers:{DINO}", SIZE)


def test_networks_are_tried_on_two_sizes_and_left_as_they_were():
    assert section_of("random:timm:mobilevit_xxs", SIZE).image_size == SIZE, "its base class has an img_size"
    fixed = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    with pytest.raises(ValueError, match=r"cannot read images of \(240, 224\) .*build it with dynamic_img_size=True"):
        require_any_size(fixed, (224, 224))
    swin = timm.create_model("swin_tiny_patch4_window7_224", dynamic_img_size=True, num_classes=0).train()
    before = {name: value.shape for name, value in swin.named_buffers()}
    require_any_size(swin, SIZE)
    assert {name: value.shape for name, value in swin.named_buffers()} == before
    assert swin.training
    assert not any(value.is_meta for value in swin.state_dict().values())


def test_what_the_card_says_and_the_library_builds_have_to_agree():
    with pytest.raises(
        ValueError, match="parameters, not 7 as the card says: it is another network, or another version"
    ):
        build_foreign(section(parameters=7))
    with pytest.raises(ValueError, match=r"multiples of 16, not \(60, 96\): set backbone.image_size"):
        build_foreign(section(image_size=(60, 96)))
    with pytest.raises(ValueError, match="is random initialisation: it has no weights"):
        foreign_weights(section())
