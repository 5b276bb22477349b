"""What a fine-tuned card starts from, and what it refuses to start from."""

from dataclasses import replace

import pytest
import torch
from task_networks import task_card

from rgbd3d import card_weights, registry
from rgbd3d.cards import Card
from rgbd3d.downstream.start import initial_network, load_start
from rgbd3d.registry import NoWeightsError
from rgbd3d.tasks import PretrainedDecoder, SemanticSegmentation

NAME = "mask3d-vitt-synthrooms"


def card(**changes: object) -> Card:
    """A card whose backbone is that of the bundled weights."""
    backbone = replace(registry.get_card(NAME).backbone, image_size=(36, 48))
    return task_card("semantic-segmentation", **{"backbone": backbone, "init": NAME, **changes})


def test_the_backbone_is_that_of_init_and_the_head_follows_the_seed():
    one, same, other = (initial_network(card(train=replace(card().train, seed=seed))) for seed in (0, 0, 1))
    expected = card_weights.backbone_weights(NAME)
    for network in (one, other):
        state = network.backbone.state_dict()
        assert all(torch.equal(state[name], value.float()) for name, value in expected.items() if name != "pos_embed")
    heads = [network.head.state_dict() for network in (one, same, other)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert any(not torch.equal(heads[0][name], heads[2][name]) for name in heads[0])


def test_random_initialisation_is_the_same_on_every_machine_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same = initial_network(card(init=None)), initial_network(card(init=None))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in one.state_dict().items())
    assert not torch.equal(one.backbone.norm.weight, card_weights.backbone_weights(NAME)["norm.weight"].float())


def decoder_head(**size: int) -> SemanticSegmentation:
    decoder = replace(registry.get_card(NAME).objective.decoder, **size)
    return SemanticSegmentation(labels="nyu13", head=PretrainedDecoder(name="decoder", decoder=decoder))


def test_the_decoder_head_starts_from_the_pretrained_decoder():
    network = initial_network(card(objective=decoder_head()))
    expected = card_weights.decoder_weights(NAME)
    state = network.head.decoder.state_dict()
    taken = [name for name in expected if not name.startswith(("heads.", "mask_token"))]
    assert len(taken) > 10
    assert all(torch.equal(state[name], expected[name].float()) for name in taken)
    assert state["heads.prediction.weight"].shape == (12 * 12 * 13, 128)


def test_a_decoder_of_another_size_is_refused():
    with pytest.raises(ValueError, match=rf"starts from {NAME}: these weights are of another decoder: it lacks"):
        initial_network(card(objective=decoder_head(depth=4)))


def test_an_init_that_nobody_has_trained_is_refused():
    with pytest.raises(NoWeightsError, match=r"starts from mask3d-vitb-scannet\. .*`--set init=null`"):
        initial_network(card(init="mask3d-vitb-scannet"))


def test_an_init_without_its_decoder_is_refused(monkeypatch: pytest.MonkeyPatch):
    published = registry.get_card(NAME)
    files = {name: pin for name, pin in published.weights.files.items() if name != "decoder.safetensors"}
    backbone_only = replace(published, weights=replace(published.weights, files=files))
    monkeypatch.setattr(card_weights, "get_card", lambda name: backbone_only)
    with pytest.raises(NoWeightsError, match=f"only the backbone of {NAME} is published"):
        initial_network(card(objective=decoder_head()))


def test_an_init_of_another_architecture_is_refused():
    larger = replace(card().backbone, architecture="vit_small", parameters=1)
    message = rf"has the backbone vit_small \(.* of width 384.*\), but {NAME}, .* has another one \(.* of width 192"
    with pytest.raises(ValueError, match=message):
        initial_network(card(backbone=larger))


def test_a_start_of_the_same_size_that_lacks_a_weight():
    state = card_weights.backbone_weights(NAME)
    del state["norm.weight"]
    with pytest.raises(ValueError, match=r"cannot start from the backbone of other: .*Missing key.* .norm\.weight"):
        load_start(initial_network(card(init=None)), state, card(), "other")


def test_an_init_without_the_class_token_is_refused():
    """Although its table of positions has another first row, which is no sign of learnt positions."""
    other = replace(card().backbone, class_token=True, parameters=1)
    with pytest.raises(ValueError, match=rf"a class token\), but {NAME}, .* has another one \(.* no class token\)"):
        initial_network(card(backbone=other))
