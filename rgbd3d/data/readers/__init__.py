"""Readers of raw data sets, one file each."""

from __future__ import annotations

import importlib
from pathlib import Path

from rgbd3d.data.catalog import DataSet
from rgbd3d.data.readers.base import Options, Reader


def open_reader(data_set: DataSet, raw: Path, options: Options | None = None) -> Reader:
    """Opens a user's copy of a data set.

    Args:
        data_set: Of the catalogue.
        raw: Where the copy is.
        options: What to read.

    Raises:
        DataError: The copy is not what the reader expects.
        ValueError: A data set that nobody has to prepare, or an option that it lacks.
    """
    if data_set.reader is None:
        raise ValueError(f"{data_set.name} needs no preparation: {data_set.command}")
    module, name = data_set.reader.split(":")
    return getattr(importlib.import_module(f"rgbd3d.data.readers.{module}"), name)(raw, options)
