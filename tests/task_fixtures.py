"""Folders of the smallest task models; a test module asks for them with `pytest_plugins = ["task_fixtures"]`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_tasks import build


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of each model, by its name in `tiny_tasks.OBJECTIVES`; nobody may write into it."""
    parent = tmp_path_factory.mktemp("tasks")
    folders: dict[str, Path] = {}

    def save(name: str) -> Path:
        if name not in folders:
            folders[name] = parent / name
            build(name).save_pretrained(folders[name])
        return folders[name]

    return save
