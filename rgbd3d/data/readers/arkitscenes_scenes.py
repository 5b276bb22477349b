"""ARKitScenes: the vertices of the mesh that the tablet made of each video, as point clouds.

Raw layout, as the official `download_data.py` leaves it; the raw folder is the one with `Training` and `Validation`:

    Training/VIDEO/VIDEO_3dod_mesh.ply, Validation/VIDEO/VIDEO_3dod_mesh.ply

Conventions: metres, z up, in the frame of the poses that `arkitscenes` gives. Normals are computed from the faces,
weighted by area, as Pointcept does. There are no labels per point. Videos without a mesh (24 of the published ones) are
left out. `scene_id` is the video; several videos can show one room.

Split: `Training` is train, `Validation` is val.

No original file was at hand: written from the official documentation (apple/ARKitScenes, DATA.md) and public code that
reads the meshes, tested on a mesh of other real points.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rgbd3d.data.codec import MissingDataError
from rgbd3d.data.readers.arkitscenes import videos
from rgbd3d.data.readers.base import LazyRow, Reader, Unit
from rgbd3d.data.readers.mesh import read_mesh


class ARKitScenesScenesReader(Reader):
    """Point clouds of ARKitScenes; one unit, of one row, per video."""

    kind = "clouds"

    def units(self) -> list[Unit]:
        """One unit per video with a mesh."""
        meshes = [(split, video.name, _mesh(video)) for split, video in videos(self.raw)]
        units = [
            Unit(name, split, str(mesh.relative_to(self.raw)), 1) for split, name, mesh in meshes if mesh.is_file()
        ]
        if not units:
            raise MissingDataError(f"{self.raw}: no video has a VIDEO_3dod_mesh.ply; download the asset 'mesh' too")
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """The point cloud of a video."""
        yield lambda: {**read_mesh(self.raw / unit.source), "scene_id": unit.name}


def _mesh(video: Path) -> Path:
    return video / f"{video.name}_3dod_mesh.ply"
