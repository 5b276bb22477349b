"""What travels between the parts of the library: units, shapes and outputs are defined here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from torch import Tensor

IGNORE_LABEL = 255
"""Train id of pixels that count neither in a loss nor in a metric."""

MILLIMETRES_PER_METRE = 1000.0

SMALLEST_DEPTH = 1e-3
"""Metres; what a model predicts is never less, because 0 means that there is none."""

Kind = Literal["frames", "clouds", "clips"]
"""What the rows of a data set are: `RGBDSample`, `PointSample` or `ClipSample`."""


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
        class_id: Class of the whole image in the label space that the data set names.
        depth_filled: As `depth`, with the holes filled in by the data set's authors.
        depth_edges: uint8 (H, W), 1 = depth discontinuity.
        planes: uint8 (H, W), 0 = none; which planar surface the pixel belongs to, as its reader numbers them.
        plane_normals: float32 (P, 4), a row per planar surface: its number in `planes` and its unit normal (x, y, z) in
            camera axes, of either sign.
    """

    image: Tensor
    depth: Tensor
    depth_filled: Tensor
    depth_edges: Tensor
    planes: Tensor
    plane_normals: Tensor
    semantic: Tensor
    instance: Tensor
    intrinsics: Tensor
    pose: Tensor
    scene_id: str
    frame_id: int
    class_id: int


class PointSample(TypedDict, total=False):
    """One coloured point cloud. A source may leave out what it does not have.

    Attributes:
        position: float32 (N, 3), metres.
        color: uint8 (N, 3), RGB.
        normal: float32 (N, 3), unit length, or 0 where there is none.
        semantic: int64 (N,), train ids of the label space that the data set names; 255 = ignore.
        instance: int32 (N,); 0 = none.
        scene_id: Scene that the points belong to.
    """

    position: Tensor
    color: Tensor
    normal: Tensor
    semantic: Tensor
    instance: Tensor
    scene_id: str


class ClipSample(TypedDict, total=False):
    """Frames of a video at equal steps. A source may leave out what it does not have.

    Attributes:
        frames: uint8 (T, 3, H, W), RGB.
        depth_frames: float32 (T, 1, H, W), z-depth in metres; 0 = no measurement.
        class_id: Class of the clip in the label space that the data set names.
        scene_id: Name of the video.
        frame_id: Number of the first frame within the video.
    """

    frames: Tensor
    depth_frames: Tensor
    class_id: int
    scene_id: str
    frame_id: int


@dataclass
class LossOutput:
    """What everything that is trained returns.

    Attributes:
        loss: Scalar that is minimised.
        losses: The parts of the loss by name, unweighted scalars, detached.
    """

    loss: Tensor
    losses: dict[str, Tensor]


@dataclass
class PretrainingOutput(LossOutput):
    """What every pre-training method returns.

    Attributes:
        loss: Scalar that is minimised.
        losses: The parts of the loss by name, unweighted scalars, detached.
        reconstruction: Predictions by modality in patch space, (B, N, patch * patch * channels).
        masks: By modality, bool (B, N): True where the encoder saw the patch.
    """

    reconstruction: dict[str, Tensor]
    masks: dict[str, Tensor]
