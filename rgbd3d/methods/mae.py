"""MAE (He et al. 2022): reconstruct the hidden patches of an image. The first stage of Mask3D (§4.1, Stage-I)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import Backbone
from rgbd3d.heads.reconstruction import ReconstructionDecoder
from rgbd3d.losses.reconstruction import patch_l2, patchify, standardize_patches
from rgbd3d.masking import keep_from_masks, keep_to_mask, random_keep
from rgbd3d.objectives import MAEObjective
from rgbd3d.types import PretrainingOutput


class MAE(nn.Module):
    """Masked autoencoder on RGB (FACTS.md §6.4).

    Attributes:
        inputs: Entries of a batch that `forward` takes.
        backbone: The RGB encoder, which is kept after pre-training.
        decoder: The decoder.
    """

    inputs = ("image",)

    def __init__(self, backbone: Backbone, objective: MAEObjective) -> None:
        super().__init__()
        self.objective = objective
        self.patch_size = backbone.patch_size
        self.backbone = build_vit(backbone)
        self.decoder = ReconstructionDecoder(
            self.backbone.embed_dim, objective.decoder, {"rgb": 3 * backbone.patch_size**2}
        )

    def forward(
        self, image: Tensor, *, generator: torch.Generator | None = None, masks: dict[str, Tensor] | None = None
    ) -> PretrainingOutput:
        """One pre-training step.

        Args:
            image: (B, 3, H, W), ImageNet-normalised.
            generator: Draws the masks; torch's default generator if not given.
            masks: {"rgb": bool (B, N)}, True = visible, instead of drawing.

        Returns:
            Loss: mean squared error of the hidden patches.

        Raises:
            ValueError: An input has the wrong shape.
        """
        grid = self.backbone.grid(image)
        patches = grid[0] * grid[1]
        if masks is None:
            visible = int(patches * (1 - self.objective.mask_ratio))
            (keep,) = random_keep(len(image), patches, [visible], disjoint=False, generator=generator)
        else:
            keep = keep_from_masks(masks, ("rgb",), len(image), patches)["rgb"]
        keep = keep.to(image.device)

        encoded = self.backbone.encode(image, keep, prefix=True)
        prefix, tokens = encoded.tensor_split([self.backbone.num_prefix_tokens], dim=1)
        prediction = self.decoder([tokens], [keep], grid, ["rgb"], prefix=prefix)["rgb"]

        mask = keep_to_mask(keep, patches)
        target = patchify(image, self.patch_size)
        if self.objective.normalize_target:
            target = standardize_patches(target)
        loss = patch_l2(prediction, target, where=~mask)
        return PretrainingOutput(
            loss=loss, losses={"rgb": loss.detach()}, reconstruction={"rgb": prediction}, masks={"rgb": mask}
        )

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Start the encoder from weights with timm's names (`RgbdViT.load_weights`)."""
        self.backbone.load_weights(state)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade compute for memory in the backward pass."""
        self.backbone.set_grad_checkpointing(enable)
        self.decoder.grad_checkpointing = enable
