"""Fixtures of the Hub's tests; a test module asks for them with `pytest_plugins = ["hub_fixtures"]`."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_folders import CARD
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
from loopback_hub import LoopbackHub

from rgbd3d.folder import save_pretrained_folder
from rgbd3d.methods import build_method


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A running server, a client without token whose cache is empty, and no waiting between its retries."""
    disable_progress_bars()
    with LoopbackHub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        address = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        sleep = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
        yield server
    enable_progress_bars()


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub folder of more than 20 MB, with a whole pre-training model."""
    torch.manual_seed(0)
    return save_pretrained_folder(build_method(CARD), CARD, tmp_path_factory.mktemp("saved") / "tiny", half=True)
