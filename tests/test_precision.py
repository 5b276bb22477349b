"""Forward passes in bf16: the same numbers but for rounding, whatever computes the attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rgbd3d.precision import forward_in, quick_attention


class Attention(nn.Module):
    """One head over tokens of a width of 64."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x):
        q, k, v = self.qkv(x)[:, None].chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Attention()


def kernels(model, x, context):
    """What a forward pass under `context`, and the backward pass after it, are made of."""
    with torch.profiler.profile() as profile:
        with context:
            output = model(x)
        output.sum().backward()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_forward_in_a_precision(model, precision, dtype):
    x = torch.randn(2, 108, 64)
    with forward_in(precision, "cpu"):
        output = model(x)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), model(x), atol=0.02, rtol=0.02)
    output.float().square().mean().backward()
    assert model.qkv.weight.grad.dtype == torch.float32
    assert model(x).dtype == torch.float32


def test_only_bf16_on_a_cpu_leaves_the_fused_kernel(model):
    x = torch.randn(2, 108, 64)
    fused = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert fused not in kernels(model, x, forward_in("bf16", "cpu"))
    assert fused in kernels(model, x, forward_in("fp32", "cpu"))
    assert fused in kernels(model, x, quick_attention("bf16", "cuda"))
