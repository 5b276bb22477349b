"""Runs code in a Python of its own, to see what a fresh interpreter does."""

import os
import subprocess
import sys
from typing import Any


def run(code: str, *arguments: Any) -> list[str]:
    """Words that `code` prints; offline, and nothing may go wrong."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()
