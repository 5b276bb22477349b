"""Makes transformers know the model type "rgbd3d" after `import rgbd3d`, without importing transformers or torch.

transformers finds the module of a model type in two tables of names, which it imports before its Auto classes and reads
lazily. As soon as they are imported, one row for rgbd3d is added to each. The rows point to a module
`transformers.models.rgbd3d`, which hands out the classes of `rgbd3d.modeling`; importing that registers them by the
public API. Where the tables are there already, `rgbd3d.modeling` is imported at once. The tables are not public: should
they move, only this convenience is lost, and `import rgbd3d.modeling` or `trust_remote_code=True` do the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_TABLES = "transformers.models.auto.auto_mappings"
_ROWS: dict[str, Any] = {
    "CONFIG_MAPPING_NAMES": "RgbdConfig",
    "IMAGE_PROCESSOR_MAPPING_NAMES": {"torchvision": "RgbdImageProcessor"},
}
_CLASSES = "transformers.models.rgbd3d"


def install() -> None:
    """Adds the rows when transformers' tables are imported, or registers at once if they are; twice does no harm."""
    if _TABLES in sys.modules:
        import_module("rgbd3d.modeling")
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _CLASSES:
            return ModuleSpec(name, _ClassesLoader())
        spec = PathFinder.find_spec(name, path) if name == _TABLES else None
        if spec is not None and spec.loader is not None:
            spec.loader = _TablesLoader(spec.loader)
        return spec


class _TablesLoader(Loader):
    """Runs the real loader, then adds the rows."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        for table, row in _ROWS.items():
            getattr(module, table, {})["rgbd3d"] = row


class _ClassesLoader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = _lookup


def _lookup(name: str) -> Any:
    if not name.startswith("Rgbd"):
        raise AttributeError(name)  # the import system asks for names of its own
    return getattr(import_module("rgbd3d.modeling"), name)
