import argparse
import json

import pytest
import torch
from conversion_modules import load

from rgbd3d.cards import Backbone
from rgbd3d.methods.mae import MAE
from rgbd3d.objectives import MAEObjective

mae = load("mae")


def test_encoder_only_file(golden):
    """The released encoder files have no decoder; what is left is the same."""
    state = mae.read(golden / "mae_pretrain" / "checkpoint.pth")
    encoder = {k: v for k, v in state.items() if "decoder" not in k and k != "mask_token"}
    converted = mae.convert(encoder)
    assert {key.split(".")[0] for key in converted} == {"backbone"}
    weights = mae.backbone_weights(state)
    assert weights.keys() == encoder.keys() - {"pos_embed"}
    assert all(torch.equal(weights[key], encoder[key]) for key in weights)


@pytest.mark.parametrize("size", ["base", "large"])
def test_the_official_models_fit_ours(golden, size):
    """Names and shapes of the full-size files, without their values."""
    manifest = json.loads((golden / "manifests" / f"mae_vit_{size}_pretrain_full.json").read_text())["keys"]
    state = {key: torch.empty(shape, device="meta") for key, (shape, _) in manifest.items()}
    for name in mae.POSITIONS:
        del state[name]
    backbone = Backbone(
        architecture=f"vit_{size}", patch_size=16, image_size=(224, 224), class_token=True, parameters=1
    )
    with torch.device("meta"):
        method = MAE(backbone, MAEObjective())
    expected = {key: value.shape for key, value in method.state_dict().items() if key != "backbone.pos_embed"}
    assert {key: value.shape for key, value in mae.convert(state).items()} == expected


def test_a_pickle_that_holds_more_than_tensors_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": {}, "args": argparse.Namespace(lr=1e-3)}, path)
    with pytest.raises(ValueError, match=r"checkpoint\.pth is not a file of plain tensors.*write the weights alone"):
        mae.read(path)


def test_a_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="no dictionary of weights named 'model'"):
        mae.read(path)


def test_unknown_key_is_refused(golden):
    state = mae.read(golden / "mae_pretrain" / "checkpoint.pth") | {"head.weight": torch.zeros(7, 36)}
    with pytest.raises(ValueError, match=r"unknown MAE key `head\.weight`"):
        mae.convert(state)


def test_learnt_positions_are_refused(golden):
    state = mae.read(golden / "mae_pretrain" / "checkpoint.pth")
    state["pos_embed"] = state["pos_embed"] + 0.1
    with pytest.raises(ValueError, match=r"`pos_embed` \(1, 17, 36\) is not MAE's fixed"):
        mae.convert(state)
