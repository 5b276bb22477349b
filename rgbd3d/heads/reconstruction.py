"""MAE's light decoder: encoded tokens go to their places, a mask token fills the others, linear heads read patches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from timm.layers import LayerNorm
from timm.models import checkpoint_seq
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from rgbd3d import objectives
from rgbd3d.backbones.positions import Grid, sincos_2d
from rgbd3d.backbones.vit import xavier_init


class ReconstructionDecoder(nn.Module):
    """Transformer over every position with one linear head per target.

    Args:
        in_dim: Width of the encoded tokens; all modalities share the projection to the decoder's width.
        config: Width, depth and heads.
        outputs: Target -> values per patch.
        learned_mask_token: One learnt vector for empty positions, or zeros.
    """

    def __init__(
        self, in_dim: int, config: objectives.Decoder, outputs: Mapping[str, int], *, learned_mask_token: bool = True
    ) -> None:
        super().__init__()
        self.dim = config.dim
        self.grad_checkpointing = False
        self.embed = nn.Linear(in_dim, config.dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, config.dim)) if learned_mask_token else None
        self.blocks = nn.Sequential(
            *(Block(config.dim, config.heads, qkv_bias=True, norm_layer=LayerNorm) for _ in range(config.depth))
        )
        self.norm = LayerNorm(config.dim)
        self.heads = nn.ModuleDict({name: nn.Linear(config.dim, size) for name, size in outputs.items()})
        self.apply(xavier_init)
        if self.mask_token is not None:
            nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self,
        tokens: Sequence[Tensor],
        keep: Sequence[Tensor],
        grid: Grid,
        outputs: Iterable[str],
        *,
        prefix: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Decode.

        Args:
            tokens: Encoded tokens of each modality, (B, K, in_dim).
            keep: Their patch indices, int64 (B, K). Where two modalities hold a place the first one wins.
            grid: (rows, columns) of patches.
            outputs: Heads to evaluate.
            prefix: Encoded class token (B, 1, in_dim) that takes part in attention.

        Returns:
            Output name -> (B, rows * columns, values per patch).
        """
        x = self._fuse(tokens, keep, grid)
        if prefix is not None:
            x = torch.cat([self.embed(prefix).to(x.dtype), x], dim=1)
        x = checkpoint_seq(self.blocks, x) if self.grad_checkpointing else self.blocks(x)
        if prefix is not None:
            x = x[:, prefix.shape[1] :]
        x = self.norm(x)
        return {name: self.heads[name](x) for name in outputs}

    def _fuse(self, tokens: Sequence[Tensor], keep: Sequence[Tensor], grid: Grid) -> Tensor:
        embedded = self.embed(torch.cat(list(tokens), dim=1))
        batch, patches = embedded.shape[0], grid[0] * grid[1]
        if self.mask_token is None:
            x = embedded.new_zeros(batch, patches, self.dim)
        else:
            x = self.mask_token.to(embedded.dtype).expand(batch, patches, -1)
        parts = embedded.split([indices.shape[1] for indices in keep], dim=1)
        for part, indices in reversed(list(zip(parts, keep, strict=True))):
            x = x.scatter(1, indices[..., None].expand(-1, -1, self.dim), part)
        # The sum with float32 positions makes the residual stream float32 under autocast, as in the encoder.
        return x + sincos_2d(self.dim, grid).to(self.embed.weight)
