"""Mask3D: what its encoders see, what they start from, the completed depth, and wrong input."""

import math

import pytest
import torch
from tiny_mask3d import OBJECTIVE, PATCH, PATCHES, frames, hide, objective, run

from rgbd3d.cards import Backbone
from rgbd3d.losses.reconstruction import patchify
from rgbd3d.methods.mae import MAE
from rgbd3d.methods.mask3d import Mask3D
from rgbd3d.objectives import Decoder, MAEObjective, Mask3DObjective
from rgbd3d.seeding import generator

# ----------------------------------------------------------------------------------------------------------- masking


@pytest.mark.parametrize(("keep_rgb", "keep_depth"), [(0.2, 0.2), (0.4, 0.0), (0.0, 0.4), (0.6, 0.4), (1.0, 0.0)])
def test_kept_fractions(build, keep_rgb, keep_depth):
    output = run(build(Mask3D, objective(keep_rgb=keep_rgb, keep_depth=keep_depth)))
    assert output.masks["rgb"].sum(dim=1).tolist() == [round(keep_rgb * PATCHES)] * 2
    assert output.masks["depth"].sum(dim=1).tolist() == [round(keep_depth * PATCHES)] * 2
    assert not (output.masks["rgb"] & output.masks["depth"]).any()
    assert output.reconstruction["depth"].shape == (2, PATCHES, PATCH * PATCH)


def test_overlapping_masks_let_rgb_win(build):
    """Rows of Table 8 that sum to more than one: where both are kept the decoder sees RGB only."""
    method, batch = build(Mask3D, objective(keep_rgb=1.0, keep_depth=1.0, disjoint=False)), frames()
    output = run(method, batch)
    assert all(mask.all() for mask in output.masks.values())
    rgb_only = {"rgb": output.masks["rgb"], "depth": torch.zeros_like(output.masks["depth"])}
    torch.testing.assert_close(
        run(method, batch, masks=rgb_only).reconstruction["depth"], output.reconstruction["depth"]
    )


def test_disjoint_masks_that_rounding_makes_too_many(build):
    """15 patches at 1/2 + 1/2 round to 8 + 8."""
    with pytest.raises(ValueError, match=r"8 \+ 8 of 15 patches"):
        run(build(Mask3D, objective(keep_rgb=0.5, keep_depth=0.5)))
    assert run(build(Mask3D, objective(keep_rgb=0.5, keep_depth=0.5, disjoint=False))).loss.isfinite()


def test_the_encoders_see_only_what_is_kept(build):
    method, batch = build(Mask3D, objective(joint_mae=True, targets=("depth", "rgb"))), frames()
    first = run(method, batch)
    changed = dict(
        batch,
        image=batch["image"] + hide(first.masks["rgb"]) * 7.0,
        depth=torch.where(hide(first.masks["depth"]), float("nan"), batch["depth"]),
    )
    second = run(method, changed)
    for name, prediction in first.reconstruction.items():
        assert torch.equal(prediction, second.reconstruction[name]), name

    for name in ("image", "depth"):
        visible = ~hide(first.masks["rgb" if name == "image" else "depth"])
        third = run(method, dict(batch, **{name: batch[name] + visible * 0.5}))
        assert not torch.allclose(third.reconstruction["depth"], first.reconstruction["depth"]), name


def test_everything_random_comes_from_the_generator(build):
    method, batch = build(Mask3D, OBJECTIVE), frames()
    torch.manual_seed(1)
    first = run(method, batch, seed=5)
    torch.manual_seed(2)
    again, other = run(method, batch, seed=5), run(method, batch, seed=6)
    assert torch.equal(first.loss, again.loss)
    assert not torch.equal(first.masks["rgb"], other.masks["rgb"])
    given = run(method, batch, seed=6, masks=first.masks)
    assert torch.equal(given.loss, first.loss)
    assert torch.equal(given.masks["depth"], first.masks["depth"])


# ---------------------------------------------------------------------------------------------------- initialisation


