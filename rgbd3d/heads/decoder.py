"""Mask3D's own segmentation head: the decoder that pre-training made, turned to labels (Mask3D §4.1, FACTS.md §1.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rgbd3d import objectives
from rgbd3d.heads.reconstruction import ReconstructionDecoder
from rgbd3d.losses.reconstruction import unpatchify

_OUTPUT = "prediction"
_LEFT_BEHIND = ("mask_token", "heads.")


class DecoderHead(nn.Module):
    """A reconstruction decoder that sees every patch of the image; its linear layer gives `out_channels` per pixel.

    Pre-training fed it the tokens after the encoder's final norm, so feed it those. Heads get maps, so it sees no class
    token, although MAE's decoder was trained with one. `load_decoder` takes over what was pre-trained.

    Args:
        dim: Width of the tokens.
        out_channels: Channels of the prediction.
        config: The decoder's section of the pre-training card.
        patch_size: Pixels per patch side.
    """

    def __init__(self, dim: int, out_channels: int, *, config: objectives.Decoder, patch_size: int = 16) -> None:
        super().__init__()
        self.patch_size = patch_size
        outputs = {_OUTPUT: patch_size**2 * out_channels}
        self.decoder = ReconstructionDecoder(dim, config, outputs, learned_mask_token=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predicts at the resolution of the image.

        Args:
            features: float (B, dim, h, w), of which the last is used.

        Returns:
            float (B, out_channels, patch * h, patch * w).
        """
        maps = features[-1]
        grid = (maps.shape[2], maps.shape[3])
        tokens = maps.flatten(2).transpose(1, 2)
        everywhere = torch.arange(tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
        patches = self.decoder([tokens], [everywhere], grid, [_OUTPUT])[_OUTPUT]
        return unpatchify(patches, self.patch_size, grid)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keeps no activations of the blocks for the backward pass, but computes them again."""
        self.decoder.grad_checkpointing = enable

    def load_decoder(self, state: Mapping[str, Tensor]) -> None:
        """Starts from a pre-trained decoder; its linear layers and mask token stay behind.

        Args:
            state: Weights of `Mask3D.decoder`, in any float type.

        Raises:
            ValueError: Something is missing, unexpected or of another shape: the decoder of another card.
        """
        own = self.decoder.state_dict()
        heads = {name: value for name, value in own.items() if name.startswith("heads.")}
        given = {name: value for name, value in state.items() if not name.startswith(_LEFT_BEHIND)}
        wrong = {
            "it lacks": own.keys() - heads.keys() - given.keys(),
            "it has, but this decoder has not:": given.keys() - own.keys(),
            "it has in another shape:": {n for n in given.keys() & own.keys() if given[n].shape != own[n].shape},
        }
        found = [f"{problem} {', '.join(sorted(names)[:3])}" for problem, names in wrong.items() if names]
        if found:
            raise ValueError(f"these weights are of another decoder: {'; '.join(found)}")
        self.decoder.load_state_dict(given | heads)
