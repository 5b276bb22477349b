"""Clips of a video file: T frames at equal steps, decoded from front to back.

Windows of `clip_frames * stride` frames follow one another without overlap, and every `stride`-th frame of a window is
kept. A remainder that is too short for a clip is dropped; a video, or stretch of one, that is shorter than a clip gives
a single clip, filled up with its last kept frame, as VideoMAE's loader does.

A file is never trusted: libavformat may open nothing but the file itself, as one of a few containers; the decoder
refuses pictures larger than `MAX_PIXELS` before it allocates them. Decoders paint over damage; pictures in which they
noticed some, and all that are predicted from those, are refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.optional import need

VIDEO_SUFFIXES = frozenset({".avi", ".mkv", ".mov", ".mp4", ".webm"})
MAX_PIXELS = 2**24
MAX_CLIP_BYTES = 2**29
MAX_FRAMES = 2**23  # three days at 30 frames a second
MAX_HOURS = 96
_CONTAINERS = "avi,matroska,mov"  # libavformat's names of the demuxers behind VIDEO_SUFFIXES
_DECODERS = (
    *("h264", "hevc", "libdav1d", "av1", "vp8", "vp9", "libvpx", "libvpx-vp9", "mjpeg"),
    *("mpeg4", "msmpeg4v2", "msmpeg4", "h263", "mpeg1video", "mpeg2video"),
)
_SECONDS_PER_READ = 60.0
_BIDIRECTIONAL = 3  # av.video.frame.PictureType.B
_LONGEST_RUN = 17  # no codec keeps more than 16 frames to predict from


@dataclass(frozen=True)
class Stretch:
    """A part of a video that clips may be cut from.

    Attributes:
        start, stop: Frames `start` to `stop - 1`; without `stop`, to the end.
        class_id: Train id of the class that all of it belongs to.
    """

    start: int = 0
    stop: int | None = None
    class_id: int | None = None


@dataclass(frozen=True)
class _Picture:
    """A decoded frame (`av.VideoFrame`), its number in the video, and whether it and its references are undamaged."""

    frame: Any
    number: int
    sound: bool

    def __str__(self) -> str:
        time = "" if self.frame.time is None else f" ({self.frame.time:.2f} s)"
        return f"frame {self.number}{time}"


@dataclass(frozen=True)
class Clip:
    """A clip that has been decoded, but not yet converted to RGB.

    Attributes:
        path: The video.
        stretch: The part of it that the clip was cut from.
        pictures: T of them; the last is repeated where the stretch is too short.
    """

    path: Path
    stretch: Stretch
    pictures: tuple[_Picture, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the T frames in the video, from 0."""
        return tuple(picture.number for picture in self.pictures)

    def rgb(self) -> Tensor:
        """The frames, uint8 (T, 3, H, W), turned upright if the file says how.

        Raises:
            DataError: A damaged frame, frames of different sizes, or more than `MAX_CLIP_BYTES`.
        """
        for picture in self.pictures:
            if not picture.sound:
                raise DataError(f"{self.path} at {picture}: damaged, or predicted from a damaged frame")
        sizes = sorted({(picture.frame.width, picture.frame.height) for picture in self.pictures})
        if len(sizes) > 1:
            raise DataError(f"{self.path} at {self.pictures[0]}: the size changes within the clip: {sizes}")
        count, ((width, height),) = len(self.pictures), sizes
        if 3 * width * height * count > MAX_CLIP_BYTES:
            raise DataError(
                f"{self.path}: a clip of {count} frames of {width} x {height} exceeds {MAX_CLIP_BYTES >> 20} MiB: "
                "scale the video down, or ask for fewer clip_frames"
            )
        return torch.stack([_to_rgb(picture, self.path) for picture in self.pictures])


def read_clips(
    path: Path, clip_frames: int, stride: int, stretches: Iterable[Stretch] = (Stretch(),)
) -> Iterator[Clip]:
    """Clips of a video, in order.

    Args:
        path: AVI, MP4, MOV, MKV or WebM file.
        clip_frames: T, frames of a clip.
        stride: Step between them.
        stretches: What clips are cut from, in order and without overlap; no clip reaches from one into the next.

    Raises:
        MissingLibraryError: PyAV is not installed.
        DataError: Not a readable video, one that ends before a stretch does, or damage that makes the rest of it
            unreadable; names the file and the last frame that was read.
    """
    pictures, upcoming = _decode(path), 0
    for stretch in stretches:
        if stretch.start < upcoming or (stretch.stop is not None and stretch.stop <= stretch.start):
            raise DataError(f"{path}: {stretch} is empty, or begins before frame {upcoming}")
        for kept in _windows(_within(stretch, pictures, upcoming, path), clip_frames, stride):
            yield Clip(path, stretch, tuple(kept))
        upcoming = MAX_FRAMES if stretch.stop is None else stretch.stop


