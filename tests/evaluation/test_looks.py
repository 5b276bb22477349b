"""What evaluations show: frames, errors, tables and figures of predictions whose scores are known."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_frames import MadeUpFrames
from PIL import Image
from results import result

from rgbd3d.data.inspection.colors import NONE, class_color, color_labels
from rgbd3d.evaluation.looks import figures
from rgbd3d.evaluation.looks.depth import DepthCounts, DepthLook
from rgbd3d.evaluation.looks.instances import InstanceLook
from rgbd3d.evaluation.looks.page import LOOKS, write_page
from rgbd3d.evaluation.looks.semantic import SemanticLook
from rgbd3d.evaluation.metrics.depth import Scoring, Window
from rgbd3d.evaluation.protocols_base import Frames, ScoredProtocol
from rgbd3d.evaluation.protocols_depth import DepthProtocol
from rgbd3d.evaluation.protocols_instances import InstanceProtocol
from rgbd3d.evaluation.protocols_scored import SCORED_PROTOCOLS
from rgbd3d.evaluation.protocols_semantic import SemanticProtocol
from rgbd3d.evaluation.result import Data
from rgbd3d.evaluation.score import score

SIZE = (24, 32)
WALL, FLOOR, CHAIR = 0, 1, 4  # of nyu13: bed, books; only the numbers matter


def scored(protocol: ScoredProtocol, make, predict, shown=3):
    """Source, look and meter after `predict` was scored on all frames."""
    source = MadeUpFrames(protocol.frames, make)
    look = LOOKS[protocol.task](protocol, len(source) - protocol.frames.first, shown)
    return source, look, score(protocol, source, predict, batch_size=2, watch=look.watch)


def frames(**changes) -> Frames:
    values = {"data_set": "nyuv2", "split": "test", "columns": ("image", "depth"), "count": 7}
    return Frames(**(values | changes))


def image(index: int) -> torch.Tensor:
    return torch.full((3, *SIZE), 10 * index, dtype=torch.uint8)


# --------------------------------------------------------------------------------------------------------- semantic


@pytest.fixture
def semantic():
    from rgbd3d.evaluation.metrics.segmentation import PRESENT

    labelled = frames(columns=("image", "semantic"), label_space="nyu13")
    return SemanticProtocol(name="nyuv2-semseg/13", description="Made up.", frames=labelled, counting=PRESENT)


def halves(index: int) -> dict:
    """Class 0 on the left, class 1 on the right, the last row without labels."""
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[:, SIZE[1] // 2 :] = 1
    labels[-1] = 255
    return {"image": image(index), "semantic": labels}


def logits_of(labels: torch.Tensor, classes: int = 13) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels.clamp(max=classes - 1), classes).movedim(-1, 0).float()[None]


def predict_left_half(images: torch.Tensor) -> torch.Tensor:
    """Class 0 everywhere: right on the left half only."""
    return logits_of(torch.zeros(SIZE, dtype=torch.int64)).expand(len(images), -1, -1, -1)


def test_frames_are_spread_and_keep_their_numbers(semantic):
    _, look, _ = scored(semantic, halves, predict_left_half, shown=3)
    assert [int(kept.sample["image"][0, 0, 0]) for kept in look.kept] == [0, 30, 60]
    assert [kept.caption.split(":")[0] for kept in look.kept] == [f"Frame {n} (number {n})" for n in (0, 3, 6)]
    assert look.kept[0].caption.endswith("mIoU 25.0, pixel acc. 50.0")


def test_frames_before_the_first_scored_one_are_not_shown(semantic):
    held_out = replace(semantic, frames=replace(semantic.frames, first=5))
    _, look, _ = scored(held_out, halves, predict_left_half, shown=9)
    assert [kept.caption.split(" (")[0] for kept in look.kept] == ["Frame 5", "Frame 6"]


def test_a_frame_without_labels_is_shown_without_score(semantic):
    def unlabelled(index):
        return halves(index) | ({"semantic": torch.full(SIZE, 255)} if index == 0 else {})

    _, look, _ = scored(semantic, unlabelled, predict_left_half)
    assert look.kept[0].caption == "Frame 0 (number 0)"


def test_what_is_wrong_is_red(semantic):
    _, look, _ = scored(semantic, halves, predict_left_half)
    picture, truth, prediction, wrong = look.pictures()[1]
    assert (picture == 30).all()
    assert np.array_equal(truth[0, [0, -1]], color_labels(np.array([0, 1])))
    assert (truth[-1] == NONE).all()
    assert (prediction == class_color(0)).all()
    red = (wrong == (214, 60, 50)).all(-1)
    assert red[:-1, SIZE[1] // 2 :].all()
    assert not red[:, : SIZE[1] // 2].any()
    assert not red[-1].any()
    assert (wrong[-1] == NONE).all()


def test_predictions_of_another_size_and_of_none(semantic):
    def coarse(images):
        logits = torch.zeros(len(images), 14, 2, 2)
        logits[:, 13] = 1.0  # none of the 13
        return logits

    _, look, meter = scored(semantic, halves, coarse)
    assert isinstance(look, SemanticLook)
    assert (look.kept[0].prediction == 255).all()
    assert meter.compute()["pixel_accuracy"] == 0


def read(path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text())))


def data(source, split="test") -> Data:
    return Data.of(source, split)


def test_semantic_page(semantic, tmp_path):
    source, look, meter = scored(semantic, halves, predict_left_half)
    found = result(runs=(meter.compute(),), seeds=(3,), facts=semantic.facts(), data=data(source))
    page = write_page(found, look, meter, tmp_path / "page").read_text()
    names = {path.relative_to(tmp_path / "page").as_posix() for path in (tmp_path / "page").rglob("*.*")}
    assert names == {
        "index.html",
        "classes.csv",
        "classes.md",
        "confusion.csv",
        "confusion.png",
        *(f"samples/{number:02d}.png" for number in range(3)),
    }
    assert page.count("<img") == 3 * 4 + 1
    for text in ("Made up.", "mean over classes in the truth", "0" * 64, "rgbd3d evaluate a/model", "Frame 3"):
        assert text in page
    sample = np.asarray(Image.open(tmp_path / "page" / "samples" / "01.png").convert("RGB"))
    shown, _, prediction, _ = np.array_split(sample, 4, axis=1)
    assert (shown == 30).all(-1).mean() > 0.2
    assert (prediction == class_color(0)).all(-1).mean() > 0.2
    classes = read(tmp_path / "page" / "classes.csv")
    assert classes[0] == ["class", "IoU", "accuracy", "precision", "share"]
    assert classes[1][1:] == ["50.0", "100.0", "50.0", "50.0"]
    assert classes[2][1:] == ["0.0", "0.0", "–", "50.0"]
    assert classes[3][1:] == ["–", "–", "–", "0.0"]
    counts = read(tmp_path / "page" / "confusion.csv")
    pixels = 7 * (SIZE[0] - 1) * SIZE[1] // 2
    assert counts[2][0] == classes[2][0]
    assert [int(count) for count in counts[2][1:]] == [pixels] + 13 * [0]


def test_seeds_are_columns_of_the_page(semantic, tmp_path):
    source, look, meter = scored(semantic, halves, predict_left_half)
    runs = ({"miou": 25.0}, {"miou": 27.0})
    found = result(runs=runs, seeds=(3, 4), data=data(source))
    page = write_page(found, look, meter, tmp_path).read_text()
    for text in ("26.0 ± 1.4", "<th>seed 3</th><th>seed 4</th>", "They are of seed 3."):
        assert text in page


def test_names_from_strangers_are_text(semantic, tmp_path):
    source, look, meter = scored(semantic, halves, predict_left_half)
    source.name = "<script>"
    found = result(runs=(meter.compute(),), seeds=(0,), data=data(source), model="<b>")
    page = write_page(found, look, meter, tmp_path).read_text()
    assert "<script>" not in page
    assert "<b>" not in page


# ------------------------------------------------------------------------------------------------------------ depth


@pytest.fixture
def depth():
    return DepthProtocol(
        name="nyuv2-depth/x", description="Made up.", frames=frames(), scoring=Scoring(1e-3, 10.0, Window(4, 20, 4, 28))
    )


def ramp(index: int) -> dict:
    """From 1 to 4 metres, left to right; the first row is not measured."""
    metres = torch.linspace(1, 4, SIZE[1]).expand(1, *SIZE).clone()
    metres[:, 0] = 0
    return {"image": image(index), "depth": metres}


def too_far(images: torch.Tensor) -> torch.Tensor:
    """A tenth more than the ramp."""
    return 1.1 * torch.linspace(1, 4, SIZE[1]).expand(len(images), 1, *SIZE)


def test_depth_pictures(depth):
    _, look, meter = scored(depth, ramp, too_far)
    assert isinstance(look, DepthLook)
    assert look.far == pytest.approx(4, abs=0.05)
    _, truth, prediction, error = look.pictures()[0]
    assert (truth[0] == NONE).all()
    assert (error[0] == NONE).all()
    assert not (prediction[0] == NONE).all(-1).any()
    assert len(np.unique(error[1:].reshape(-1, 3), axis=0)) == 1  # 10 % everywhere
    assert np.array_equal(truth[1, -1], prediction[1, -1])  # at the end of the colours
    assert look.kept[0].caption.endswith(
        "δ1 100.0, AbsRel 0.100, RMSE 0.259"
    )  # 0.1 sqrt(2.5² + (3 / 31)² (24² - 1) / 12)
    assert meter.compute()["abs_rel"] == pytest.approx(0.1)


def test_depth_by_range_by_hand():
    counts = DepthCounts(Scoring())
    truth = torch.tensor([[[[0.5, 2.0, 2.0, 0.0, 20.0]]]])
    counts.add(torch.tensor([[[[0.5, 2.2, 3.0, 7.0, 10.0]]]]), truth)
    header, *rows = counts.rows()
    assert header == ("true depth", "share of pixels (%)", "δ1 (%)", "AbsRel", "bias")
    assert rows == [
        ("0 to 1 m", "25.0", "100.0", "0.000", "+0.000"),
        ("2 to 3 m", "50.0", "50.0", "0.300", "+0.300"),
        ("10 m and more", "25.0", "0.0", "0.500", "-0.500"),
        ("all", "100.0", "50.0", "0.275", "+0.025"),
    ]
    shares = counts.shares()
    assert shares[5, 5] == 1
    assert (shares[20, 22], shares[20, 30]) == (0.5, 0.5)
    assert shares.sum() == 2  # 20 m is beyond the figure


def test_depth_outside_of_what_is_scored_is_not_counted(depth):
    _, look, meter = scored(depth, ramp, too_far)
    assert look.counts.sums[0].sum() == 7 * 16 * 24
    all_rows = look.counts.rows()[-1]
    assert all_rows[3] == f"{meter.compute()['abs_rel']:.3f}"
    clamped = DepthCounts(Scoring(1e-3, 10.0))
    clamped.add(torch.tensor([[[[80.0, 3.0]]]]), torch.tensor([[[[8.0, 12.0]]]]))
    assert clamped.rows()[-1] == ("all", "100.0", "0.0", "0.250", "+0.250")


def test_no_depth_at_all_makes_an_empty_table():
    counts = DepthCounts(Scoring())
    counts.add(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert counts.rows()[1:] == []
    assert not counts.shares().any()


def test_depth_page(depth, tmp_path):
    source, look, meter = scored(depth, ramp, too_far)
    found = result(runs=(meter.compute(),), seeds=(0,), data=data(source))
    page = write_page(found, look, meter, tmp_path).read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html",
        "ranges.csv",
        "ranges.md",
        "depth.png",
        "samples",
    }
    assert "4.0 m" in page
    assert read(tmp_path / "ranges.csv")[-1] == ["all", "100.0", "100.0", "0.100", "+0.100"]


# -------------------------------------------------------------------------------------------------------- instances


@pytest.fixture
def instances():
    pytest.importorskip("faster_coco_eval")
    labelled = frames(columns=("image", "semantic", "instance"), label_space="nyu13")
    return InstanceProtocol(
        name="nyuv2-instances/x", description="Made up.", frames=labelled, class_ids=(0, 1, 4), smallest=4
    )


def one_object(index: int) -> dict:
    """An object of class 4, the third of those that are scored, in the upper left quarter."""
    semantic = torch.full(SIZE, 255)
    instance = torch.zeros(SIZE, dtype=torch.int32)
    semantic[:12, :16], instance[:12, :16] = 4, 1
    return {"image": image(index), "semantic": semantic, "instance": instance}


def find_it(images: torch.Tensor) -> list[dict]:
    """The object, and an unsure one that is not there and reaches beyond the frame."""
    masks = torch.zeros(2, 1, *SIZE)
    masks[0, 0, :12, :16] = 0.9
    masks[1, 0, 20:, 20:] = 0.9
    boxes = torch.tensor([[0.0, 0.0, 16.0, 12.0], [20.0, 20.0, 33.0, 25.0]])
    found = {"boxes": boxes, "labels": torch.tensor([3, 1]), "scores": torch.tensor([0.9, 0.4]), "masks": masks}
    return [found] * len(images)


def test_instance_pictures(instances):
    _, look, meter = scored(instances, one_object, find_it)
    assert isinstance(look, InstanceLook)
    assert meter.compute()["mask_ap"] == pytest.approx(100)
    assert [frame.prediction["labels"].tolist() for frame in look.kept] == [
        [3],
        [3],
        [3],
    ]  # the unsure one is not shown
    picture, truth, prediction = look.pictures()[0]
    assert (picture == 0).all()
    for painted in (truth, prediction):
        assert (painted[12:, 17:] == 0).all()
        assert (painted[5:11, 3:15] != 0).any()
    assert (truth[0, 8] == class_color(4)).all()  # the box


def test_nothing_is_found(instances):
    def nothing(images):
        empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
        return [empty | {"masks": torch.zeros(0, 1, *SIZE)}] * len(images)

    _, look, meter = scored(instances, one_object, nothing)
    assert meter.compute()["box_ap"] == 0
    picture, _, prediction = look.pictures()[0]
    assert np.array_equal(picture, prediction)


def test_boxes_beyond_the_frame_are_drawn_within(instances):
    def beyond(images):
        boxes = torch.tensor([[-5.0, -5.0, 40.0, 30.0], [31.9, 23.9, 40.0, 30.0], [8.0, 8.0, 8.0, 8.0]])
        masks = torch.zeros(3, 1, *SIZE)
        return [
            {"boxes": boxes, "labels": torch.ones(3, dtype=torch.int64), "scores": torch.ones(3), "masks": masks}
        ] * len(images)

    _, look, _ = scored(instances, one_object, beyond)
    assert all(panel.shape == (*SIZE, 3) for panel in look.pictures()[0])


def test_instance_page(instances, tmp_path):
    source, look, meter = scored(instances, one_object, find_it)
    found = result(runs=(meter.compute(),), seeds=(0,), data=data(source))
    write_page(found, look, meter, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html",
        "classes.csv",
        "classes.md",
        "curves.png",
        "samples",
    }
    header, *rows = read(tmp_path / "classes.csv")
    assert header == ["class", *(f"{kind} {part}" for kind in ("box", "mask") for part in ("AP", "AP50", "AP75"))]
    assert rows[2][1:] == 6 * ["100.0"]
    assert rows[1][1:] == 6 * ["–"]


# ---------------------------------------------------------------------------------------------------------- figures


def as_picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_the_confusion_matrix_shows_its_shares():
    names = [f"class {number}" for number in range(3)]
    right, wrong = (as_picture(figures.confusion(m, names, names)) for m in (np.eye(3), np.eye(3)[::-1]))
    assert right.shape == wrong.shape
    assert (right != wrong).any(-1).mean() > 0.1
    many = [f"class {number}" for number in range(40)]
    assert as_picture(figures.confusion(np.eye(40), many, many)).shape[0] > right.shape[0]


def test_precision_is_drawn_for_every_class_and_their_mean():
    recalls = torch.linspace(0, 1, 101)
    classes = {"bed": torch.full((101,), 0.8), "desk": torch.full((101,), 0.2)}
    png = figures.precision_recall({"boxes": (recalls, classes)}, {"bed": (255, 0, 0), "desk": (0, 0, 255)})
    column = as_picture(png)[:, 200]
    red, _, blue = column.T
    bed, desk = (int(np.flatnonzero(line).mean()) for line in (red > blue + 100, blue > red + 100))
    assert bed < desk, "precision grows upwards"
    between = np.flatnonzero(column[bed:desk].sum(1) < 60)
    assert between.mean() == pytest.approx((desk - bed) / 2, abs=2)


def test_depth_is_drawn_where_it_lies():
    right, wrong = (as_picture(figures.predicted_against_true(m, 10.0)) for m in (np.eye(4), np.eye(4)[::-1]))
    height, width, _ = right.shape
    near = (slice(height * 7 // 10, height * 8 // 10), slice(width * 17 // 100, width * 2 // 10))  # left and low
    assert right[near][..., 0].mean() < 80, "dark"
    assert wrong[near][..., 0].mean() > 200


def test_curves_of_no_class_are_an_empty_figure():
    assert as_picture(figures.precision_recall({"boxes": (torch.linspace(0, 1, 101), {})}, {})).size
    assert as_picture(figures.predicted_against_true(np.zeros((4, 4)), 10.0)).size


@pytest.mark.parametrize("name", SCORED_PROTOCOLS)
def test_every_protocol_can_be_looked_at(name):
    protocol = SCORED_PROTOCOLS[name]
    assert len(LOOKS[protocol.task](protocol, 10, 3).titles) >= 3
