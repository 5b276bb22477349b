"""Every protocol of semantic segmentation on frames whose score is known.

The red of a pixel says what the made-up model predicts there, in steps of ten, so that it survives the protocol's view.
"""

from dataclasses import replace

import pytest
import torch
from made_up_frames import MadeUpFrames

from rgbd3d.evaluation.protocols_semantic import SEMANTIC_PROTOCOLS
from rgbd3d.evaluation.score import score

BY_NAME = {protocol.name: protocol for protocol in SEMANTIC_PROTOCOLS}
CLASSES = {
    "scannet-semseg/official": 20,
    "scannet-semseg/pri3d": 20,
    "scannet-semseg/40": 40,
    "nyuv2-semseg/40": 40,
    "nyuv2-semseg/13": 13,
    "nyuv2-train795-semseg/40": 40,
    "nyuv2-train795-semseg/13": 13,
    "sunrgbd-semseg/37": 37,
    "cityscapes-semseg/19": 19,
    "cityscapes-semseg/pri3d": 19,
    "ade20k-semseg/150": 150,
    "synthrooms-semseg/40": 40,
    "frames-semseg/40": 40,
}
VOID, FULL = -1, 250
PRI3D = {"scannet-semseg/pri3d", "nyuv2-semseg/13", "cityscapes-semseg/pri3d"}
IN_THE_TRUTH = {"nyuv2-train795-semseg/40", "nyuv2-train795-semseg/13"}
VIEWS = {
    "scannet-semseg/official": (480, 640),
    "scannet-semseg/40": (480, 640),
    "scannet-semseg/pri3d": (240, 320),
    "nyuv2-semseg/13": (240, 320),
    "nyuv2-semseg/40": (640, 640),
    "sunrgbd-semseg/37": (640, 640),
    "cityscapes-semseg/pri3d": (180, 360),
}
"""Size of what is shown, whatever that of the frame; the others show it as it is."""


