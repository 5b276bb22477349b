"""MultiMAE's encoder with the RGB branch only, as timm's vision transformer."""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F


def encoder(weights: dict[str, Tensor], image: Tensor, *, heads: int) -> VisionTransformer:
    """Network with `weights` (timm's names); their square position table is resized to the image's grid as upstream."""
    dim, _, patch, _ = weights["patch_embed.proj.weight"].shape
    height, width = image.shape[-2:]
    network = VisionTransformer(
        img_size=(height, width),
        patch_size=patch,
        embed_dim=dim,
        depth=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        num_heads=heads,
        num_classes=0,
        final_norm=False,
    ).eval()
    square = nn.Unflatten(2, [int((weights["pos_embed"].shape[1] - 1) ** 0.5)] * 2)
    table = square(weights["pos_embed"][:, 1:].transpose(1, 2))
    resized = F.interpolate(table, network.patch_embed.grid_size, mode="bicubic", align_corners=False)
    positions = torch.cat([weights["pos_embed"][:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
    network.load_state_dict({**weights, "pos_embed": positions}, strict=True)
    return network