@pytest.mark.parametrize("init", ["same", "fresh"])
def test_starts_from_the_backbone_of_another_method(build, small, init):
    source = build(MAE, MAEObjective(decoder=Decoder(dim=16, depth=1, heads=2))).backbone
    method = Mask3D(small, objective(init_depth_encoder=init))
    fresh = {name: value.clone() for name, value in method.depth_encoder.state_dict().items()}
    method.load_backbone(source.state_dict())

    image = torch.randn(1, 3, 24, 40)
    assert torch.equal(source(image), method.backbone(image))
    for name, value in method.depth_encoder.state_dict().items():
        shared = init == "same" and name.startswith(("blocks.", "norm."))
        assert torch.equal(value, source.state_dict()[name] if shared else fresh[name]), name
    with torch.no_grad():
        source.blocks[0].mlp.fc1.weight.zero_()
    assert method.depth_encoder.blocks[0].mlp.fc1.weight.any()


def test_depth_projection_starts_as_maes(small):
    weight = Mask3D(small, OBJECTIVE).depth_encoder.patch_embed.proj.weight
    bound = math.sqrt(6 / (weight.shape[0] + PATCH * PATCH))
    assert weight.shape == (24, 1, PATCH, PATCH)
    assert 0.9 * bound < weight.abs().max() <= bound


def test_init_with_missing_weights_is_refused(build):
    method = build(Mask3D, OBJECTIVE)
    state = dict(method.backbone.state_dict())
    del state["norm.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*norm\.weight"):
        method.load_backbone(state)


def test_init_with_too_few_blocks_is_refused(build):
    method = build(Mask3D, objective(depth_encoder_depth=4))
    with pytest.raises(ValueError, match="depth encoder has 4 blocks, the weights to start from have fewer"):
        method.load_backbone(method.backbone.state_dict())


# -------------------------------------------------------------------------------------------------- sizes, precision


def test_size_of_the_papers_network():
    """ViT-B encoders and MAE's decoder; 85.8 million parameters are kept (§4.1, FACTS.md §1.2)."""
    backbone = Backbone(architecture="vit_base", patch_size=16, image_size=(240, 320), class_token=True, parameters=1)
    with torch.device("meta"):
        method = Mask3D(backbone, Mask3DObjective())
    count = {
        name: sum(p.numel() for p in module.parameters() if p.requires_grad) for name, module in method.named_children()
    }
    assert count["backbone"] == 12 * 7_087_872 + 768 * (16 * 16 * 3 + 1) + 2 * 768 + 768
    assert count["depth_encoder"] == 12 * 7_087_872 + 768 * (16 * 16 + 1) + 2 * 768
    assert count["decoder"] == 8 * 3_152_384 + (768 + 1) * 512 + 512 + 2 * 512 + (512 + 1) * 256


