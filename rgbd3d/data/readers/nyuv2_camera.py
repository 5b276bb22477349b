"""The Kinect of NYU Depth V2: its two cameras, and raw disparity as depth of the colour camera.

All parameters are those of `camera_params.m` in the data set's toolbox (Silberman et al., ECCV 2012), which says that
they come from the calibration tool of RGBDemo. They are used with the centre of the first pixel at (0, 0), as OpenCV
does; the toolbox's projection counts pixels from 1, which shifts its result by 0.11 pixels. Depth here is along the
axis of the colour camera; the toolbox keeps that of the depth camera, which differs by about a centimetre at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.geometry import register_depth, sample

SIZE = (480, 640)
"""Height and width of colour and depth."""
FARTHEST_METRES = 10.0
"""The toolbox clips depth here, and takes what reaches it for noise."""

_NEAREST_DISPARITY = 600  # the toolbox takes smaller ones (0.71 m) for artefacts
_DISPARITY_BITS = 11
_WHITE = 255


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with lens distortion.

    Attributes:
        fx, fy, cx, cy: Pixels.
        distortion: k1, k2, p1, p2, k3 of the Brown-Conrady model, as in OpenCV.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float]

    @property
    def matrix(self) -> Tensor:
        """float32 (3, 3)."""
        return torch.tensor([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])


COLOR_CAMERA = Camera(
    fx=518.85790117450188,
    fy=519.46961112127485,
    cx=325.58244941119034,
    cy=253.73616633400465,
    distortion=(
        0.20796615318809061,
        -0.58613825163911781,
        7.2231363135888329e-4,
        1.0479627195765181e-3,
        0.49856986684705107,
    ),
)
DEPTH_CAMERA = Camera(
    fx=582.62448167737955,
    fy=582.69103270988637,
    cx=313.04475870804731,
    cy=238.44389626620386,
    distortion=(
        -0.099897236553084481,
        0.39065324602765344,
        1.9290592870229277e-3,
        -1.9422022475975055e-3,
        -0.51031725053400578,
    ),
)
# The toolbox computes -(M' p - t) with these M and t, a point mirrored at the camera, which projects to the same pixel.
_ROTATION = (
    (0.99997798940829263, 0.0050518419386157446, 0.0043011152014118693),
    (-0.0050359919480810989, 0.99998051861143999, -0.0036879781309514218),
    (-0.0043196624923060242, 0.0036662365748484798, 0.99998394948385538),
)
_TRANSLATION = (0.025031875059141302, -0.00029342312935846411, 0.00066238747008330102)


def depth_to_color() -> Tensor:
    """Matrix (4, 4) from the axes of the depth camera to those of the colour camera, metres."""
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor(_ROTATION).T
    matrix[:3, 3] = -torch.tensor(_TRANSLATION)
    return matrix


def undistort_color(image: Tensor) -> Tensor:
    """Colour without lens distortion, interpolated linearly; white outside its view, as in the labelled set.

    Args:
        image: uint8 (3, 480, 640).

    Returns:
        uint8 (3, 480, 640), of a pinhole camera `COLOR_CAMERA.matrix`.
    """
    values, inside = sample(image[None].float(), _distorted_pixels(COLOR_CAMERA))
    return torch.where(inside, values, _WHITE)[0].round().to(torch.uint8)


def register_disparity(disparity: npt.NDArray[np.uint16]) -> Tensor:
    """Depth of the undistorted colour camera.

    As `project_depth_map.m`, but for nearest-neighbour instead of linear undistortion of the disparity, which would
    invent surfaces between an object and what is behind it.

    Args:
        disparity: uint16 (480, 640), raw values of the depth camera, 2047 = none.

    Returns:
        float32 (1, 480, 640), metres, 0 = no measurement, or one of 10 m and more.
    """
    raw = torch.from_numpy(disparity.astype(np.float32))[None, None]
    undistorted, _ = sample(raw, _distorted_pixels(DEPTH_CAMERA), mode="nearest")
    metres = disparity_to_metres(undistorted[0])
    return register_depth(metres, DEPTH_CAMERA.matrix, depth_to_color(), COLOR_CAMERA.matrix)


def disparity_to_metres(disparity: Tensor) -> Tensor:
    """Depth of raw disparities by `depth_rel2depth_abs.m`; 0 where that is not above 0.71 m and below 10 m."""
    metres = 351.3 / (1092.5 - disparity)
    valid = (disparity >= _NEAREST_DISPARITY) & (metres > 0) & (metres < FARTHEST_METRES)
    return torch.where(valid, metres, 0)


def is_disparity(values: npt.NDArray[np.uint16]) -> bool:
    """Whether all values fit the 11 bits of a Kinect's disparity."""
    return not (values >> _DISPARITY_BITS).any()


@cache
def _distorted_pixels(camera: Camera) -> Tensor:
    """Where the camera saw each pixel of its ideal counterpart: (1, 2, 480, 640), (x, y)."""
    k1, k2, p1, p2, k3 = camera.distortion
    row, column = torch.meshgrid(*(torch.arange(length, dtype=torch.float64) for length in SIZE), indexing="ij")
    x, y = (column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    distorted_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    distorted_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    pixels = torch.stack([camera.fx * distorted_x + camera.cx, camera.fy * distorted_y + camera.cy])
    return pixels[None].float()