def frame(protocol, truth, prediction):
    """Quarters of the width, each with one label and one prediction; the lowest quarter of the height is unlabelled."""
    height, width = protocol.frames.size
    quarter = torch.arange(width) * 4 // width
    semantic = torch.tensor(truth)[quarter].expand(height, width).clone()
    semantic[3 * height // 4 :] = 255
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[0] = torch.tensor([FULL if label == VOID else 10 * label for label in prediction])[quarter]
    return {"image": image, "semantic": semantic}


def model(channels, seen=None):
    """Logits at half the resolution."""

    def predict(images):
        if seen is not None:
            seen.append(tuple(images.shape))
        red = images[:, 0, 1::2, 1::2]
        classes = (red // 10).long().where(red < FULL, channels - 1).clamp(max=channels - 1)
        return torch.nn.functional.one_hot(classes, channels).movedim(-1, 1).float()

    return predict


def two_frames(protocol):
    """The protocol for two frames instead of all, small ones if it allows, without looking at their numbers."""
    size = (480, 640) if protocol.name in VIEWS else (96, 128)
    return replace(protocol, frames=replace(protocol.frames, count=None, numbers={}, first=0, size=size))


def miou(protocol, truth, prediction, channels):
    small = two_frames(protocol)
    source = MadeUpFrames(small.frames, lambda _: frame(small, truth, prediction), count=2)
    return score(small, source, model(channels)).compute()


def test_no_protocol_is_forgotten():
    assert CLASSES.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_that_is_predicted_where_it_is_not(name):
    # Class 0 is right; half of class 1 is called class 2, which is nowhere.
    classes = CLASSES[name]
    result = miou(BY_NAME[name], [0, 0, 1, 1], [0, 0, 1, 2], classes)
    divisor = classes if name in PRI3D else 2 if name in IN_THE_TRUTH else 3
    assert result["miou"] == pytest.approx(100 * (1 + 0.5) / divisor)
    assert result["pixel_accuracy"] == pytest.approx(75)
    assert result["mean_accuracy"] == pytest.approx(150 / (classes if name in PRI3D else 2))


@pytest.mark.parametrize("name", CLASSES)
def test_predicting_none_of_the_classes(name):
    # Class 1 is right; on half of class 0, where red is full, the channel behind the classes wins.
    classes = CLASSES[name]
    result = miou(BY_NAME[name], [0, 0, 1, 1], [0, VOID, 1, 1], classes + 1)
    if name in PRI3D:  # not a miss
        assert result["miou"] == pytest.approx(100 * 2 / classes)
        assert result["pixel_accuracy"] == pytest.approx(100)
    else:
        assert result["miou"] == pytest.approx(100 * (0.5 + 1) / 2)
        assert result["pixel_accuracy"] == pytest.approx(75)


@pytest.mark.parametrize("name", CLASSES)
def test_what_the_model_is_shown(name):
    protocol, seen = two_frames(BY_NAME[name]), []
    source = MadeUpFrames(protocol.frames, lambda _: frame(protocol, [0, 0, 1, 1], [0, 0, 1, 1]), count=2)
    score(protocol, source, model(CLASSES[name], seen))
    assert seen == [(2, 3, *VIEWS.get(name, (96, 128)))]


def test_padding_is_grey_and_ignored():
    protocol, shown = two_frames(BY_NAME["nyuv2-semseg/40"]), []

    def predict(images):
        shown.append(images)
        return model(40)(images)

    source = MadeUpFrames(protocol.frames, lambda _: frame(protocol, [0, 0, 1, 1], [0, 0, 1, 1]), count=2)
    meter = score(protocol, source, predict)
    assert (shown[0][:, :, 480:] == 128).all()
    assert meter.matrix.sum() == 2 * 640 * 480 * 3 // 4
    assert meter.compute()["miou"] == 100


@pytest.mark.parametrize("name", CLASSES)
def test_another_number_of_classes_is_refused(name):
    protocol = BY_NAME[name]
    space = protocol.frames.label_space
    with pytest.raises(ValueError, match=rf"predicts 7 classes, but {name} scores the {CLASSES[name]} of {space}"):
        miou(protocol, [0, 0, 1, 1], [0, 0, 1, 1], 7)


def test_frames_of_different_sizes():
    protocol = two_frames(BY_NAME["ade20k-semseg/150"])
    protocol = replace(protocol, frames=replace(protocol.frames, size=None))

    def make(index):
        size = (80, 64) if index < 2 else (40, 96)
        sized = replace(protocol, frames=replace(protocol.frames, size=size))
        return frame(sized, [0, 0, 1, 1], [0, 0, 1, 1])

    seen = []
    source = MadeUpFrames(protocol.frames, make, count=4)
    assert score(protocol, source, model(150, seen)).compute()["miou"] == 100
    assert seen == [(2, 3, 80, 64), (2, 3, 40, 96)]


def test_shares_of_the_frames_add_up():
    protocol = two_frames(BY_NAME["synthrooms-semseg/40"])
    source = MadeUpFrames(protocol.frames, lambda i: frame(protocol, [0, 0, 1, 1], [0, 0, 1, i % 3]), count=5)
    whole = score(protocol, source, model(40), batch_size=2)
    one, other = (score(protocol, source, model(40), indices=range(rank, 5, 2)) for rank in (0, 1))
    one.merge(other)
    assert torch.equal(one.matrix, whole.matrix)


@pytest.mark.parametrize("name", ["nyuv2-semseg/40", "cityscapes-semseg/19"])
def test_frames_of_another_size_are_refused(name):
    frames = BY_NAME[name].frames
    small = {"image": torch.zeros(3, 240, 320, dtype=torch.uint8), "semantic": torch.zeros(240, 320, dtype=torch.int64)}
    source = MadeUpFrames(frames, lambda _: small)
    with pytest.raises(ValueError, match="320 x 240 pixels; this protocol is for frames of"):
        frames.check(source)


@pytest.mark.parametrize("name", BY_NAME)
def test_labels_of_another_space_are_refused(name):
    frames = BY_NAME[name].frames
    source = MadeUpFrames(frames, dict, label_space="kinetics400")
    with pytest.raises(ValueError, match=f"scores as {frames.label_space}; those of made-up are kinetics400"):
        frames.check(source)
