"""Image files <-> tensors: JPEG or PNG colour, 16-bit PNG or TIFF depth in mm, PNG label maps; always bounded."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from rgbd3d.data import tiff
from rgbd3d.types import MILLIMETRES_PER_METRE

MAX_FILE_BYTES = 128 * 2**20
MAX_PIXELS = 2**26
MAX_DEPTH_METRES = np.iinfo(np.uint16).max / MILLIMETRES_PER_METRE
_IMPLAUSIBLE_METRES = 50
PNG_COMPRESSION = 3  # a depth map gets 6-10 % larger than at zlib's default level 6, in half the time

DepthEncoding = Literal["png", "tiff"]
"""Lossless files for depth: "png" is read everywhere, "tiff" (`rgbd3d.data.tiff`) decodes several times faster."""


class DataError(ValueError):
    """Data that cannot be used; the message says what is wrong, where, and what to do about it."""


class MissingDataError(DataError):
    """A file or folder that belongs to a data set is not there, or cannot be listed."""


class FileBytes(bytes):
    """Content of a file that nobody has looked into yet; errors of who does can name it.

    Attributes:
        where: Names the file.
    """

    where: str

    def __new__(cls, content: bytes, where: str) -> FileBytes:
        """The content with the name of its file."""
        data = super().__new__(cls, content)
        data.where = where
        return data

    def __reduce__(self) -> tuple[type[FileBytes], tuple[bytes, str]]:
        return FileBytes, (bytes(self), self.where)


# ------------------------------------------------------------------------------------------------------------ encode


def encode_color(image: Tensor, quality: int | None = 95) -> bytes:
    """File bytes of an RGB image.

    Args:
        image: uint8 (3, H, W).
        quality: JPEG quality, or None for a lossless PNG.

    Raises:
        DataError: Another type or shape.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise DataError(f"image must be uint8 (3, H, W), not {_describe(image)}")
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    if quality is None:
        return _save(picture, format="PNG", compress_level=PNG_COMPRESSION)
    return _save(picture, format="JPEG", quality=quality)


def encode_depth(depth: Tensor, encoding: DepthEncoding = "png") -> bytes:
    """16-bit PNG or TIFF file in millimetres.

    Args:
        depth: float32 (1, H, W), metres; 0 = no measurement. Rounded to the nearest millimetre.
        encoding: Type of the file.

    Raises:
        DataError: Another type or shape, a value that is negative, not finite or beyond 65.535 m.
        ValueError: Unknown encoding.
    """
    if encoding not in get_args(DepthEncoding):
        raise ValueError(f"no depth encoding {encoding!r}; there are {list(get_args(DepthEncoding))}")
    if not depth.is_floating_point() or depth.ndim != 3 or depth.shape[0] != 1:
        raise DataError(f"depth must be floating point (1, H, W) in metres, not {_describe(depth)}")
    metres = depth[0].double().numpy()
    if not np.isfinite(metres).all():
        raise DataError("depth has NaN or infinite pixels: set pixels without a measurement to 0")
    if metres.min(initial=0) < 0:
        raise DataError(f"depth has negative pixels (smallest {metres.min():.3f} m): set invalid pixels to 0")
    millimetres = np.rint(metres * MILLIMETRES_PER_METRE)
    if millimetres.max(initial=0) > np.iinfo(np.uint16).max:
        raise DataError(
            f"depth reaches {metres.max():.3f} m but 16-bit millimetres end at {MAX_DEPTH_METRES} m: check the unit "
            "(metres are expected), or set farther pixels to 0"
        )
    pixels = millimetres.astype(np.uint16)
    return _save_png(pixels) if encoding == "png" else tiff.encode(pixels)


def encode_labels(labels: Tensor, dtype: type[np.uint8] | type[np.uint16]) -> bytes:
    """PNG of a label map.

    Args:
        labels: Integers (H, W).
        dtype: Pixel type of the file.

    Raises:
        DataError: Another type or shape, or a value that the pixel type cannot hold.
    """
    if labels.is_floating_point() or labels.ndim != 2:
        raise DataError(f"a label map must be integers (H, W), not {_describe(labels)}")
    values, limit = labels.numpy(), np.iinfo(dtype).max
    if values.min(initial=0) < 0 or values.max(initial=0) > limit:
        raise DataError(f"label map has values {values.min()}..{values.max()} outside 0..{limit}")
    return _save_png(values.astype(dtype))


def _save_png(pixels: np.ndarray) -> bytes:
    return _save(Image.fromarray(pixels), format="PNG", compress_level=PNG_COMPRESSION)


