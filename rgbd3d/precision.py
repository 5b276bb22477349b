"""Forward passes in bf16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgbd3d.optimization import Precision

_NO_FAST_BF16 = ("DEFAULT", "NO AVX", "AVX2")  # torch's names; AVX-512 and later have it


def emulates_bf16() -> bool:
    """Whether this CPU has no bf16 products, so that they take ten times as long as those in fp32."""
    return torch.backends.cpu.get_cpu_capability() in _NO_FAST_BF16


@contextmanager
def quick_attention(precision: Precision, device: str) -> Iterator[None]:
    """The faster of torch's kernels of attention for a forward pass and the backward pass that follows.

    In bf16 on a CPU that is the unfused one: the fused kernel's backward pass takes a quarter of a ViT-Ti's training
    step there, and less than that in fp32.
    """
    slow = precision == "bf16" and device == "cpu"
    with sdpa_kernel(SDPBackend.MATH) if slow else nullcontext():
        yield


@contextmanager
def forward_in(precision: Precision, device: str) -> Iterator[None]:
    """Runs what is called under it in a precision; weights, gradients and optimiser stay fp32."""
    mixed = torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
    with mixed, quick_attention(precision, device):
        yield
