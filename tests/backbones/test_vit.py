import pytest
import timm
import torch
from conversion_modules import load
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from rgbd3d.backbones import vit
from rgbd3d.backbones.positions import sincos_2d
from rgbd3d.backbones.vit import RgbdViT, build_vit, timm_config
from rgbd3d.cards import Backbone

TINY = dict(img_size=(32, 48), patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=0)
BOTH = pytest.mark.parametrize("class_token", [True, False])


def tiny(class_token: bool = True, **changes) -> RgbdViT:
    torch.manual_seed(0)
    network = RgbdViT(**TINY | dict(class_token=class_token, global_pool="avg", fc_norm=False) | changes)
    with torch.no_grad():  # biases and norms start at 0 and 1, which would hide a forgotten one
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def card_backbone(**changes) -> Backbone:
    settings = dict(architecture="vit_tiny", patch_size=12, image_size=(36, 48), class_token=True, parameters=1)
    return Backbone(**settings | changes)


# ------------------------------------------------------------------------------------------------- plain timm


@BOTH
@pytest.mark.parametrize("patch_size", [12, 16])
def test_plain_timm_builds_the_same_network(class_token, patch_size):
    backbone = card_backbone(class_token=class_token, patch_size=patch_size, image_size=(48, 96))
    ours = build_vit(backbone)
    config = timm_config(backbone)
    plain = timm.create_model(config["architecture"], **config["model_args"])
    assert type(plain) is VisionTransformer

    plain.load_state_dict(ours.state_dict(), strict=True)
    image = torch.randn(1, 3, 48, 96)
    assert torch.equal(plain(image), ours(image))
    assert torch.equal(plain.forward_features(image), ours.forward_features(image))
    for theirs, mine in zip(
        plain.forward_intermediates(image, intermediates_only=True, norm=True),
        ours.forward_intermediates(image, intermediates_only=True, norm=True),
        strict=True,
    ):
        assert torch.equal(theirs, mine)

    # At another size timm resamples the positions: close, but not the same.
    other = torch.randn(1, 3, 96, 48)
    assert plain(other).shape == ours(other).shape
    assert not torch.equal(plain(other), ours(other))


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("vit_tiny", 5_524_416), ("vit_small", 21_665_664), ("vit_base", 85_798_656), ("vit_large", 303_301_632)],
)
def test_sizes(architecture, parameters):
    """Parameters of the usual 224 x 224, patch 16 networks without classifier; the positions are fixed."""
    with torch.device("meta"):
        network = build_vit(card_backbone(architecture=architecture, patch_size=16, image_size=(224, 224)))
    assert sum(p.numel() for p in network.parameters()) == parameters
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trainable == parameters - (1 + 14 * 14) * network.embed_dim


