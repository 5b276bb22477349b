"""Loads a file of `conversion/`, which is no package and not on the path."""

import importlib.util
from pathlib import Path
from types import ModuleType

CONVERSION = Path(__file__).resolve().parents[1] / "conversion"


def load(family: str) -> ModuleType:
    """The module `conversion/<family>.py`."""
    spec = importlib.util.spec_from_file_location(f"conversion_{family}", CONVERSION / f"{family}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
