"""Libraries that only some readers need."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str, purpose: str) -> Any:
    """Imports a library that a plain installation may lack.

    Args:
        module: As in `import`, for example "scipy.io".
        purpose: What it is wanted for, for example "NYUv2".

    Returns:
        The module.

    Raises:
        ImportError: It is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ImportError(f"reading {purpose} needs {library}: pip install 'rgbd3d[readers]'") from error
