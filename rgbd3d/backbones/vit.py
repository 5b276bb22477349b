"""timm's VisionTransformer with fixed sine-cosine positions that are rebuilt for every grid of patches."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.models import checkpoint_seq
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from rgbd3d.backbones.positions import Grid, is_sincos, sincos_2d
from rgbd3d.cards import Backbone


class Size(NamedTuple):
    """Width, number of blocks and attention heads."""

    dim: int
    depth: int
    heads: int


SIZES = {
    "vit_tiny": Size(192, 12, 3),
    "vit_small": Size(384, 12, 6),
    "vit_base": Size(768, 12, 12),
    "vit_large": Size(1024, 24, 16),
}
"""timm's sizes by name."""


class RgbdViT(VisionTransformer):
    """Vision transformer for images of any (H, W) that the patch divides, rectangles included.

    Weight names, `forward`, `forward_features` and `forward_intermediates` are timm's. Two things differ: `pos_embed`
    is the fixed 2-D sine-cosine table, not trained, and for any other grid than its own it is rebuilt instead of
    resampled (FACTS.md §1.2); and `encode` runs the blocks on a subset of the patches only.

    Args:
        **kwargs: timm's; `dynamic_img_size=True` is set.
    """

    pos_embed: nn.Parameter

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dynamic_img_size=True, **kwargs)

    def init_weights(self, mode: str = "", needs_reset: bool = True) -> None:
        """Initialise as MAE does (FACTS.md §1.2); timm's constructor calls this. The arguments are timm's, unused."""
        self.apply(xavier_init)
        projection = self.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(projection.weight.shape[0], -1))
        nn.init.zeros_(projection.bias)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)
        self._rebuild_positions()

    def set_input_size(
        self, img_size: tuple[int, int] | None = None, patch_size: tuple[int, int] | None = None
    ) -> None:
        """Change the native (height, width) or the patch, as timm does, but rebuild the positions."""
        super().set_input_size(img_size, patch_size)
        self._rebuild_positions()

    def grid(self, image: Tensor) -> Grid:
        """(rows, columns) of patches of `image` (B, C, H, W).

        Raises:
            ValueError: Wrong number of dimensions or channels, or H or W is not a multiple of the patch.
        """
        patch_h, patch_w = self.patch_embed.patch_size
        if image.ndim != 4 or image.shape[1] != self.in_chans:
            raise ValueError(f"expected an input of shape (B, {self.in_chans}, H, W), got {tuple(image.shape)}")
        height, width = image.shape[-2:]
        if height % patch_h or width % patch_w:
            raise ValueError(
                f"height and width must be multiples of the patch ({patch_h}, {patch_w}), got ({height}, {width}); "
                "resize or crop the input"
            )
        return height // patch_h, width // patch_w

    def positions(self, grid: Grid) -> Tensor:
        """Position code of `grid`, (prefix + rows * columns, dim); the class token's row is zero."""
        if tuple(grid) == tuple(self.patch_embed.grid_size):
            return self.pos_embed[0]
        return self._prefixed(sincos_2d(self.embed_dim, grid)).to(self.pos_embed)

    def encode(self, image: Tensor, keep: Tensor | None = None, *, prefix: bool = False) -> Tensor:
        """Encode only the kept patches: hidden ones are never computed, and attention does not see them.

        Args:
            image: (B, C, H, W).
            keep: int64 (B, K), indices of the kept patches; all patches in raster order if not given.
            prefix: Return the class token, if there is one, in front of the patches.

        Returns:
            (B, K, dim) after the final norm, in the order of `keep`.

        Raises:
            ValueError: The image does not fit the network.
        """
        grid = self.grid(image)
        x = self._pos_embed(self.patch_embed(image)) if keep is None else self._embed_kept(image, keep, grid)
        x = checkpoint_seq(self.blocks, x) if self.grad_checkpointing else self.blocks(x)
        x = self.norm(x)
        return x if prefix else x[:, self.num_prefix_tokens :]

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """Load the weights of another network of this architecture, whatever its image size.

        Every weight must be there and fit, except for `pos_embed`, which may belong to another grid: it is checked to
        be the fixed table and then left as built for this network.

        Args:
            state: Weights with timm's names.

        Raises:
            RuntimeError: A weight is missing, unexpected or of another shape (torch's message).
            ValueError: The positions are learnt ones.
        """
        state = dict(state)
        table = state.pop("pos_embed", None)
        if table is not None:
            rows = table[0, int("cls_token" in state) :]
            if not is_sincos(rows):
                raise ValueError(
                    f"`pos_embed` {tuple(table.shape)} is not the fixed 2-D sine-cosine table: "
                    "weights with learnt positions do not fit RgbdViT"
                )
        self.load_state_dict({**state, "pos_embed": self.pos_embed}, strict=True)

    def _pos_embed(self, x: Tensor) -> Tensor:
        batch, rows, columns, dim = x.shape
        # The convolution's channels come first in memory: left like that, every norm of every block would copy.
        return self._add_positions(
            x.reshape(batch, -1, dim).contiguous(), self.positions((rows, columns))[self.num_prefix_tokens :]
        )

    def _embed_kept(self, image: Tensor, keep: Tensor, grid: Grid) -> Tensor:
        # The same sums as the strided convolution, for the kept patches only.
        projection = self.patch_embed.proj
        x = F.linear(_kept_patches(image, keep, grid), projection.weight.flatten(1), projection.bias)
        return self._add_positions(x, self.positions(grid)[self.num_prefix_tokens :][keep])

    def _add_positions(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + positions
        if self.cls_token is None:
            return x
        class_token = self.cls_token + self.pos_embed[:, :1]
        return torch.cat([class_token.expand(x.shape[0], -1, -1), x], dim=1)

    def _prefixed(self, table: Tensor) -> Tensor:
        return F.pad(table, (0, 0, self.num_prefix_tokens, 0))

    @torch.no_grad()
    def _rebuild_positions(self) -> None:
        self.pos_embed.requires_grad_(False)
        self.pos_embed.copy_(self._prefixed(sincos_2d(self.embed_dim, self.patch_embed.grid_size)))


def xavier_init(module: nn.Module) -> None:
    """MAE's initialisation of a linear layer; for `Module.apply`. Other modules keep torch's."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build_vit(backbone: Backbone, *, in_chans: int = 3, depth: int | None = None) -> RgbdViT:
    """Build the network of a card, initialised from torch's global generator.

    Args:
        backbone: The card's section.
        in_chans: Input channels.
        depth: Number of blocks, the architecture's if not given.
    """
    dim, full_depth, heads = SIZES[backbone.architecture]
    arguments = timm_config(backbone)["model_args"]
    del arguments["dynamic_img_size"]
    return RgbdViT(
        embed_dim=dim, depth=full_depth if depth is None else depth, num_heads=heads, in_chans=in_chans, **arguments
    )


def timm_config(backbone: Backbone) -> dict[str, Any]:
    """How plain timm builds the same network: `timm.create_model(architecture, **model_args)`.

    It loads the same weights strictly and gives the same features at the card's image size. At other sizes timm
    resamples the positions that RgbdViT rebuilds.

    Returns:
        JSON-ready {"architecture": name, "model_args": keyword arguments}.
    """
    return {
        "architecture": f"{backbone.architecture}_patch16_224",
        "model_args": {
            "img_size": list(backbone.image_size),
            "patch_size": backbone.patch_size,
            "class_token": backbone.class_token,
            "global_pool": "avg",
            "fc_norm": False,
            "num_classes": 0,
            "dynamic_img_size": True,
        },
    }


def _kept_patches(image: Tensor, keep: Tensor, grid: Grid) -> Tensor:
    """Pixels of the kept patches, (B, K, C * patch * patch) in the order of a convolution's kernel."""
    batch, channels, height, width = image.shape
    rows, columns = grid
    blocks = image.reshape(batch, channels, rows, height // rows, columns, width // columns).permute(0, 2, 4, 1, 3, 5)
    images = torch.arange(batch, device=image.device)[:, None]
    return blocks[images, keep // columns, keep % columns].flatten(2)
