"""Mask3D (Hou et al. 2023): masked 3D priors by reconstructing dense depth from masked RGB and sparse masked depth.

The code follows §3.1 from top to bottom; FACTS.md §1.2 has what the paper leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rgbd3d.backbones.positions import Grid
from rgbd3d.backbones.vit import RgbdViT, build_vit
from rgbd3d.cards import Backbone
from rgbd3d.heads.reconstruction import ReconstructionDecoder
from rgbd3d.losses.reconstruction import (
    patch_cross_entropy,
    patch_l1,
    patch_l2,
    patch_statistics,
    patchify,
    standardize_patches,
    unpatchify,
)
from rgbd3d.masking import keep_count, keep_from_masks, keep_to_mask, random_keep
from rgbd3d.objectives import Mask3DObjective
from rgbd3d.types import IGNORE_LABEL, PretrainingOutput


@dataclass
class Completion:
    """What the network saw and what it predicts, for pictures.

    Attributes:
        depth: (B, 1, H, W), metres; 0 where the true patch has no measurement to take mean and deviation from.
        visible_image: (B, 3, H, W), the normalised input with zeros at hidden patches.
        visible_depth: (B, 1, H, W), metres, with zeros at hidden patches.
        masks: {"rgb", "depth"}: bool (B, N), True where the encoder saw the patch.
    """

    depth: Tensor
    visible_image: Tensor
    visible_depth: Tensor
    masks: dict[str, Tensor]


class Mask3D(nn.Module):
    """Mask3D with every switch of its ablations (`Mask3DObjective`).

    Attributes:
        inputs: Entries of a batch that `forward` takes.
        backbone: The RGB encoder, the only part that downstream tasks need.
        depth_encoder: Trained only here; None if no depth is ever shown.
        decoder: The decoder over all positions.
    """

    def __init__(self, backbone: Backbone, objective: Mask3DObjective) -> None:
        super().__init__()
        _check(objective)
        self.objective = objective
        self.patch_size = backbone.patch_size
        semantic = ("semantic",) if "semantic" in objective.targets else ()
        self.inputs = ("image", "depth", "depth_metres", *semantic)

        self.backbone = build_vit(backbone)
        self.depth_encoder: RgbdViT | None = None
        if objective.keep_depth > 0:
            # The fused sequence has no class token (FACTS.md §1.2), so the depth encoder needs none.
            self.depth_encoder = build_vit(
                replace(backbone, class_token=False), in_chans=1, depth=objective.depth_encoder_depth
            )
        channels = {"depth": 1, "log_depth": 1, "rgb": 3, "semantic": objective.semantic_classes, "mae": 3}
        outputs = (*objective.targets, "mae") if objective.joint_mae else objective.targets
        self.decoder = ReconstructionDecoder(
            self.backbone.embed_dim,
            objective.decoder,
            {name: channels[name] * backbone.patch_size**2 for name in outputs},
            learned_mask_token=objective.mask_token == "learned",
        )

    def forward(
        self,
        image: Tensor,
        depth: Tensor,
        *,
        depth_metres: Tensor,
        semantic: Tensor | None = None,
        generator: torch.Generator | None = None,
        masks: dict[str, Tensor] | None = None,
    ) -> PretrainingOutput:
        """One pre-training step (§3.1, Figure 2).

        Args:
            image: (B, 3, H, W), ImageNet-normalised.
            depth: (B, 1, H, W), standardised input of the depth encoder, 0 where invalid.
            depth_metres: (B, 1, H, W), what is reconstructed; 0 = not measured, such pixels never count.
            semantic: int64 (B, H, W), for the semantic target; 255 = ignore.
            generator: Draws the masks; torch's default generator if not given.
            masks: {"rgb", "depth"}: bool (B, N), True = visible, instead of drawing.

        Returns:
            Loss: the sum of the targets' losses.

        Raises:
            ValueError: An input is missing or has the wrong shape, or the masks do not fit.
        """
        grid = self._check_frames(image, depth, depth_metres)
        self._check_semantic(image, semantic)
        prediction, seen = self._reconstruct(image, depth, grid, generator, masks)
        losses = self._losses(prediction, seen, image, depth_metres, semantic)
        return PretrainingOutput(
            loss=torch.stack(list(losses.values())).sum(),
            losses={name: value.detach() for name, value in losses.items()},
            reconstruction=prediction,
            masks=seen,
        )

    # ---------------------------------------------------------------------- §3.1: masked input, encoders, bottleneck

    def _reconstruct(
        self,
        image: Tensor,
        depth: Tensor,
        grid: Grid,
        generator: torch.Generator | None,
        masks: dict[str, Tensor] | None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Mask, encode, fuse, decode: (patches by target, visible patches by modality)."""
        # "randomly keep a percentage p_c of patches [...] M_d is created similarly"
        if masks is None:
            keep = self._draw(len(image), grid, generator)
        else:
            keep = keep_from_masks(masks, ("rgb", "depth"), len(image), grid[0] * grid[1])
        keep = {name: indices.to(image.device) for name, indices in keep.items()}

        # "color and depth encoders [...] separately encode RGB and depth signals"
        tokens = {}
        if keep["rgb"].shape[1]:
            tokens["rgb"] = self.backbone.encode(image, keep["rgb"])
        if keep["depth"].shape[1]:
            if self.depth_encoder is None:
                raise ValueError("the masks show depth, but with `keep_depth: 0` there is no depth encoder")
            tokens["depth"] = self.depth_encoder.encode(depth, keep["depth"])
        if not tokens or (self.objective.joint_mae and "rgb" not in tokens):
            raise ValueError(f"nothing to reconstruct from: the masks show only {list(tokens)}")

        # "fused in the bottleneck"; RGB comes first and so wins where masks coincide
        places = [keep[name] for name in tokens]
        prediction = self.decoder(list(tokens.values()), places, grid, self.objective.targets)
        if self.objective.joint_mae:
            prediction |= self.decoder([tokens["rgb"]], [keep["rgb"]], grid, ["mae"])
        return prediction, {name: keep_to_mask(indices, grid[0] * grid[1]) for name, indices in keep.items()}

    def _draw(self, batch: int, grid: Grid, generator: torch.Generator | None) -> dict[str, Tensor]:
        patches = grid[0] * grid[1]
        counts = [keep_count(ratio, patches) for ratio in (self.objective.keep_rgb, self.objective.keep_depth)]
        rgb, depth = random_keep(batch, patches, counts, disjoint=self.objective.disjoint, generator=generator)
        return {"rgb": rgb, "depth": depth}

    # ------------------------------------------------------------------------------------------ pre-training loss

    def _losses(
        self,
        prediction: dict[str, Tensor],
        seen: dict[str, Tensor],
        image: Tensor,
        depth_metres: Tensor,
        semantic: Tensor | None,
    ) -> dict[str, Tensor]:
        """Loss of each target: depth (§3.1), log_depth (ours), rgb (Table 10), semantic (Table 11), mae (Table 16)."""
        where = None if self.objective.loss_on == "all" else ~(seen["rgb"] | seen["depth"])
        losses = {}
        if "depth" in prediction:
            losses["depth"] = self._depth_loss(prediction["depth"], depth_metres, where)
        if "log_depth" in prediction:
            losses["log_depth"] = self._log_depth_loss(prediction["log_depth"], depth_metres, where)
        if "rgb" in prediction:
            losses["rgb"] = self._rgb_loss(prediction["rgb"], image, where)
        if "semantic" in prediction and semantic is not None:
            labels = patchify(semantic[:, None], self.patch_size)
            losses["semantic"] = patch_cross_entropy(prediction["semantic"], labels, ignore=IGNORE_LABEL, where=where)
        if "mae" in prediction:
            # The paper does not say how "MAE + Mask3D" were trained together. Here the decoder runs a second time, on
            # the RGB tokens alone, and its own head is scored as in MAE: on the hidden RGB patches, with weight 1.
            target = standardize_patches(patchify(image, self.patch_size))
            losses["mae"] = patch_l2(prediction["mae"], target, where=~seen["rgb"])
        return losses

    def _depth_loss(self, prediction: Tensor, depth_metres: Tensor, where: Tensor | None) -> Tensor:
        """l2 with "normalize the output patches as well as the target patches", each over its valid pixels."""
        target = patchify(depth_metres, self.patch_size).float()
        valid = target > 0
        if self.objective.normalize_target:
            target = standardize_patches(target, valid)
        if self.objective.normalize_output:
            prediction = standardize_patches(prediction, valid)
        return patch_l2(prediction, target, valid=valid, where=where)

    def _log_depth_loss(self, prediction: Tensor, depth_metres: Tensor, where: Tensor | None) -> Tensor:
        """l1 of the logarithm of metres over the valid pixels; not in the paper."""
        metres = patchify(depth_metres, self.patch_size).float()
        valid = metres > 0
        return patch_l1(prediction, torch.where(valid, metres, 1.0).log(), valid=valid, where=where)

    def _rgb_loss(self, prediction: Tensor, image: Tensor, where: Tensor | None) -> Tensor:
        """The same for colour, where every pixel is valid."""
        target = patchify(image, self.patch_size)
        if self.objective.normalize_target:
            target = standardize_patches(target)
        if self.objective.normalize_output:
            prediction = standardize_patches(prediction)
        return patch_l2(prediction, target, where=where)

    # ------------------------------------------------------------------------------------- initialisation (§4.1)

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Start from encoder weights, "Stage-I: Mask3D Encoder Initialization".

        With `init_depth_encoder: same` the depth encoder gets the first blocks and the final norm too; its patch
        projection has one channel and stays fresh (FACTS.md §1.2).

        Args:
            state: Weights with timm's names (`RgbdViT.load_weights`).

        Raises:
            ValueError: The depth encoder has more blocks than `state`, or as `RgbdViT.load_weights`.
        """
        self.backbone.load_weights(state)
        if self.depth_encoder is None or self.objective.init_depth_encoder == "fresh":
            return
        own = self.depth_encoder.state_dict()
        shared = [name for name in own if name.startswith(("blocks.", "norm."))]
        if not state.keys() >= set(shared):
            raise ValueError(
                f"the depth encoder has {len(self.depth_encoder.blocks)} blocks, the weights to start from have fewer; "
                "lower depth_encoder_depth or set init_depth_encoder: fresh"
            )
        self.depth_encoder.load_state_dict(own | {name: state[name] for name in shared})

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade compute for memory in the backward pass."""
        self.backbone.set_grad_checkpointing(enable)
        if self.depth_encoder is not None:
            self.depth_encoder.set_grad_checkpointing(enable)
        self.decoder.grad_checkpointing = enable

    # -------------------------------------------------------------------------------------------- pictures (Fig. 6)

    @torch.no_grad()
    def complete(
        self,
        image: Tensor,
        depth: Tensor,
        *,
        depth_metres: Tensor,
        generator: torch.Generator | None = None,
        masks: dict[str, Tensor] | None = None,
    ) -> Completion:
        """Dense depth from the masked input, as in Figure 6.

        The network predicts standardised patches; each is brought back to metres with the TRUE mean and deviation of
        its patch, as in MAE's figures. The result shows the structure inside the patches; it is no measure of how well
        absolute depth is predicted.

        Args:
            image: As in `forward`.
            depth: As in `forward`.
            depth_metres: As in `forward`.
            generator: As in `forward`.
            masks: As in `forward`.

        Raises:
            ValueError: Depth is not among the targets.
        """
        if "depth" not in self.objective.targets:
            raise ValueError(f"this objective reconstructs {self.objective.targets}, not depth")
        grid = self._check_frames(image, depth, depth_metres)
        prediction, seen = self._reconstruct(image, depth, grid, generator, masks)
        target = patchify(depth_metres, self.patch_size)
        valid = target > 0
        metres = prediction["depth"].float()
        if self.objective.normalize_output:
            metres = standardize_patches(metres, valid)
        if self.objective.normalize_target:
            mean, deviation = patch_statistics(target, valid)
            metres = metres * deviation + mean
        metres = torch.where(valid.any(dim=-1, keepdim=True), metres, 0.0)

        visible = {name: _pixels(mask, self.patch_size, grid) for name, mask in seen.items()}
        return Completion(
            depth=unpatchify(metres, self.patch_size, grid),
            visible_image=image * visible["rgb"],
            visible_depth=depth_metres * visible["depth"],
            masks=seen,
        )

    # ------------------------------------------------------------------------------------------------------ checks

    def _check_frames(self, image: Tensor, depth: Tensor, depth_metres: Tensor) -> Grid:
        grid = self.backbone.grid(image)
        for name, tensor in (("depth", depth), ("depth_metres", depth_metres)):
            _check_shape(name, tensor, (len(image), 1, *image.shape[-2:]))
        return grid

    def _check_semantic(self, image: Tensor, semantic: Tensor | None) -> None:
        if "semantic" in self.objective.targets:
            if semantic is None:
                raise ValueError("the semantic target needs `semantic`, int64 (B, H, W)")
            _check_shape("semantic", semantic, (len(image), *image.shape[-2:]))


def _check(objective: Mask3DObjective) -> None:
    """Refuse combinations whose loss would have nothing to score."""
    keep_rgb, keep_depth = objective.keep_rgb, objective.keep_depth
    seen = keep_rgb + keep_depth if objective.disjoint else max(keep_rgb, keep_depth)
    if objective.loss_on == "masked" and seen > 1 - 1e-9:
        raise ValueError("loss_on: masked scores patches that no encoder saw, but the keep ratios leave none")
    if objective.joint_mae and not 0 < keep_rgb < 1:
        raise ValueError(f"joint_mae needs visible and hidden RGB patches, but keep_rgb is {keep_rgb}")


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ValueError(f"`{name}` must have shape {expected} to fit the image, got {tuple(tensor.shape)}")


def _pixels(mask: Tensor, patch_size: int, grid: Grid) -> Tensor:
    """Patch mask (B, N) as a pixel mask (B, 1, H, W)."""
    return unpatchify(mask[..., None].expand(-1, -1, patch_size**2), patch_size, grid)