def _within(stretch: Stretch, pictures: Iterator[_Picture], upcoming: int, path: Path) -> Iterator[_Picture]:
    """Pictures of a stretch, `upcoming` first; those in front of it are passed over, those behind it left alone."""
    number = upcoming - 1
    for picture in pictures:
        number = picture.number
        if number >= stretch.start:
            yield picture
        if number + 1 == stretch.stop:
            return
    if stretch.stop is not None:
        raise DataError(
            f"{path} ends after frame {number}, but frames {stretch.start} to {stretch.stop - 1} are wanted"
        )


def _windows(pictures: Iterator[_Picture], clip_frames: int, stride: int) -> Iterator[list[_Picture]]:
    for number in itertools.count():
        window = enumerate(itertools.islice(pictures, clip_frames * stride))
        kept = [picture for step, picture in window if step % stride == 0]
        if len(kept) < clip_frames:
            if kept and number == 0:
                yield kept + kept[-1:] * (clip_frames - len(kept))
            return
        yield kept


def _to_rgb(picture: _Picture, path: Path) -> Tensor:
    av = need("av", "reading videos", "readers")
    frame = picture.frame
    try:
        # Left alone, PyAV takes every video for one of limited range.
        pixels = frame.to_ndarray(format="rgb24", src_color_range=frame.color_range, threads=1)
    except av.FFmpegError as error:
        raise DataError(f"{path} at {picture}: cannot be converted to RGB ({error.strerror})") from error
    upright = np.rot90(pixels, round(frame.rotation / 90))
    return torch.from_numpy(np.ascontiguousarray(upright.transpose(2, 0, 1)))


# ------------------------------------------------------------------------------------------------------------ decode


def _decode(path: Path) -> Iterator[_Picture]:
    """All pictures of a video, one at a time."""
    av = need("av", "reading videos", "readers")
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file")
    limits = {"max_pixels": str(MAX_PIXELS), "codec_whitelist": ",".join(_DECODERS)}
    inputs = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file", "codec_whitelist": ",".join(_DECODERS)}
    number = 0
    try:
        # The prefix keeps libavformat from reading a protocol out of a name such as "concat:a|b".
        with av.open(
            f"file:{path}",
            options=limits,
            container_options=inputs,
            metadata_errors="replace",
            timeout=_SECONDS_PER_READ,
        ) as container:
            stream = _checked_stream(container, path)
            stream.codec_context.options = limits
            stream.codec_context.thread_count = 1
            # Otherwise damaged pictures are left out in silence, and the others change their numbers.
            stream.codec_context.flags |= av.codec.context.Flags.output_corrupt
            for frame, sound in _judged(_frames(container, stream)):
                yield _Picture(frame, number, sound)
                number += 1
                if number > MAX_FRAMES:
                    raise DataError(f"{path}: more than {MAX_FRAMES} frames; cut it into several files")
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} after {number} frames: unreadable from here on ({reason})") from error
    if number == 0:
        raise DataError(f"{path}: a video without a single frame")


def _checked_stream(container: Any, path: Path) -> Any:
    """The first video stream of a file, if a sane header describes it."""
    if not container.streams.video:
        raise DataError(f"{path}: no video in this file")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None or context.codec.name not in _DECODERS:
        codec = "unknown" if context is None else context.codec.name
        raise DataError(f"{path}: codec {codec}; convert the video to H.264")
    if context.width * context.height > MAX_PIXELS:
        raise DataError(f"{path}: {context.width} x {context.height} pixels, the limit is {MAX_PIXELS}")
    hours = (container.duration or 0) / (1e6 * 3600)
    if stream.frames > MAX_FRAMES or hours > MAX_HOURS:
        raise DataError(
            f"{path}: claims {stream.frames} frames in {hours:.0f} hours: corrupted, or to be cut into files"
        )
    return stream


def _judged(frames: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Frames, and whether they and those that they are predicted from are undamaged, as far as the decoder noticed."""
    sound, waiting = True, []
    for frame in frames:
        waiting.append(frame)
        if frame.pict_type == _BIDIRECTIONAL and len(waiting) < _LONGEST_RUN:
            continue  # predicted from the next frame of another kind as well
        sound = sound and not any(each.is_corrupt for each in waiting)
        yield from ((each, sound) for each in waiting[:-1])
        sound = (sound or frame.key_frame) and not frame.is_corrupt
        yield frame, sound
        waiting.clear()
    yield from ((each, sound and not each.is_corrupt) for each in waiting)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        if packet.size:  # an empty one stands for a frame that the encoder dropped, which decoders take for the end
            yield from packet.decode()
    yield from stream.codec_context.decode(None)
