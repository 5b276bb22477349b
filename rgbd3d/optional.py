"""Libraries that only a part of the package needs."""

from __future__ import annotations

import importlib
from typing import Any, Literal

Extra = Literal["eval", "export", "readers"]


class MissingLibraryError(ImportError):
    """A library is not installed; the message says how to get it."""

    def __init__(self, library: str, purpose: str, extra: Extra) -> None:
        super().__init__(f"{purpose} needs {library}: pip install 'rgbd3d[{extra}]'")


def need(module: str, purpose: str, extra: Extra) -> Any:
    """Imports a library that a plain installation may lack.

    Args:
        module: As in `import`, for example "scipy.io".
        purpose: What it is wanted for, for example "reading videos".
        extra: What to install.

    Raises:
        MissingLibraryError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibraryError(module.partition(".")[0], purpose, extra) from error
