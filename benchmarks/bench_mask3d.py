"""Throughput of a Mask3D training step against a plain reference with the same token counts.

The reference is written from scratch below: two encoders over the kept patches and MAE's decoder over all of them, with
no masking switches, validity or checks. Both run in turns in one process, changing who goes first, so that a busy
machine slows both alike. The same matrix products dominate both: a ratio of about 1 is what can be expected.

    python benchmarks/bench_mask3d.py --size base --batch 4
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgbd3d.backbones.vit import SIZES
from rgbd3d.cards import Backbone
from rgbd3d.methods.mask3d import Mask3D
from rgbd3d.objectives import Mask3DObjective
from rgbd3d.precision import forward_in

HEIGHT, WIDTH, PATCH = 240, 320, 16
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH
PATCHES = ROWS * COLUMNS
KEPT = PATCHES // 5
DECODER_DIM, DECODER_DEPTH, DECODER_HEADS = 512, 8, 16


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to the same."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim)
        x = x + self.proj(attended)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Encoder(nn.Module):
    """Linear patch embedding, positions, layers, norm."""

    positions: Tensor

    def __init__(self, channels: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH * PATCH * channels, dim)
        self.register_buffer("positions", torch.randn(PATCHES, dim))
        self.layers = nn.Sequential(*(Layer(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, patches: Tensor, keep: Tensor) -> Tensor:
        """Patches (B, N, D) and kept indices (B, K) to tokens (B, K, dim)."""
        return self.norm(self.layers(self.embed(take(patches, keep)) + self.positions[keep]))


class Reference(nn.Module):
    """Masked RGB and depth in, standardised depth patches out."""

    positions: Tensor

    def __init__(self, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.rgb, self.depth = Encoder(3, dim, depth, heads), Encoder(1, dim, depth, heads)
        self.embed = nn.Linear(dim, DECODER_DIM)
        self.mask_token = nn.Parameter(torch.zeros(DECODER_DIM))
        self.register_buffer("positions", torch.randn(PATCHES, DECODER_DIM))
        self.layers = nn.Sequential(*(Layer(DECODER_DIM, DECODER_HEADS) for _ in range(DECODER_DEPTH)))
        self.norm = nn.LayerNorm(DECODER_DIM)
        self.head = nn.Linear(DECODER_DIM, PATCH * PATCH)

    def forward(self, image: Tensor, depth: Tensor, metres: Tensor) -> Tensor:
        """Loss of a batch, its masks drawn here."""
        order = torch.rand(len(image), PATCHES, device=image.device).argsort(1)
        keep = order[:, : 2 * KEPT]
        encoded = [self.rgb(cut(image), keep[:, :KEPT]), self.depth(cut(depth), keep[:, KEPT:])]
        tokens = self.embed(torch.cat(encoded, 1))
        empty = self.mask_token.to(tokens.dtype).expand(len(image), PATCHES, -1)
        x = empty.scatter(1, keep[..., None].expand(-1, -1, DECODER_DIM), tokens) + self.positions
        prediction = self.head(self.norm(self.layers(x)))
        target = cut(metres)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        return F.mse_loss(prediction.float(), target)


def cut(image: Tensor) -> Tensor:
    """(B, C, H, W) to patches (B, N, D)."""
    b, c = image.shape[:2]
    return image.view(b, c, ROWS, PATCH, COLUMNS, PATCH).permute(0, 2, 4, 3, 5, 1).reshape(b, PATCHES, -1)


def take(patches: Tensor, keep: Tensor) -> Tensor:
    return patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))


def ours(architecture: Any) -> Mask3D:
    backbone = Backbone(
        architecture=architecture, patch_size=PATCH, image_size=(HEIGHT, WIDTH), class_token=False, parameters=1
    )
    return Mask3D(backbone, Mask3DObjective(depth_encoder_depth=SIZES[architecture].depth))


def seconds(module: nn.Module, loss: Callable[[], Tensor], device: torch.device, bf16: bool) -> float:
    """Time of one forward and backward pass."""
    module.zero_grad(set_to_none=True)
    synchronize(device)
    start = time.perf_counter()
    with forward_in("bf16" if bf16 else "fp32", device.type):
        value = loss()
    value.backward()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["tiny", "small", "base", "large"], default="base")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each, after one to warm up")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device(args.device)
    image = torch.randn(args.batch, 3, HEIGHT, WIDTH, device=device)
    metres = 1 + 3 * torch.rand(args.batch, 1, HEIGHT, WIDTH, device=device)
    depth = metres - 2.5
    architecture = f"vit_{args.size}"
    method, reference = ours(architecture).to(device), Reference(*SIZES[architecture]).to(device)
    steps = {
        "rgbd3d": (method, lambda: method(image, depth, depth_metres=metres).loss),
        "reference": (reference, lambda: reference(image, depth, metres)),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in range(args.rounds + 1):
        turns = list(steps.items())
        for name, (module, loss) in turns if step % 2 else reversed(turns):
            times[name].append(seconds(module, loss, device, args.bf16))

    timed = {name: values[1:] for name, values in times.items()}
    for name, values in timed.items():
        print(f"{name:>10}: {args.batch / statistics.median(values):8.2f} img/s forward + backward")
    ratio = statistics.median(theirs / mine for mine, theirs in zip(*timed.values(), strict=True))
    print(f"{'ratio':>10}: {ratio:8.3f} (median over {args.rounds} pairs of steps; above 1: rgbd3d is faster)")


if __name__ == "__main__":
    main()
