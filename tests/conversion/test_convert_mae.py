import argparse
import json

import pytest
import torch
from conversion_modules import load

from rgbd3d import registry
from rgbd3d.cards import Backbone, with_overrides
from rgbd3d.methods import build_method
from rgbd3d.methods.mae import MAE
from rgbd3d.objectives import MAEObjective
from rgbd3d.training.start import open_start

mae = load("mae")


def test_encoder_only_file(golden):
    """The released encoder files have no decoder; what is left is the same."""
    state = mae.read(golden / "mae_pretrain" / "checkpoint.pth")
    encoder = {k: v for k, v in state.items() if "decoder" not in k and k != "mask_token"}
    converted = mae.convert(encoder)
    assert {key.split(".")[0] for key in converted} == {"backbone"}
    assert {key.removeprefix("backbone.") for key in converted} == encoder.keys() - {"pos_embed"}
    assert all(torch.equal(value, encoder[key.removeprefix("backbone.")]) for key, value in converted.items())


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


OFFICIAL = (("backbone.", ""), ("decoder.heads.rgb.", "decoder_pred."), ("decoder.mask_token", "mask_token"))


@pytest.fixture
def public_model(monkeypatch) -> MAE:
    """A model of MAE with a card of a public one, but small."""
    small = ["backbone.architecture=vit_tiny", "backbone.parameters=5543232", "backbone.image_size=[32, 48]"]
    card = with_overrides(
        registry.get_card("mae-vitb-imagenet"), [*small, "objective.decoder={dim: 32, depth: 1, heads: 2}"]
    )
    monkeypatch.setattr(mae, "get_card", {card.name: card}.__getitem__)
    torch.manual_seed(3)
    return build_method(card)


def official(method: MAE) -> dict[str, torch.Tensor]:
    """Its weights under the official names."""
    state = {}
    for key, value in method.state_dict().items():
        for ours, theirs in (*OFFICIAL, ("decoder.", "decoder_")):
            if key.startswith(ours):
                state[theirs + key.removeprefix(ours)] = value
                break
    return state


def test_a_file_with_the_decoder_gives_a_folder_with_both(public_model, tmp_path):
    torch.save({"model": official(public_model)}, tmp_path / "full.pth")
    assert mae.main([str(tmp_path / "full.pth"), "mae-vitb-imagenet", str(tmp_path / "folder")]) == 0
    start = open_start(tmp_path / "folder", with_decoder=True)
    for loaded, own in ((start.backbone, public_model.backbone), (start.decoder, public_model.decoder)):
        expected = own.state_dict()
        assert loaded.state_dict().keys() == expected.keys()
        assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())


def test_a_file_of_the_encoder_gives_a_folder_of_the_backbone(public_model, tmp_path):
    encoder = {key: value for key, value in official(public_model).items() if "decoder" not in key}
    del encoder["mask_token"]
    torch.save({"model": encoder}, tmp_path / "encoder.pth")
    assert mae.main([str(tmp_path / "encoder.pth"), "mae-vitb-imagenet", str(tmp_path / "folder")]) == 0
    start = open_start(tmp_path / "folder")
    assert all(torch.equal(value, encoder[key]) for key, value in start.backbone.state_dict().items())
    with pytest.raises(FileNotFoundError, match="holds only a backbone"):
        open_start(tmp_path / "folder", with_decoder=True)


@pytest.mark.parametrize("lost", ["decoder_pred.bias", "mask_token"])
def test_half_a_decoder_is_refused(public_model, tmp_path, capsys, lost):
    state = official(public_model)
    del state[lost]
    torch.save({"model": state}, tmp_path / "broken.pth")
    assert mae.main([str(tmp_path / "broken.pth"), "mae-vitb-imagenet", str(tmp_path / "folder")]) == 1
    assert "Missing key" in capsys.readouterr().err
    assert not (tmp_path / "folder").exists()


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
