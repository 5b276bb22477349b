"""The `objective:` section of a card, one frozen dataclass per method. Imports no torch: listing must stay fast.

The method with the same name in `rgbd3d.methods` turns an objective and a backbone into a trainable module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rgbd3d.strict_yaml import require


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Light transformer that sees every position (MAE's decoder).

    Attributes:
        dim: Width.
        depth: Number of blocks.
        heads: Attention heads.
    """

    dim: int = 512
    depth: int = 8
    heads: int = 16

    def __post_init__(self) -> None:
        require(self.depth > 0, "depth", "should be at least 1")
        require(self.heads > 0 and self.dim % self.heads == 0, "heads", f"should divide dim = {self.dim}")
        require(self.dim > 0 and self.dim % 4 == 0, "dim", "should be a multiple of 4, for 2-D sine-cosine positions")


@dataclass(frozen=True, kw_only=True)
class MAEObjective:
    """Masked autoencoder on RGB (He et al. 2022), the first stage of Mask3D.

    Attributes:
        mask_ratio: Fraction of patches hidden from the encoder.
        normalize_target: Standardise each target patch.
        decoder: The decoder.
    """

    mask_ratio: float = 0.75
    normalize_target: bool = True
    decoder: Decoder = Decoder()

    def __post_init__(self) -> None:
        require(0 < self.mask_ratio < 1, "mask_ratio", "should lie between 0 and 1, both excluded")


@dataclass(frozen=True, kw_only=True)
class Mask3DObjective:
    """Masked RGB and masked depth in, dense depth out (Mask3D §3.1; FACTS.md §1.2 for what the paper leaves open).

    Attributes:
        keep_rgb: Fraction of RGB patches that the encoder sees (p_c of the paper; a KEPT fraction).
        keep_depth: Fraction of depth patches that the encoder sees (p_d).
        disjoint: RGB and depth never keep the same location. Table 8's rows whose sum exceeds 1 need False.
        depth_encoder_depth: Blocks of the depth encoder; its width is the backbone's. The paper's has as many as the
            backbone.
        init_depth_encoder: Whether the depth encoder's blocks start from the card's `init` too ("same") or fresh.
        decoder: The decoder over all positions.
        mask_token: One learnt vector for empty positions, or a constant zero vector ("constant values", §3.1).
        normalize_target: Standardise each target patch over its valid pixels.
        normalize_output: Standardise each predicted patch too, the literal reading of §3.1.
        loss_on: Every patch ("all": dense depth, §3.1) or only those that neither encoder saw ("masked").
        targets: What is reconstructed: depth (the paper), depth and rgb (Table 10), semantic (Table 11). Not in the
            paper: log_depth, the logarithm of depth in metres, whose scale no standardised target asks for.
        semantic_classes: Number of classes of the semantic target.
        joint_mae: Add MAE's masked RGB loss in the same step (Table 16, "MAE + Mask3D").
    """

    keep_rgb: float = 0.2
    keep_depth: float = 0.2
    disjoint: bool = True
    depth_encoder_depth: int = 12
    init_depth_encoder: Literal["same", "fresh"] = "same"
    decoder: Decoder = Decoder()
    mask_token: Literal["learned", "constant"] = "learned"
    normalize_target: bool = True
    normalize_output: bool = False
    loss_on: Literal["all", "masked"] = "all"
    targets: tuple[Literal["depth", "log_depth", "rgb", "semantic"], ...] = ("depth",)
    semantic_classes: int = 40
    joint_mae: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.keep_rgb <= 1, "keep_rgb", "should lie in 0..1; it is the fraction that is KEPT")
        require(0 <= self.keep_depth <= 1, "keep_depth", "should lie in 0..1; it is the fraction that is KEPT")
        require(self.keep_rgb + self.keep_depth > 0, "keep_rgb", "and keep_depth are both 0: nothing would be seen")
        require(
            not self.disjoint or self.keep_rgb + self.keep_depth <= 1 + 1e-9,
            "keep_rgb",
            f"+ keep_depth = {self.keep_rgb + self.keep_depth:g} exceeds 1, which disjoint keeps cannot reach; "
            "lower them or set disjoint: false",
        )
        require(self.depth_encoder_depth > 0, "depth_encoder_depth", "should be at least 1")
        require(len(self.targets) > 0, "targets", "should name at least one modality")
        require(len(set(self.targets)) == len(self.targets), "targets", "names a modality twice")
        require(self.semantic_classes > 1, "semantic_classes", "should be at least 2")


Objective = MAEObjective | Mask3DObjective

OBJECTIVES: dict[str, type] = {"mae": MAEObjective, "mask3d": Mask3DObjective}
"""Method name -> the type of its objective."""
