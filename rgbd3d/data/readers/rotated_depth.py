"""The depth files of SUN3D and SUN RGB-D: millimetres whose bits are rotated left by three."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from rgbd3d.data import codec


def decode_rotated_depth(data: bytes, where: str) -> Tensor:
    """Depth of a PNG file whose 16 bits are rotated, as the data sets' own toolboxes read it.

    Args:
        data: File content.
        where: Names the file in errors.

    Returns:
        float32 (1, H, W), metres; 0 = no measurement.

    Raises:
        DataError: Unreadable, not 16-bit single-channel, or a median beyond 50 m.
    """
    pixels = codec.decode_depth_pixels(data, where)
    return codec.depth_of_pixels((pixels >> np.uint16(3)) | (pixels << np.uint16(13)), where)
