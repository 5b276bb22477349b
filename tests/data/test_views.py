"""Some frames of a source, and labels of another label space."""

import pytest
import torch

from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names, says, translation
from rgbd3d.data.stream import ShuffledBatches
from rgbd3d.data.views import Chosen, Labelled


class Numbers(Source):
    """Frames in groups of 3, 1, 4 and 2, with a label each."""

    name, columns, label_space, stride = "numbers", ("semantic", "scene_id", "frame_id"), "nyu40", 25

    def __init__(self, label_space: str | None = "nyu40") -> None:
        self.label_space = label_space

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int):
        labels = torch.tensor([[index % 40, 255, 39]])
        return {"semantic": labels, "scene_id": "room", "frame_id": index}

    def row_groups(self) -> tuple[int, ...]:
        return (3, 1, 4, 2)

    def digest(self) -> str:
        return "0" * 64


def test_chosen_frames_in_the_groups_of_the_source():
    part = Chosen(Numbers(), [0, 2, 4, 5, 9])
    assert [part[index]["frame_id"] for index in range(len(part))] == [0, 2, 4, 5, 9]
    assert part.row_groups() == (2, 2, 1)
    assert (part.name, part.label_space, part.columns) == ("numbers", "nyu40", Numbers.columns)
    assert part.stride == 25
    with pytest.raises(IndexError):
        part[5]
    drawn = sorted(index for index, _ in zip(iter(next(iter(ShuffledBatches(part, 5, 0)))), range(5), strict=True))
    assert drawn == [0, 1, 2, 3, 4]


def test_the_digest_is_that_of_the_choice():
    digests = {Chosen(Numbers(), positions).digest() for positions in ([0], [1], [0, 1], range(10))}
    assert len(digests) == 4
    assert Chosen(Numbers(), [0]).digest() == Chosen(Numbers(), (0,)).digest()


@pytest.mark.parametrize("positions", [[], [1, 1], [2, 1], [-1], [10]])
def test_refuses_positions_that_are_none(positions):
    with pytest.raises(ValueError, match="increasing, at least one, within the 10 of numbers"):
        Chosen(Numbers(), positions)


def test_labels_of_a_finer_space_are_translated():
    seen = Labelled(Numbers(), "nyu13")
    names40, names13 = class_names("nyu40"), class_names("nyu13")
    assert seen.label_space == "nyu13"
    bed = seen[names40.index("bed")]["semantic"][0, 0]
    assert names13[bed] == "bed"
    assert seen[0]["semantic"][0, 1] == 255
    assert seen.digest() != Labelled(Numbers(), "nyu40").digest()
    assert torch.equal(Labelled(Numbers(), "nyu40")[7]["semantic"], Numbers()[7]["semantic"])


def test_labels_of_another_space_are_refused_by_both_names():
    wanted = r"the 40 classes of nyu40 are wanted, but the labels of numbers are of the 13 classes of nyu13"
    with pytest.raises(ValueError, match=wanted):
        Labelled(Numbers("nyu13"), "nyu40")
    with pytest.raises(ValueError, match="of no known label space"):
        Labelled(Numbers(None), "nyu40")


def test_a_label_out_of_range_names_the_frame():
    seen = Labelled(Numbers("nyu13"), "nyu13")
    message = r"numbers, frame room/4: labels 39 are none of the 13 classes of nyu13 \(0 to 12; 255 = ignore\)"
    with pytest.raises(DataError, match=message):
        seen[4]


def test_what_says_what():
    assert says("nyu40", "nyu13")
    assert says("ade20k150", "ade20k150")
    assert not says("nyu13", "nyu40")
    assert translation("nyu40", "nyu40")[:40].tolist() == list(range(40))
    assert set(translation("nyu40", "scannet20")[:40].tolist()) == {*range(20), 255}
    with pytest.raises(ValueError, match="labels of nyu13 cannot be translated to nyu40"):
        translation("nyu13", "nyu40")
