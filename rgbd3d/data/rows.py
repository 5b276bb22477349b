"""One row on its way from a reader to a file: resized, given a depth, encoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rgbd3d.data import codec
from rgbd3d.data.manifest import Settings
from rgbd3d.data.readers.base import Row
from rgbd3d.data.resize import resize_color, resize_nearest
from rgbd3d.data.schema import encode_sample
from rgbd3d.geometry import resize_intrinsics

if TYPE_CHECKING:
    from rgbd3d.data.pseudo_depth import PseudoDepth

_DECODERS: dict[str, Callable[[bytes, str], Tensor]] = {
    "image": codec.decode_color,
    "depth": codec.decode_depth,
    "depth_filled": codec.decode_depth,
}
_MAPS = ("depth", "depth_filled", "depth_edges", "planes", "semantic", "instance")


@dataclass(frozen=True)
class DepthModel:
    """Which model estimates depth.

    Attributes:
        model: Hub id or folder.
        revision: Commit, branch or tag; None for a folder.
        metric: Whether it predicts metres; None leaves that to its configuration.
    """

    model: str
    revision: str | None = None
    metric: bool | None = None

    @classmethod
    def parse(cls, text: str) -> DepthModel:
        """MODEL, MODEL@REVISION, and either followed by :metric or :relative."""
        rest, _, kind = text.rpartition(":")
        if kind not in _METRIC:
            rest, kind = text, ""
        model, _, revision = rest.partition("@")
        return cls(model, revision or None, _METRIC.get(kind))

    def pinned(self) -> tuple[DepthModel, str]:
        """The same at a commit, and how a manifest names it."""
        manifest = _loaded(self).manifest()
        revision = (
            None if self.revision is None and manifest["revision"].startswith("sha256:") else manifest["revision"]
        )
        name = f"{manifest['model']}@{manifest['revision']} ({manifest['depth']})"
        return DepthModel(self.model, revision, self.metric), name


_METRIC = {"metric": True, "relative": False}


@lru_cache(maxsize=2)
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
        if self._settings.size is not None and self._settings.kind == "frames":
            row = resized(row, self._settings.size)
        if self._depth is not None and not {"depth", "depth_frames"} & set(row):
            row = self._depth.add(row)
        return encode_sample(row, kind=self._settings.kind, depth_encoding=self._settings.depth_encoding)


def resized(row: Row, size: tuple[int, int]) -> dict[str, Any]:
    """A frame in another size: colour averaged, depth and labels by nearest neighbour, intrinsics scaled."""
    image = _decoded(row, "image")
    result = {**row, "image": resize_color(image, size)}
    for name in _MAPS:
        if name in row:
            result[name] = resize_nearest(_decoded(row, name), size)
    if "intrinsics" in row:
        result["intrinsics"] = resize_intrinsics(row["intrinsics"], (image.shape[-2], image.shape[-1]), size)
    return result


def _decoded(row: Row, name: str) -> Tensor:
    value = row[name]
    return _DECODERS[name](value, f"file of {name!r}") if isinstance(value, bytes) else value
