import dataclasses

import pytest
import torch

from rgbd3d.cards import SGD, Card, Data, Exponential, License, Train, Weights
from rgbd3d.methods import MAE, Mask3D, build_method
from rgbd3d.objectives import Decoder, MAEObjective, Mask3DObjective
from rgbd3d.seeding import generator

SMALL = Decoder(dim=16, depth=1, heads=2)


@pytest.fixture
def card(small) -> Card:
    return Card(
        name="mask3d-vits-test",
        title="A test",
        method="mask3d",
        paper="None",
        provenance="smoke-test",
        backbone=small,
        objective=Mask3DObjective(decoder=SMALL, depth_encoder_depth=2),
        data=Data(source="scannet"),
        train=Train(
            optimizer=SGD(name="sgd", lr=0.1, momentum=0.8, weight_decay=1e-4),
            schedule=Exponential(name="exponential", gamma=0.99, every=1000),
            batch_size=2,
            epochs=1,
        ),
        weights=Weights(status="recipe"),
        license=License(weights="Apache-2.0", data="none"),
    )


def test_the_card_decides(card):
    torch.manual_seed(3)
    built = build_method(card)
    assert type(built) is Mask3D
    torch.manual_seed(3)
    direct = Mask3D(card.backbone, card.objective)
    assert built.state_dict().keys() == direct.state_dict().keys()
    assert all(torch.equal(built.state_dict()[name], value) for name, value in direct.state_dict().items())
    mae = build_method(dataclasses.replace(card, method="mae", objective=MAEObjective(decoder=SMALL)))
    assert type(mae) is MAE


@pytest.mark.parametrize("targets", [("depth",), ("semantic", "rgb")])
def test_inputs_are_what_forward_takes(card, targets):
    """A trainer picks `inputs` from a batch that may hold more."""
    objectives = {
        "mask3d": Mask3DObjective(decoder=SMALL, depth_encoder_depth=2, targets=targets, semantic_classes=4),
        "mae": MAEObjective(decoder=SMALL),
    }
    batch = {
        "image": torch.randn(2, 3, 24, 40),
        "depth": torch.randn(2, 1, 24, 40),
        "depth_metres": torch.rand(2, 1, 24, 40) + 1,
        "semantic": torch.randint(0, 4, (2, 24, 40)),
    }
    for name, objective in objectives.items():
        method = build_method(dataclasses.replace(card, method=name, objective=objective))
        output = method(**{key: batch[key] for key in method.inputs}, generator=generator(0))
        output.loss.backward()
        assert output.loss.isfinite()
        assert method.backbone.patch_embed.proj.weight.grad.any()
        assert all(mask.shape == (2, 15) and mask.dtype == torch.bool for mask in output.masks.values())
