"""Small videos whose frames tell their own number."""

from pathlib import Path

import av
import numpy as np
from torch import Tensor

STEP = 5


def write_video(path: Path, frames: int, size: tuple[int, int] = (64, 48), codec: str | None = None) -> Path:
    """Frame n is a texture of moderate contrast on the grey level `STEP * n`; every 12th frame is a key frame.

    Args:
        path: AVI files get MPEG-4 as in UCF-101, others H.264.
        frames: Up to 43.
        size: Width and height.
        codec: Another one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    texture = np.random.default_rng(0).integers(0, 40, (size[1], size[0], 3), dtype=np.uint8)
    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec or ("mpeg4" if path.suffix == ".avi" else "libx264"), rate=25)
        stream.width, stream.height, stream.gop_size = *size, 12
        stream.bit_rate = 400_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(np.roll(texture, number, 1) + np.uint8(STEP * number), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def shown_numbers(frames: Tensor) -> list[int]:
    """Which frame of `write_video` each of (T, 3, H, W) is, read off its mean."""
    return [round((float(frame.float().mean()) - 19.5) / STEP) for frame in frames]


def packets(path: Path) -> dict[int, tuple[int, int]]:
    """Place and size in the file of each encoded frame, by the number of the frame."""
    with av.open(str(path)) as container:
        found = [
            (packet.pts, packet.dts, packet.pos, packet.size) for packet in container.demux(video=0) if packet.size
        ]
    # AVI files have no presentation times, nor frames out of order.
    found.sort(key=lambda packet: packet[1] if packet[0] is None else packet[0])
    return {number: (place, size) for number, (_, _, place, size) in enumerate(found)}
