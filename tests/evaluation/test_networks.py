"""Opening checkpoints: the right weights, the right size, and errors that say what is wrong."""

import pytest
import timm
import torch
from foreign_backbones import DINO, MEAN, STD, VIT, publish_dino, publish_timm, publish_transformers
from labelled_source import LabelledSource, register_tiny_card
from safetensors.torch import load_file
from transformers import SwinConfig

from rgbd3d import card_weights, registry
from rgbd3d.data.batch import normalise_image
from rgbd3d.evaluation.cka import cka
from rgbd3d.evaluation.networks import Network, open_network

pytest_plugins = ["hub_fixtures"]

NAME = "mask3d-vitt-synthrooms"


def test_a_card_and_its_untrained_twin():
    trained, fresh, again = open_network(NAME), open_network(f"random:{NAME}"), open_network(f"random:{NAME}")
    weights = card_weights.backbone_weights(NAME)
    key = "blocks.3.attn.qkv.weight"
    assert torch.equal(trained.module.state_dict()[key], weights[key])
    assert not torch.equal(fresh.module.state_dict()[key], weights[key])
    assert torch.equal(fresh.module.state_dict()[key], again.module.state_dict()[key])
    assert trained.size == registry.get_card(NAME).backbone.image_size
    assert not trained.module.training
    assert trained.layers() == tuple(f"blocks.{i}" for i in range(12))


def test_of_a_fine_tuned_model_the_backbone_is_looked_at():
    name = f"{NAME}.depth-synthrooms"
    network = open_network(name)
    expected = registry.from_pretrained(name).network
    assert torch.equal(network.module.state_dict()["norm.weight"], expected.backbone.state_dict()["norm.weight"])
    assert network.size == expected.image_size
    assert network.layers() == tuple(f"blocks.{i}" for i in range(12))
    assert not network.module.training
    assert open_network(f"random:{name}").layers() == network.layers()


def test_a_timm_model_brings_its_weights_and_preprocessing(hub, tmp_path):
    commit = publish_timm(hub, tmp_path / "vit")
    network = open_network(f"timm:{VIT}@{commit}")
    config = timm.get_pretrained_cfg(VIT)
    assert network.name == f"timm:{VIT}@{commit}"
    assert network.size == config.input_size[1:]
    assert network.mean == config.mean
    assert network.std == config.std
    published = load_file(tmp_path / "vit" / "model.safetensors")
    assert torch.equal(network.module.state_dict()["blocks.1.mlp.fc1.weight"], published["blocks.1.mlp.fc1.weight"])
    assert not network.module.training
    assert network.layers() == tuple(f"blocks.{block}" for block in range(len(network.module.blocks)))


def test_a_transformers_model_brings_its_weights_and_preprocessing(hub, tmp_path):
    commit = publish_dino(hub, tmp_path / "dino")
    network = open_network(f"transformers:{DINO}@{commit}")
    assert (network.size, network.mean, network.std) == ((28, 28), tuple(MEAN), tuple(STD))
    published = load_file(tmp_path / "dino" / "model.safetensors")
    key = "encoder.layer.2.mlp.fc1.weight"
    assert torch.equal(network.module.state_dict()[key], published[key])
    assert network.layers() == tuple(f"encoder.layer.{block}" for block in range(4))
    source = LabelledSource(6)
    compared = cka(network, open_network(f"random:{NAME}"), source, frames=6)
    assert (len(compared.between), len(compared.between[0])) == (4, 12)


def test_the_commit_is_named_where_none_was_typed(hub, tmp_path):
    commit = publish_timm(hub, tmp_path / "vit")
    assert open_network(f"timm:{VIT}").name == f"timm:{VIT}@{commit}"


def test_stages_that_put_out_more_than_features(hub, tmp_path):
    config = SwinConfig(embed_dim=8, depths=[1, 1, 2], num_heads=[1, 2, 2], window_size=2, image_size=(32, 48))
    network = open_network(f"transformers:{DINO}@{publish_transformers(hub, tmp_path / 'swin', config)}")
    assert network.size == (32, 48)
    assert network.layers() == tuple(f"swin.encoder.layers.{stage}" for stage in range(3))
    same = cka(network, network, LabelledSource(6), frames=6)
    assert [same.between[stage][stage] for stage in range(3)] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("name", [f"timm:{VIT}", NAME])
def test_random_weights_are_the_same_each_time_and_change_no_other_draw(name):
    torch.manual_seed(5)
    first, second = (open_network(f"random:{name}") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.module.parameters(), second.module.parameters(), strict=True))
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_a_network_for_images_of_one_size():
    network = open_network("random:timm:mixer_s32_224")
    assert network.size == (224, 224)
    assert network.layers() == tuple(f"blocks.{block}" for block in range(8))
    with torch.no_grad():
        assert network.module(torch.zeros(1, 3, 224, 224)).isfinite().all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:no_such_net", "timm:no_such_net: timm knows no model 'no_such_net'"),
        (f"timm:{VIT.partition('.')[0]}.nosuch", "timm:test_vit.nosuch: timm knows no weights 'test_vit.nosuch'"),
        ("transformers:", "should look like timm:NAME, transformers:OWNER/NAME"),
    ],
)
def test_what_another_library_does_not_have(spec, message):
    with pytest.raises(registry.ModelError, match=message):
        open_network(spec)


def test_pictures_are_resized_and_normalised():
    network = Network("n", torch.nn.Identity(), (16, 24), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    source = LabelledSource(2)
    images = network.images([source[0], source[1]])
    assert images.shape == (2, 3, 16, 24)
    same = Network("n", torch.nn.Identity(), tuple(source[0]["image"].shape[1:]))
    torch.testing.assert_close(same.images([source[0]])[0], normalise_image(source[0]["image"] / 255))


def test_what_is_not_there(tmp_path, own_registry):
    with pytest.raises(registry.UnknownModelError):
        open_network("mask3d-nothing")
    with pytest.raises(registry.UnknownModelError):
        open_network("random:mask3d-nothing")
    with pytest.raises(registry.UnknownModelError):
        open_network(tmp_path / "nowhere")
    with pytest.raises(registry.NoWeightsError):
        open_network(register_tiny_card(tmp_path))


def test_layers_are_modules():
    network = Network("tiny", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU()), (8, 8))
    assert network.layers(["1", "0"]) == ("1", "0")
    with pytest.raises(ValueError, match="tiny has no layer '2'"):
        network.layers(["2"])
    with pytest.raises(ValueError, match="lists no layers; name some"):
        network.layers()
