"""What travels between the parts of the library: units, shapes and outputs are defined here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from torch import Tensor

IGNORE_LABEL = 255
"""Train id of pixels that count neither in a loss nor in a metric."""

MILLIMETRES_PER_METRE = 1000.0


class RGBDSample(TypedDict, total=False):
    """One RGB-D frame after decoding. A batch has a leading B; a source may leave out what it does not have.

    Attributes:
        image: uint8 (3, H, W), RGB.
        depth: float32 (1, H, W), z-depth in metres; 0 = no measurement.
        semantic: int64 (H, W), train ids of the label space that the data set names; 255 = ignore.
        instance: int32 (H, W); 0 = none.
        intrinsics: float32 (3, 3), pixels, OpenCV axes (x right, y down, z forward).
        pose: float32 (4, 4), camera to world.
        scene_id: Scene or sequence that the frame belongs to.
        frame_id: Number of the frame within its scene.
    """

    image: Tensor
    depth: Tensor
    semantic: Tensor
    instance: Tensor
    intrinsics: Tensor
    pose: Tensor
    scene_id: str
    frame_id: int


@dataclass
class PretrainingOutput:
    """What every pre-training method returns.

    Attributes:
        loss: Scalar that is minimised.
        losses: The parts of the loss by name, unweighted scalars, detached.
        reconstruction: Predictions by modality in patch space, (B, N, patch * patch * channels).
        masks: By modality, bool (B, N): True where the encoder saw the patch.
    """

    loss: Tensor
    losses: dict[str, Tensor]
    reconstruction: dict[str, Tensor]
    masks: dict[str, Tensor]
