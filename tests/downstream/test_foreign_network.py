"""Networks on backbones of timm and transformers: their weights, what they compute, and how they are trained."""

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
from loopback_hub import LoopbackHub
from safetensors.torch import load_file
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
from rgbd3d.data.batch import normalise_image
from rgbd3d.downstream.create import create_task_model
from rgbd3d.downstream.foreign import build_foreign, on_backbone, section_of
from rgbd3d.downstream.heads import build_head
from rgbd3d.downstream.levels import Level, is_pyramid, levels_of, read_levels, require_any_size
from rgbd3d.downstream.start import initial_network
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.hub_verify import check_folder
from rgbd3d.modeling import model_from_card
from rgbd3d.tasks import DPT, DepthEstimation, Mask2Former
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
        names = ("gradient_checkpointing", "grad_checkpointing")
        parts = model.model.backbone.modules()
        assert any(getattr(part, name, False) for part in parts for name in names), "it is on"


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
    with pytest.raises(ValueError, match=r"head mask-rcnn works on the one map.*; take such a transformer"):
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


def test_networks_are_tried_on_two_sizes_and_left_as_they_were():
    assert section_of("random:timm:mobilevit_xxs", SIZE).image_size == SIZE, "its base class has an img_size"
    fixed = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    with pytest.raises(ValueError, match=r"cannot read images of \(240, 224\) .*one that takes images of any size"):
        require_any_size(fixed, (224, 224))
    swin = timm.create_model("swin_tiny_patch4_window7_224", dynamic_img_size=True, num_classes=0).train()
    before = {name: value.shape for name, value in swin.named_buffers()}
    require_any_size(swin, SIZE)
    assert {name: value.shape for name, value in swin.named_buffers()} == before
    assert swin.training
    assert not any(value.is_meta for value in swin.state_dict().values())
