"""Names and ids of classes, against the reference tables and what the data sets' authors state."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import _meta

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import LABEL_SPACES, class_names, lookup, synonyms, train_ids

SIZES = {
    "nyu40": 40,
    "nyu13": 13,
    "scannet20": 20,
    "scannet200": 200,
    "sunrgbd37": 37,
    "cityscapes19": 19,
    "ade20k150": 150,
    "ucf101": 101,
    "kinetics400": 400,
    "or_ar9": 9,
}
PAIRS = [
    ("nyu40", "nyu894"),
    ("nyu40", "nyu40"),
    ("nyu13", "nyu13"),
    ("nyu13", "nyu40"),
    ("nyu13", "nyu894"),
    ("scannet20", "nyu40"),
    ("scannet200", "scannet"),
    ("sunrgbd37", "sunrgbd37"),
    ("cityscapes19", "cityscapes"),
    ("ade20k150", "ade20k150"),
    ("ucf101", "ucf101"),
    ("or_ar9", "or_ar9"),
]


@pytest.fixture(scope="module")
def reference(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "label_maps.json").read_text())


def with_void_zero(table: np.ndarray) -> list[int]:
    """A lookup in the convention of the reference: train id + 1, 0 = void."""
    return [0 if value == 255 else int(value) + 1 for value in table]


def test_names_are_whole():
    assert set(LABEL_SPACES) == set(SIZES)
    for space, size in SIZES.items():
        names = class_names(space)
        assert len(names) == len(set(names)) == size, space
        assert all(name == name.strip() and name for group in synonyms(space) for name in group), space


@pytest.mark.parametrize(("space", "ids"), PAIRS)
def test_each_class_is_reached(space: str, ids: str):
    table = lookup(space, ids)
    assert table.dtype == np.uint8
    assert set(table.tolist()) - {255} == set(range(SIZES[space]))
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_names_of_the_reference(reference: dict[str, Any]):
    assert list(class_names("nyu40")) == reference["nyu40_names"]
    assert list(class_names("nyu13")) == reference["nyu13_names"]
    assert ["void", *class_names("sunrgbd37")] == reference["sunrgbd37_names_with_void"]


def test_ids_of_the_reference(reference: dict[str, Any]):
    assert with_void_zero(lookup("nyu40", "nyu894")) == reference["nyu894_to_nyu40"]
    assert with_void_zero(lookup("nyu13", "nyu40")) == reference["nyu40_to_nyu13"]
    composed = [reference["nyu40_to_nyu13"][index] for index in reference["nyu894_to_nyu40"]]
    assert with_void_zero(lookup("nyu13", "nyu894")) == composed
    ours = with_void_zero(lookup("scannet20", "nyu40"))
    theirs = reference["nyu40_to_scannet20_train_id_with_void0"]
    assert ours == theirs[: len(ours)]
    assert not any(theirs[len(ours) :])
    assert np.flatnonzero(lookup("scannet20", "nyu40") != 255).tolist() == reference["scannet20_nyu40_ids"]


def test_scannet20_names_are_those_of_nyu40(reference: dict[str, Any]):
    spelling = {"refrigerator": "refridgerator"}
    names = [spelling.get(name, name) for name in class_names("scannet20")]
    assert names == [reference["nyu40_names"][index - 1] for index in reference["scannet20_nyu40_ids"]]


@pytest.mark.parametrize(
    ("space", "ids", "raw", "name"),
    [
        ("scannet200", "scannet", 1, "wall"),
        ("scannet200", "scannet", 27, "refrigerator"),
        ("scannet200", "scannet", 1191, "mattress"),
        ("cityscapes19", "cityscapes", 7, "road"),
        ("cityscapes19", "cityscapes", 26, "car"),
        ("cityscapes19", "cityscapes", 33, "bicycle"),
        ("ade20k150", "ade20k150", 1, "wall"),
        ("ade20k150", "ade20k150", 13, "person"),
        ("ade20k150", "ade20k150", 137, "traffic light"),
        ("ade20k150", "ade20k150", 150, "flag"),
        ("ucf101", "ucf101", 1, "ApplyEyeMakeup"),
        ("ucf101", "ucf101", 101, "YoYo"),
    ],
)
def test_published_ids(space: str, ids: str, raw: int, name: str):
    assert class_names(space)[lookup(space, ids)[raw]] == name


def test_what_cityscapes_ignores():
    ignored = np.flatnonzero(lookup("cityscapes19", "cityscapes") == 255).tolist()
    assert ignored == [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30]


def test_kinetics_is_in_the_order_of_torchvision():
    assert list(class_names("kinetics400")) == _meta._KINETICS400_CATEGORIES


def test_unknown():
    with pytest.raises(ValueError, match=r"unknown label space 'nyu41'.*nyu40"):
        class_names("nyu41")
    with pytest.raises(ValueError, match=r"no ids 'cityscapes'.*\['nyu40', 'nyu894'\]"):
        lookup("nyu40", "cityscapes")


def test_classes_that_have_names_only():
    with pytest.raises(ValueError, match=r"'kinetics400': it is made from \[\]"):
        lookup("kinetics400", "kinetics400")


def test_train_ids():
    labels = train_ids(np.array([[0, 1], [40, 2]], np.uint8), lookup("nyu40", "nyu40"), "a.png")
    assert labels.dtype == torch.int64
    assert labels.tolist() == [[255, 0], [39, 1]]
    for wrong in (41, -1):
        with pytest.raises(DataError, match=r"a\.png: labels from .* ends at 40"):
            train_ids(np.array([[wrong]]), lookup("nyu40", "nyu40"), "a.png")
