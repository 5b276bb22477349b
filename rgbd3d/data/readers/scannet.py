"""ScanNet v2, frames: colour, depth, poses and 2-D labels, from the sensor streams or from the 25k export.

Raw layout, as the official download script leaves it; the raw folder is the one with `scans`, or `scans` itself:

    scans/sceneNNNN_NN/
        sceneNNNN_NN.sens
        sceneNNNN_NN_2d-label-filt.zip       16-bit PNGs label-filt/INDEX.png, raw label ids
        sceneNNNN_NN_2d-instance-filt.zip    8-bit PNGs instance-filt/INDEX.png, object number + 1, 0 = none
    scans_test/sceneNNNN_NN/                 the same without labels
    scannetv2-labels.combined.tsv            needed with labels
    scannetv2_train.txt, scannetv2_val.txt   see `scannet_release`

or the export of every 100th frame, where the raw folder is `scannet_frames_25k`:

    sceneNNNN_NN/
        color/000100.jpg, depth/000100.png, pose/000100.txt
        label/000100.png                     8-bit NYU40 ids
        instance/000100.png                  16-bit NYU40 id * 1000 + number within this frame and class
        intrinsics_depth.txt

Conventions: depth in millimetres; poses from camera to world in metres, z up. The stride counts frames of the stream
in both layouts: those whose number is a multiple of it are kept; 25 is usual for pre-training, 100 for the benchmark.
Colour and labels (mostly 1296 x 968) show what the depth map (640 x 480) shows, so they are resized to it, colour with
antialiasing and labels by nearest neighbour, and `intrinsics` are those of the depth camera; files of its size stay as
they are. Frames whose pose is all minus infinity are left out: that is how ScanNet marks lost tracking. Instances of
the export are those of one frame; in the streams an object keeps its number through the scene.

If one scene of a split has labels, the others have to have them.

Of real files only colour pictures with poses were at hand: written from the official documentation and SensReader, and
tested on other real frames stored in these layouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Unit
from rgbd3d.data.readers.scannet_layouts import KINDS, ExportedScene, StreamedScene
from rgbd3d.data.readers.scannet_release import check_labelled, find_scenes


class ScanNetReader(Reader):
    """Frames of ScanNet v2; one unit per scene."""

    label_spaces = ("nyu40", "scannet20")
    default_stride = 25

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        found = find_scenes(
            raw,
            lambda path: StreamedScene(path).exists() or ExportedScene(path).exists(),
            "a .sens file or a folder `color`",
        )
        layout = StreamedScene if any(StreamedScene(path).exists() for _, path in found) else ExportedScene
        self._scenes = {path.name: (split, layout(path)) for split, path in found if layout(path).exists()}
        self._labelled = {(split, kind) for split, scene in self._scenes.values() for kind in scene.label_kinds()}
        if not self._labelled:
            check_labelled(raw, options, "sceneNNNN_NN_2d-label-filt.zip, or folders `label` in the export")
            self.label_space = None
        self._table = layout.table(raw, self.label_space) if self.label_space else np.empty(0, np.uint8)

    def units(self) -> list[Unit]:
        """One unit per scene."""
        return [
            Unit(name, split, str(scene.folder.relative_to(self.raw)), scene.count(self.stride))
            for name, (split, scene) in self._scenes.items()
        ]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Frames whose number is a multiple of the stride, in order, except those without a pose."""
        split, scene = self._scenes[unit.name]
        kinds = [kind for kind in KINDS if (split, kind) in self._labelled]
        if missing := [kind for kind in kinds if kind not in scene.label_kinds()]:
            raise DataError(f"{scene.folder}: no {' and no '.join(missing)} labels, which other scenes of {split} have")
        yield from scene.rows(self.stride, kinds, self._table)