def test_encoder_equals_mae(golden):
    """The official fine-tuning network: class token, all tokens, final norm; its positions are resampled ones."""
    folder = golden / "mae_finetune_gp0"
    state = load("mae").read(folder / "checkpoint.pth")
    network = RgbdViT(
        img_size=56, patch_size=8, embed_dim=36, depth=3, num_heads=3, num_classes=7, global_pool="token"
    ).eval()
    network.load_state_dict(state, strict=True)
    image = load_file(folder / "inputs.safetensors")["imgs"]
    expected = load_file(folder / "outputs.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(image)[:, 0], expected["features"], rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(network(image), expected["logits"], rtol=1e-4, atol=2e-5)


def test_mean_pooling_equals_mae(golden):
    """The official fine-tuning network that pools: mean of the patches, then a norm, and no final norm before."""
    folder = golden / "mae_finetune_gp1"
    network = RgbdViT(
        img_size=56, patch_size=8, embed_dim=36, depth=3, num_heads=3, num_classes=7, global_pool="avg", fc_norm=True
    ).eval()
    network.load_state_dict(load("mae").read(folder / "checkpoint.pth"), strict=True)
    image = load_file(folder / "inputs.safetensors")["imgs"]
    expected = load_file(folder / "outputs.safetensors")
    with torch.no_grad():
        features = network.forward_head(network.forward_features(image), pre_logits=True)
        torch.testing.assert_close(features, expected["features"], rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(network(image), expected["logits"], rtol=1e-4, atol=2e-5)


# ------------------------------------------------------------------------------------------------- positions


@BOTH
def test_positions_are_rebuilt_when_the_size_changes_at_run_time(class_token):
    network = tiny(class_token)
    image = torch.randn(2, 3, 64, 16)
    before = network(image)
    for height, width in [(32, 48), (48, 32), (8, 96), (64, 16)]:
        network(torch.randn(2, 3, height, width))
    native = tiny(class_token, img_size=(64, 16))
    native.load_weights(network.state_dict())
    assert torch.equal(network(image), before)
    assert torch.equal(native(image), before)
    table = native.pos_embed[0, native.num_prefix_tokens :]
    assert torch.equal(table, sincos_2d(24, (8, 2)))


def test_rows_and_columns_are_told_apart():
    network = tiny()
    assert not torch.allclose(network.positions((2, 6)), network.positions((6, 2)))


def test_positions_are_not_trained():
    network = tiny()
    network(torch.randn(1, 3, 32, 48)).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == ["pos_embed"]


def test_set_input_size_rebuilds():
    network = tiny()
    network.set_input_size((40, 24))
    assert torch.equal(network.pos_embed[0, 1:], sincos_2d(24, (5, 3)))
    assert not network.pos_embed.requires_grad
    assert not network.pos_embed[0, 0].any()


def test_positions_follow_the_network_to_half_precision():
    network = tiny().to(torch.bfloat16)
    assert network(torch.randn(1, 3, 16, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


# ------------------------------------------------------------------------------------------------- features


@BOTH
def test_forward_intermediates(class_token):
    network = tiny(class_token).eval()
    image = torch.randn(2, 3, 40, 56)
    final, maps = network.forward_intermediates(image, indices=3, norm=True)
    assert [tuple(m.shape) for m in maps] == [(2, 24, 5, 7)] * 3
    assert torch.equal(final, network.forward_features(image))
    last = network.encode(image).transpose(1, 2).reshape(2, 24, 5, 7)
    torch.testing.assert_close(maps[-1], last)


def test_gradient_checkpointing_changes_nothing_but_memory():
    image, keep = torch.randn(2, 3, 32, 48), torch.arange(7).expand(2, -1)
    gradients = []
    for enable in (False, True):
        network = tiny()
        network.set_grad_checkpointing(enable)
        network.encode(image, keep).square().sum().backward()
        gradients.append([p.grad for p in network.parameters() if p.requires_grad])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


# ------------------------------------------------------------------------------------------------- kept tokens


@BOTH
def test_keeping_everything_equals_no_masking(class_token):
    network = tiny(class_token)
    image = torch.randn(2, 3, 24, 40)
    everything = torch.arange(15).expand(2, -1)
    torch.testing.assert_close(network.encode(image, everything), network.encode(image), rtol=1e-5, atol=1e-5)
    with_prefix = network.encode(image, prefix=True)
    assert torch.equal(with_prefix, network.forward_features(image))
    assert torch.equal(with_prefix[:, network.num_prefix_tokens :], network.encode(image))


def test_tokens_come_in_the_order_of_keep():
    network = tiny()
    image = torch.randn(2, 3, 32, 48)
    keep = torch.tensor([[3, 11, 20], [0, 5, 23]])
    shuffled = torch.tensor([2, 0, 1])
    torch.testing.assert_close(network.encode(image, keep[:, shuffled]), network.encode(image, keep)[:, shuffled])


def test_hidden_patches_are_never_seen():
    network = tiny()
    image = torch.randn(1, 3, 32, 48)
    keep = torch.tensor([[0, 7, 15]])
    changed = image.clone()
    changed[:, :, 16:24, 8:16] = float("nan")  # patch 2 * 6 + 1 = 13
    assert torch.equal(network.encode(image, keep), network.encode(changed, keep))
    changed = image.clone()
    changed[:, :, 8:16, 8:16] += 1  # patch 1 * 6 + 1 = 7
    assert not torch.allclose(network.encode(image, keep), network.encode(changed, keep))


# ------------------------------------------------------------------------------------------------- initialisation


def test_initialisation_is_maes():
    torch.manual_seed(0)
    network = build_vit(card_backbone())
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        elif parameter.ndim in (2, 4):
            fan_out, fan_in = parameter.flatten(1).shape
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.98 * bound < parameter.abs().max() <= bound, name
    assert network.cls_token.std().item() == pytest.approx(0.02, rel=0.2)


# ------------------------------------------------------------------------------------------------- loading, errors


def test_load_weights_is_strict():
    state = tiny().state_dict()
    del state["blocks.1.mlp.fc1.bias"]
    with pytest.raises(RuntimeError, match=r"blocks\.1\.mlp\.fc1\.bias"):
        tiny().load_weights(state)


def test_load_weights_takes_another_image_size():
    source, target = tiny(), tiny(img_size=(16, 16))
    with torch.no_grad():
        source.cls_token.add_(1)
    target.load_weights({name: value.half() for name, value in source.state_dict().items()})
    torch.testing.assert_close(target.cls_token, source.cls_token, rtol=1e-3, atol=1e-3)
    assert torch.equal(target.pos_embed[0, 1:], sincos_2d(24, (2, 2)))


def test_learnt_positions_are_refused():
    state = tiny().state_dict()
    state["pos_embed"] = torch.randn_like(state["pos_embed"])
    with pytest.raises(ValueError, match="learnt positions"):
        tiny().load_weights(state)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 32, 48), r"\(B, 3, H, W\), got \(1, 1, 32, 48\)"),
        ((3, 32, 48), r"got \(3, 32, 48\)"),
        ((1, 3, 30, 48), r"multiples of the patch \(8, 8\), got \(30, 48\)"),
    ],
)
def test_wrong_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        tiny().encode(torch.zeros(shape))


def test_table_of_sizes_is_timms():
    for architecture, size in vit.SIZES.items():
        with torch.device("meta"):
            plain = timm.create_model(f"{architecture}_patch16_224")
        assert (plain.embed_dim, len(plain.blocks), plain.blocks[0].attn.num_heads) == size