@pytest.mark.parametrize(("height", "width"), [(16, 64), (64, 16), (40, 24)])
def test_rectangles(build, height, width):
    method = build(Mask3D, objective(targets=("depth", "rgb", "semantic")))
    output = run(method, frames(1, height, width))
    assert output.loss.isfinite()
    assert output.reconstruction["rgb"].shape == (1, height * width // 64, 192)


def test_bfloat16_autocast(build):
    method, batch = build(Mask3D, objective(targets=("depth", "rgb", "semantic"), joint_mae=True)), frames()
    expected = run(method, batch)
    with torch.autocast("cpu", torch.bfloat16):
        output = run(method, batch)
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == pytest.approx(expected.loss.item(), rel=0.02)
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


def test_gradient_checkpointing(build):
    gradients = []
    for enable in (False, True):
        method = build(Mask3D, objective(joint_mae=True))
        method.set_grad_checkpointing(enable)
        run(method).loss.backward()
        gradients.append({n: p.grad for n, p in method.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*gradients)


def test_learns(build):
    """A few steps on one batch bring the loss well below what predicting the mean gives, which is about 1."""
    torch.manual_seed(0)
    method, batch = build(Mask3D, objective(keep_rgb=0.5, keep_depth=0.4)), frames()
    smooth = torch.linspace(1, 4, 40).expand(2, 1, 24, 40).contiguous()
    batch |= {"depth_metres": smooth, "depth": smooth - 2.5}
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    for step in range(40):
        optimizer.zero_grad()
        run(method, batch, seed=step).loss.backward()
        optimizer.step()
    assert run(method, batch, seed=99).loss < 0.3


# ---------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("switches", [{}, {"normalize_output": True}, {"normalize_target": False}], ids=str)
def test_complete_brings_predictions_back_to_metres(build, switches):
    method, batch = build(Mask3D, objective(**switches)), frames()
    batch["depth_metres"][0, :, :8, :8] = 0
    output = run(method, batch)
    inputs = {name: batch[name] for name in ("image", "depth", "depth_metres")}
    completion = method.complete(**inputs, masks=output.masks)
    assert completion.depth.shape == (2, 1, 24, 40)
    assert not completion.depth.requires_grad
    assert not completion.depth[0, :, :8, :8].any()

    prediction, target = output.reconstruction["depth"].detach(), patchify(batch["depth_metres"], PATCH)
    for b, patch in [(0, 1), (1, 0), (1, 14)]:
        values, valid = prediction[b, patch].double(), target[b, patch] > 0
        true = target[b, patch][valid].double()
        if switches.get("normalize_output"):
            values = (values - values[valid].mean()) / (values[valid].var() + 1e-6).sqrt()
        if switches.get("normalize_target", True):
            values = values * (true.var() + 1e-6).sqrt() + true.mean()
        actual = patchify(completion.depth, PATCH)[b, patch].double()
        torch.testing.assert_close(actual, values, rtol=1e-5, atol=1e-5)

    hidden = hide(output.masks["rgb"])
    assert torch.equal(completion.visible_image, torch.where(hidden, 0.0, batch["image"]))
    hidden = hide(output.masks["depth"])
    assert torch.equal(completion.visible_depth, torch.where(hidden, 0.0, batch["depth_metres"]))
    drawn = method.complete(**inputs, generator=generator(0))
    assert torch.equal(drawn.depth, completion.depth)


def test_complete_needs_the_depth_target(build):
    batch = frames()
    method = build(Mask3D, objective(targets=("rgb",)))
    with pytest.raises(ValueError, match=r"reconstructs \('rgb',\), not depth"):
        method.complete(batch["image"], batch["depth"], depth_metres=batch["depth_metres"])


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("image", (2, 1, 24, 40), r"\(B, 3, H, W\), got \(2, 1, 24, 40\)"),
        ("image", (2, 3, 20, 40), r"multiples of the patch \(8, 8\), got \(20, 40\)"),
        ("depth", (2, 24, 40), r"`depth` must have shape \(2, 1, 24, 40\).*got \(2, 24, 40\)"),
        ("depth_metres", (2, 1, 24, 48), r"`depth_metres` must have shape \(2, 1, 24, 40\)"),
        ("semantic", (2, 1, 24, 40), r"`semantic` must have shape \(2, 24, 40\)"),
    ],
)
def test_wrong_shapes(build, name, shape, message):
    method = build(Mask3D, objective(targets=("depth", "semantic")))
    with pytest.raises(ValueError, match=message):
        run(method, frames() | {name: torch.zeros(shape)})


def test_semantic_target_needs_labels(build):
    with pytest.raises(ValueError, match="needs `semantic`"):
        run(build(Mask3D, objective(targets=("semantic",))), frames() | {"semantic": None})


def test_wrong_masks(build):
    nothing = torch.zeros(2, PATCHES, dtype=torch.bool)
    method = build(Mask3D, OBJECTIVE)
    with pytest.raises(ValueError, match=r"nothing to reconstruct from: the masks show only \[\]"):
        run(method, masks={"rgb": nothing, "depth": nothing})
    with pytest.raises(ValueError, match=r"the masks show only \['depth'\]"):
        run(build(Mask3D, objective(joint_mae=True)), masks={"rgb": nothing, "depth": ~nothing})
    with pytest.raises(ValueError, match=r"entries \['rgb', 'depth'\], got \['rgb'\]"):
        run(method, masks={"rgb": nothing})
    with pytest.raises(ValueError, match="there is no depth encoder"):
        run(build(Mask3D, objective(keep_depth=0.0)), masks={"rgb": nothing, "depth": ~nothing})
