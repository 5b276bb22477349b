import pytest
import torch

from rgbd3d.backbones.positions import sincos_2d
from rgbd3d.heads.reconstruction import ReconstructionDecoder
from rgbd3d.objectives import Decoder


def decoder(**options) -> ReconstructionDecoder:
    torch.manual_seed(0)
    return ReconstructionDecoder(10, Decoder(dim=16, depth=2, heads=2), {"a": 4, "b": 7}, **options)


def test_tokens_go_to_their_places():
    head = decoder()
    first, second = torch.randn(1, 2, 10), torch.randn(1, 2, 10)
    places = [torch.tensor([[4, 1]]), torch.tensor([[1, 5]])]
    fused = head._fuse([first, second], places, (2, 3)) - sincos_2d(16, (2, 3))
    expected = head.mask_token.expand(1, 6, -1).clone()
    expected[0, 5] = head.embed(second[0, 1])
    expected[0, 4] = head.embed(first[0, 0])
    expected[0, 1] = head.embed(first[0, 1])  # both hold place 1: the first modality wins
    torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-6)


def test_only_asked_heads_answer():
    head = decoder()
    tokens, keep = torch.randn(2, 3, 10), torch.tensor([[0, 2, 4], [1, 2, 5]])
    out = head([tokens], [keep], (2, 3), ["b"])
    assert {name: tuple(value.shape) for name, value in out.items()} == {"b": (2, 6, 7)}


def test_class_token_takes_part_but_is_not_returned():
    head = decoder()
    tokens, keep = torch.randn(1, 3, 10), torch.tensor([[0, 2, 4]])
    plain, prefixed = (
        head([tokens], [keep], (2, 3), ["a"], prefix=prefix)["a"] for prefix in (None, torch.randn(1, 1, 10))
    )
    assert plain.shape == prefixed.shape
    assert not torch.allclose(plain, prefixed)


def test_constant_mask_token():
    head = decoder(learned_mask_token=False)
    assert head.mask_token is None
    fused = head._fuse([torch.randn(1, 1, 10)], [torch.tensor([[0]])], (1, 3))
    assert torch.equal(fused[0, 1:], sincos_2d(16, (1, 3))[1:])


def test_learned_mask_token_starts_as_maes():
    head = ReconstructionDecoder(8, Decoder(dim=512, depth=1, heads=8), {"a": 1})
    assert head.mask_token.std().item() == pytest.approx(0.02, rel=0.2)
