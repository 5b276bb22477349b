import dataclasses
import json

import pytest
import torch
from conversion_modules import load
from safetensors.torch import load_file

from rgbd3d.backbones import vit
from rgbd3d.cards import Backbone
from rgbd3d.masking import keep_from_masks
from rgbd3d.methods.mae import MAE
from rgbd3d.objectives import Decoder, MAEObjective
from rgbd3d.seeding import generator

OBJECTIVE = MAEObjective(decoder=Decoder(dim=16, depth=2, heads=2))


# ------------------------------------------------------------------------------------- the official implementation


@pytest.fixture
def official(golden, monkeypatch):
    """Our MAE with the weights of the official one, its inputs and its outputs."""
    folder = golden / "mae_pretrain"
    monkeypatch.setitem(vit.SIZES, "vit_tiny", vit.Size(dim=36, depth=3, heads=3))
    backbone = Backbone(architecture="vit_tiny", patch_size=8, image_size=(32, 32), class_token=True, parameters=1)
    method = MAE(backbone, MAEObjective(decoder=Decoder(dim=24, depth=2, heads=4)))
    conversion = load("mae")
    state = conversion.convert(conversion.read(folder / "checkpoint.pth"))
    method.load_state_dict(state | {"backbone.pos_embed": method.backbone.pos_embed}, strict=True)
    inputs, outputs = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    return method, inputs["imgs"], {"rgb": outputs["mask"] == 0}, outputs


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=2e-5)


def test_latent_equals_mae(official):
    method, image, masks, expected = official
    close(method.backbone.encode(image, prefix=True), expected["latent_full"])
    keep = expected["ids_restore"].argsort(dim=1)[:, :4]  # in the official, shuffled order
    assert torch.equal(keep.sort(dim=1).values, keep_from_masks(masks, ("rgb",), 3, 16)["rgb"])
    close(method.backbone.encode(image, keep, prefix=True), expected["latent"])


@pytest.mark.parametrize("normalize", [True, False])
def test_loss_equals_mae(official, normalize):
    method, image, masks, expected = official
    method.objective = dataclasses.replace(method.objective, normalize_target=normalize)
    output = method(image, masks=masks)
    close(output.reconstruction["rgb"], expected["pred"])
    close(output.loss, expected[f"loss_norm_pix_{normalize}"])
    assert torch.equal(output.masks["rgb"], masks["rgb"])


def test_gradients_equal_mae(official, golden):
    method, image, masks, _ = official
    method(image, masks=masks).loss.backward()
    official_norms = json.loads((golden / "mae_pretrain" / "grad_norms_loss_norm_pix_True.json").read_text())
    expected = load("mae").convert({name: torch.tensor(value) for name, value in official_norms.items()})
    actual = {n: p.grad.norm() for n, p in method.named_parameters() if p.requires_grad}
    assert actual.keys() == expected.keys()
    for name, norm in expected.items():
        torch.testing.assert_close(actual[name], norm, rtol=1e-3, atol=1e-7, msg=name)


# ------------------------------------------------------------------------------------------------- own promises


def test_number_of_visible_patches(build):
    image = torch.randn(2, 3, 24, 40)
    for ratio, visible in [(0.75, 3), (0.5, 7), (0.9, 1)]:
        method = build(MAE, dataclasses.replace(OBJECTIVE, mask_ratio=ratio))
        assert method(image).masks["rgb"].sum(dim=1).tolist() == [visible] * 2


def test_hidden_pixels_do_not_reach_the_prediction(build):
    method, image = build(MAE, OBJECTIVE), torch.randn(2, 3, 24, 40)
    first = method(image, generator=generator(1))
    hidden = ~first.masks["rgb"].reshape(2, 1, 3, 5).repeat_interleave(8, 2).repeat_interleave(8, 3)
    second = method(image + hidden * torch.randn_like(image), generator=generator(1))
    assert torch.equal(first.reconstruction["rgb"], second.reconstruction["rgb"])
    assert not torch.equal(first.loss, second.loss)


def test_rectangles_of_any_size_and_determinism(build):
    method, image = build(MAE, OBJECTIVE), torch.randn(2, 3, 16, 72)
    losses = [method(image, generator=generator(*key)).loss for key in [(3,), (3,), (4,)]]
    assert losses[0].isfinite()
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_starts_from_a_backbone(build, small):
    source, target = build(MAE, OBJECTIVE), MAE(small, OBJECTIVE)
    target.load_backbone(source.backbone.state_dict())
    image = torch.randn(1, 3, 24, 40)
    assert torch.equal(source.backbone(image), target.backbone(image))


def test_masks_must_be_for_rgb(build):
    with pytest.raises(ValueError, match=r"entries \['rgb'\]"):
        build(MAE, OBJECTIVE)(torch.randn(1, 3, 24, 40), masks={"depth": torch.ones(1, 15, dtype=torch.bool)})
