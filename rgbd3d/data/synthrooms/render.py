"""RGB-D frames of procedural rooms: from a seed to samples, bit-identical on every run of the same machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.card_data import Rooms
from rgbd3d.data.synthrooms import camera
from rgbd3d.data.synthrooms.layout import make_scene
from rgbd3d.data.synthrooms.raycast import Raster
from rgbd3d.data.synthrooms.response import Camera
from rgbd3d.data.synthrooms.scene import Scene
from rgbd3d.data.synthrooms.shading import Shader
from rgbd3d.data.synthrooms.textures import build_atlas
from rgbd3d.types import RGBDSample

LABEL_SPACE = "nyu40"
"""Train ids are NYU40 ids minus one; void becomes `IGNORE_LABEL`."""

RENDERER = 2
"""Rises whenever the same seed gives other pixels: rendered folders of another number are not continued."""

Cameras = Literal["views", "path"]
FOV_RANGE = (56.0, 68.0)
"""Horizontal degrees; NYUv2's camera has 63."""
_STREAM = 991
"""Keeps the draws of cameras and sensor apart from those of the layout of the same seed."""


class RenderedFrame(RGBDSample, total=False):
    """A frame with what only a renderer knows.

    Attributes:
        normal: float32 (3, H, W), unit normals in world axes.
    """

    normal: Tensor


class Renderer:
    """Renders scenes with one set of textures.

    Args:
        atlas_seed: Decides the textures.
        variants: Versions of every texture.
    """

    def __init__(self, atlas_seed: int = 0, variants: int = 2) -> None:
        self._atlas = build_atlas(atlas_seed, variants)
        self._texels = torch.from_numpy(self._atlas.texels)

    def shader(self, scene: Scene) -> Shader:
        """Prepares a scene: shadow maps and face tables, about as much work as two frames of 320 x 240."""
        return Shader(scene, self._atlas, self._texels)

    def frames(
        self, scene: Scene, poses: npt.NDArray[np.float64], raster: Raster, rng: np.random.Generator
    ) -> Iterator[RenderedFrame]:
        """Frames of one camera at the given (N, 4, 4) camera-to-world poses."""
        response = Camera.draw(rng)
        shader = self.shader(scene)
        for number, pose in enumerate(poses):
            view = shader.view(raster, pose)
            yield RenderedFrame(
                image=response.picture(view.radiance, view.primitive, (scene.seed, number)),
                depth=view.depth[None],
                semantic=(view.label - 1).long(),  # uint8 arithmetic: 0 becomes 255 = IGNORE_LABEL
                instance=view.instance,
                intrinsics=torch.from_numpy(raster.intrinsics()),
                pose=torch.from_numpy(pose.astype(np.float32)),
                scene_id=scene_name(scene.seed),
                frame_id=number,
                normal=view.normal,
            )


def render_scene(
    seed: int,
    frames: int,
    size: tuple[int, int],
    fov: float | None = None,
    cameras: Cameras = "views",
    kind: str | None = None,
    rooms: Rooms = "compact",
) -> list[RenderedFrame]:
    """Frames of room number `seed`.

    Args:
        seed: Not negative. See `splits` for which seeds are for training.
        frames: Number of frames.
        size: (height, width) in pixels.
        fov: Horizontal field of view in degrees; drawn from `FOV_RANGE` by default.
        cameras: "views" are independent good viewpoints, "path" is a smooth walk at 10 Hz.
        kind: Room kind, a name in `rooms.ROOM_KINDS`; drawn by default.
        rooms: How far one sees in them, see `rooms.EXTENTS`.

    Returns:
        Samples with all keys of `RenderedFrame`.
    """
    with one_thread():
        scene = make_scene(seed, kind, rooms)
        rng = np.random.default_rng([seed, _STREAM])
        raster = Raster.from_fov(size, float(rng.uniform(*FOV_RANGE)) if fov is None else fov)
        poses = (camera.viewpoints if cameras == "views" else camera.path)(scene, frames, rng)
        return list(default_renderer().frames(scene, poses, raster, rng))


def scene_name(seed: int) -> str:
    """`scene_id` of a room."""
    return f"synthrooms-{seed:07d}"


@lru_cache(maxsize=1)
def default_renderer() -> Renderer:
    """The renderer with the published textures; takes seconds to make, once per process."""
    return Renderer()


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: with more, sums are split differently and the last bit of a colour may change."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
