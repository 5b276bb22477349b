import pytest
import torch
from safetensors.torch import load_file
from tiny import noise, tiny_card, tiny_method

from rgbd3d import card_weights, registry
from rgbd3d.heads.decoder import DecoderHead
from rgbd3d.objectives import Decoder

CONFIG = Decoder(dim=32, depth=1, heads=2)


def test_a_pretrained_decoder_predicts_what_it_did_in_pretraining():
    """With its depth layer put back, the head completes depth exactly as Mask3D does when it sees all of the image."""
    method = tiny_method(tiny_card("objective.keep_rgb=1.0", "objective.keep_depth=0.0"))
    head = DecoderHead(192, 1, config=CONFIG).eval()
    head.load_decoder(method.decoder.state_dict())
    head.decoder.heads["prediction"].load_state_dict(method.decoder.heads["depth"].state_dict())
    image = noise()
    with torch.no_grad():
        features = method.backbone.forward_intermediates(image, indices=1, norm=True, intermediates_only=True)
        prediction = head(features)
        depth = torch.zeros(2, 1, *image.shape[-2:])
        everything = {"rgb": torch.ones(2, 6, dtype=torch.bool), "depth": torch.zeros(2, 6, dtype=torch.bool)}
        patches = method(image, depth, depth_metres=depth, masks=everything).reconstruction["depth"]
    assert prediction.shape == (2, 1, 32, 48)
    blocks = prediction.unfold(2, 16, 16).unfold(3, 16, 16)  # (B, 1, rows, columns, 16, 16)
    torch.testing.assert_close(blocks.reshape(2, 6, 256), patches, rtol=1e-4, atol=1e-5)


def test_channels_are_logits_of_the_same_pixel():
    head = DecoderHead(12, 5, config=CONFIG, patch_size=4)
    features = [torch.randn(1, 12, 3, 2)]
    before = head(features)
    with torch.no_grad():
        head.decoder.heads["prediction"].bias.view(4, 4, 5)[1, 2, 3] += 7.0
    difference = (head(features) - before)[0]
    assert difference.shape == (5, 12, 8)
    expected = torch.zeros(5, 12, 8)
    expected[3, 1::4, 2::4] = 7.0
    torch.testing.assert_close(difference, expected, rtol=0, atol=1e-5)


def test_the_bundled_decoder_fits():
    name = "mask3d-vitt-synthrooms"
    card = registry.get_card(name)
    state = load_file(card_weights.BUNDLED_WEIGHTS / name / "decoder.safetensors")
    prefix = "decoder."
    decoder = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    head = DecoderHead(192, 40, config=card.objective.decoder, patch_size=card.backbone.patch_size)
    head.load_decoder(decoder)
    torch.testing.assert_close(head.decoder.embed.weight, decoder["embed.weight"].float())


def test_every_parameter_is_trained():
    head = DecoderHead(12, 5, config=CONFIG, patch_size=4)
    head([torch.randn(1, 12, 3, 2)]).square().mean().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_another_decoder_is_refused():
    state = tiny_method(tiny_card()).decoder.state_dict()
    with pytest.raises(ValueError, match=r"another decoder: it lacks blocks\.1\.attn\.proj\.bias"):
        DecoderHead(192, 3, config=Decoder(dim=32, depth=2, heads=2)).load_decoder(state)
    with pytest.raises(ValueError, match=r"in another shape: .*embed\.weight"):
        DecoderHead(96, 3, config=CONFIG).load_decoder(state)
    with pytest.raises(ValueError, match=r"it has, but this decoder has not: norm\.extra"):
        DecoderHead(192, 3, config=CONFIG).load_decoder({**state, "norm.extra": torch.zeros(1)})
