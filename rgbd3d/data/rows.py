"""One row on its way from a reader to a file: resized, given a depth, encoded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbd3d.data.columns import COLUMNS
from rgbd3d.data.manifest import Settings
from rgbd3d.data.readers.base import Row
from rgbd3d.data.resize import resize_color, resize_nearest
from rgbd3d.data.schema import decoded, encode_sample
from rgbd3d.geometry import resize_intrinsics

if TYPE_CHECKING:
    from rgbd3d.data.pseudo_depth import PseudoDepth


@dataclass(frozen=True)
class DepthModel:
    """Which model estimates depth.

    Attributes:
        model: Hub id or folder.
        revision: Commit, branch or tag, or the "sha256:..." of a folder's files.
        metric: Whether it predicts metres; None leaves that to its configuration.
    """

    model: str
    revision: str | None = None
    metric: bool | None = None

    @classmethod
    def parse(cls, text: str) -> DepthModel:
        """MODEL, MODEL@REVISION, and either followed by :metric or :relative, as `pinned` writes it.

        The path of a folder that is there may contain "@".
        """
        rest, _, kind = text.rpartition(":")
        if kind not in _METRIC:
            rest, kind = text, ""
        model, revision = rest, ""
        if "@" in rest and not Path(rest).is_dir():
            model, _, revision = rest.rpartition("@")
        return cls(model, revision or None, _METRIC.get(kind))

    def pinned(self) -> tuple[DepthModel, str]:
        """The same at a commit, and how a manifest names it: without the path of a folder."""
        manifest = _loaded(self).manifest()
        _loaded.cache_clear()  # the processes that use it load their own
        pinned = DepthModel(self.model, manifest["revision"], manifest["depth"] == "metric")
        return pinned, f"{manifest['model']}@{manifest['revision']}:{manifest['depth']}"


_METRIC = {"metric": True, "relative": False}


@lru_cache(maxsize=1)
def _loaded(model: DepthModel) -> PseudoDepth:
    from rgbd3d.data.pseudo_depth import PseudoDepth

    return PseudoDepth(model.model, model.revision, metric=model.metric)


class Encoder:
    """Rows of a reader -> rows of a file.

    Args:
        settings: Size and depth encoding.
        depth_model: Estimates depth where a row has none.
    """

    def __init__(self, settings: Settings, depth_model: DepthModel | None = None) -> None:
        self._settings = settings
        self._depth = None if depth_model is None else _loaded(depth_model)

    def __call__(self, row: Row) -> dict[str, Any]:
        """Encodes one row.

        Raises:
            DataError: A value that cannot be stored.
        """
        if self._settings.size is not None:
            row = resized(row, self._settings.size)
        if self._depth is not None and not {"depth", "depth_frames"} & set(row):
            row = self._depth.add(row)
        return encode_sample(row, kind=self._settings.kind, depth_encoding=self._settings.depth_encoding)


def resized(row: Row, size: tuple[int, int]) -> dict[str, Any]:
    """A frame in another size: colour averaged, depth and labels by nearest neighbour, intrinsics scaled."""
    maps = {name: decoded(row[name], COLUMNS["frames"][name]) for name in row if COLUMNS["frames"][name].is_map}
    image = maps.pop("image")
    result = {**row, "image": resize_color(image, size)}
    result |= {name: resize_nearest(values, size) for name, values in maps.items()}
    if "intrinsics" in row:
        result["intrinsics"] = resize_intrinsics(row["intrinsics"], (image.shape[-2], image.shape[-1]), size)
    return result
