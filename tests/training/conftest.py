"""Frames to train on, and processes to train in."""

import multiprocessing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import tiny_run as tiny
import tiny_task


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet data set of `tiny.FRAMES` frames."""
    return tiny.write_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet data set of `tiny_task.FRAMES` labelled frames to fine-tune on and `tiny_task.SCORED` to score."""
    return tiny_task.write_frames(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Processes that start at once: the server has imported everything and has computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rgbd3d.training.pretrain", "rgbd3d.training.finetune", "tiny_task"])
    return context
