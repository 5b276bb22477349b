"""The catalogue of data sets: each can be read, and a misspelt name is corrected."""

import re

import pytest

from rgbd3d.data.catalog import CATALOG, find, text_table
from rgbd3d.data.codec import DataError
from rgbd3d.data.readers import open_reader


@pytest.mark.parametrize("name", CATALOG)
def test_every_data_set_has_a_reader_or_needs_none(name, tmp_path):
    data_set = CATALOG[name]
    assert f"{name} (" in text_table()
    if data_set.reader is None:
        with pytest.raises(ValueError, match="needs no preparation: rgbd3d data render"):
            open_reader(data_set, tmp_path)
    else:
        with pytest.raises(DataError, match=re.escape(str(tmp_path))):
            open_reader(data_set, tmp_path).units()


def test_a_misspelt_data_set_suggests_the_right_one():
    with pytest.raises(ValueError, match="did you mean 'scannet'"):
        find("scanet")
