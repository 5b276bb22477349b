import pytest
import torch
from torch.nn import functional as F

from rgbd3d.backbones.positions import sincos_2d
from rgbd3d.heads.attentive import AttentiveHead
from rgbd3d.heads.dense import DenseHead
from rgbd3d.heads.linear import LinearHead


def test_linear_head_is_the_formula():
    mean, std = torch.randn(5), torch.rand(5) + 0.5
    head = LinearHead(5, 3, mean=mean, std=std)
    features = [torch.randn(2, 2, 3, 4), torch.randn(2, 3, 3, 4)]
    assert torch.equal(head(features), torch.zeros(2, 3, 3, 4))
    torch.nn.init.normal_(head.predict.weight)
    torch.nn.init.normal_(head.predict.bias)
    weight = head.predict.weight / std
    bias = head.predict.bias - weight @ mean
    torch.testing.assert_close(head(features), F.conv2d(torch.cat(features, 1), weight[..., None, None], bias))


def test_linear_head_keeps_its_statistics():
    head = LinearHead(2, 3, mean=torch.tensor([1.0, 2.0]), std=torch.tensor([3.0, 4.0]))
    other = LinearHead(2, 3)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.mean, head.mean)
    assert torch.equal(other.std, head.std)


def test_attention_heads_divide_the_width():
    with pytest.raises(ValueError, match="3 attention heads does not fit tokens of width 8"):
        AttentiveHead(8, 2, heads=3)


def test_attentive_head_is_the_formula():
    torch.manual_seed(0)
    head, features = AttentiveHead(8, 3, heads=1), torch.randn(2, 8, 3, 5)
    assert torch.equal(head([features]), torch.zeros(2, 3, 3, 5))
    torch.nn.init.normal_(head.predict.weight)
    tokens, places = F.layer_norm(features.flatten(2).transpose(1, 2), (8,)), sincos_2d(8, (3, 5))
    query, key, value = head.attend.in_proj_weight.chunk(3)
    weights = ((places @ query.T) @ ((tokens + places) @ key.T).transpose(1, 2) / 8**0.5).softmax(-1)
    found = head.attend.out_proj(weights @ (tokens @ value.T))
    expected = head.predict(F.layer_norm(tokens + found, (8,))).transpose(1, 2).unflatten(2, (3, 5))
    torch.testing.assert_close(head([features]), expected)


def test_attentive_head_sees_other_patches_than_its_own():
    """The class of every position stands in the top left patch alone, where a linear head cannot look."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    features, label = torch.randn(160, 8, 3, 4, generator=generator), torch.arange(160) % 2
    features[:, 0, 0, 0] = 4.0 * (2 * label - 1)
    head, labels = AttentiveHead(8, 2, heads=1), label[:, None, None].expand(-1, 3, 4)
    optimizer = torch.optim.AdamW(head.parameters(), 2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(head([features[:120]]), labels[:120]).backward()
        optimizer.step()
    assert (head([features[120:]]).argmax(1) == labels[120:]).float().mean() > 0.9


def test_dense_head_predicts_at_twice_the_grid():
    head = DenseHead(6, 3, width=4)
    first, last = torch.randn(2, 6, 3, 5), torch.randn(2, 6, 3, 5)
    assert head([last]).shape == (2, 3, 6, 10)
    assert torch.equal(head([first, last]), head([last]))