def _save(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


# ------------------------------------------------------------------------------------------------------------ decode


def decode_color(data: bytes, where: str) -> Tensor:
    """RGB image of a JPEG or PNG file; grey and alpha images are converted.

    Args:
        data: File content.
        where: Names the file in errors.

    Returns:
        uint8 (3, H, W).

    Raises:
        DataError: Not a readable JPEG or PNG, or larger than the limits of this module.
    """
    pixels = _fast_jpeg(data)
    return torch.from_numpy(_open(data, where, _rgb_planes) if pixels is None else pixels)


def _fast_jpeg(data: bytes) -> np.ndarray | None:
    """uint8 (3, H, W) of an ordinary JPEG file, the same pixels as Pillow's in two thirds of its time; None otherwise.

    What is unusual, damaged or too large is left to Pillow, and to our errors.
    """
    if data[:2] != b"\xff\xd8" or len(data) > MAX_FILE_BYTES:
        return None
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace != "YCbCr" or height * width > MAX_PIXELS:
            return None
        pixels = simplejpeg.decode_jpeg(data)
    except ValueError:
        return None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _rgb_planes(picture: Image.Image) -> np.ndarray:
    """uint8 (3, H, W)."""
    return np.ascontiguousarray(np.array(picture.convert("RGB")).transpose(2, 0, 1))


def decode_depth(
    data: bytes, where: str, units_per_metre: float = MILLIMETRES_PER_METRE, saturated: int | None = None
) -> Tensor:
    """Depth of a 16-bit PNG file, or of a TIFF file by `encode_depth`.

    Args:
        data: File content.
        where: Names the file in errors.
        units_per_metre: 1000 for millimetres, 5000 for the TUM RGB-D benchmark.
        saturated: Pixel value that, like 0, means no measurement.

    Returns:
        float32 (1, H, W), metres; 0 = no measurement.

    Raises:
        DataError: Unreadable, not 16-bit single-channel, or a median beyond 50 m.
    """
    pixels = decode_depth_pixels(data, where)
    if saturated is not None:
        pixels = np.where(pixels == saturated, np.uint16(0), pixels)
    return depth_of_pixels(pixels, where, units_per_metre)


def decode_depth_pixels(data: bytes, where: str) -> np.ndarray:
    """Pixels of a 16-bit depth file, whatever they mean.

    Args:
        data: File content.
        where: Names the file in errors.

    Returns:
        uint16 (H, W); may be read-only.

    Raises:
        DataError: Unreadable, or not 16-bit single-channel.
    """
    if data.startswith(tiff.MAGIC):
        return _open_tiff(data, where)
    pixels = _open(data, where)
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise DataError(
            f"{where}: depth must be a 16-bit single-channel PNG, this is {pixels.dtype} {pixels.shape}: an 8-bit "
            "depth picture is made for looking at and has lost its unit; export the original depth"
        )
    return pixels


def depth_of_pixels(pixels: np.ndarray, where: str, units_per_metre: float = MILLIMETRES_PER_METRE) -> Tensor:
    """Depth in metres.

    Args:
        pixels: uint16 (H, W), 0 = no measurement.
        where: Names the file in errors.
        units_per_metre: Of the pixels.

    Returns:
        float32 (1, H, W), metres; 0 = no measurement.

    Raises:
        DataError: A median beyond 50 m.
    """
    metres = np.divide(pixels, np.float32(units_per_metre), dtype=np.float32)
    sparse = metres[::8, ::8]
    # More than half of the measured pixels beyond the limit, which is the median in a tenth of its time.
    if 2 * np.count_nonzero(sparse > _IMPLAUSIBLE_METRES) > np.count_nonzero(sparse):
        raise DataError(
            f"{where}: the median depth would be {np.median(sparse[sparse > 0]):.0f} m at {units_per_metre:g} units "
            "per metre: this looks like another unit; convert it to millimetres, or state units_per_metre"
        )
    return torch.from_numpy(metres)[None]


def decode_labels(data: bytes, where: str) -> np.ndarray:
    """Label map of an 8- or 16-bit PNG file.

    Args:
        data: File content.
        where: Names the file in errors.

    Returns:
        Integers (H, W).

    Raises:
        DataError: Unreadable, or not a single-channel integer image.
    """
    pixels = _open(data, where)
    if pixels.ndim != 2 or pixels.dtype == np.bool_:
        raise DataError(f"{where}: a label map must be an 8- or 16-bit single-channel PNG, not {pixels.shape}")
    return pixels


def _open(data: bytes, where: str, read: Callable[[Image.Image], np.ndarray] = np.array) -> np.ndarray:
    _check_file_size(data, where)
    try:
        picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        # The header is all that has been read so far: refuse a decompression bomb before it explodes.
        if picture.width * picture.height > MAX_PIXELS:
            raise DataError(
                f"{where}: {picture.width} x {picture.height} pixels, the limit is {MAX_PIXELS}; make it smaller"
            )
        return read(picture)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: far more than {MAX_PIXELS} pixels, which is the limit; make it smaller") from error
    except UnidentifiedImageError as error:  # its message has a memory address in it
        raise DataError(f"{where}: not a readable JPEG or PNG image (it begins {data[:8]!r})") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{where}: not a readable JPEG or PNG image ({error})") from error


def _open_tiff(data: bytes, where: str) -> np.ndarray:
    _check_file_size(data, where)
    try:
        return tiff.decode(data, MAX_PIXELS)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _check_file_size(data: bytes, where: str) -> None:
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{where}: image file of {len(data) / 2**20:.0f} MiB, the limit is {MAX_FILE_BYTES >> 20} MiB")
