"""The papers' own values of fine-tuning, as their text and FACTS.md state them, are in the cards."""

import pytest

from rgbd3d import registry
from rgbd3d.cards import Card

RECIPES = [registry.get_card(name) for name in registry.list_models() if "." in name and "synthrooms" not in name]


def cards(*words: str) -> list[Card]:
    """Those whose names contain all words; at least one."""
    found = [card for card in RECIPES if all(word in card.name for word in words)]
    assert found, words
    return found


def of_mask3d(card: Card) -> bool:
    return not card.name.endswith(("-progressive", "-mimdepth"))


def test_mask3d_segmentation():
    """Mask3D §4.1: batch 8, 80 epochs, learning rate 0.01, polynomial decay of power 0.9; encoder and decoder."""
    for card in cards(".semseg-"):
        if of_mask3d(card) and card.data.source != "ade20k":
            train = card.train
            assert (train.optimizer.name, train.optimizer.lr, train.batch_size, train.epochs) == ("sgd", 0.01, 8, 80)
            assert (train.schedule.name, train.schedule.power) == ("polynomial", 0.9)
            assert (train.optimizer.momentum, train.optimizer.dampening, train.optimizer.weight_decay) == (0.9, 0.1, 0)
            assert card.objective.head.name == "decoder"
            assert card.objective.head.decoder == registry.get_card(card.init).objective.decoder
            assert card.data.transform == "pri3d"


@pytest.mark.parametrize(
    ("source", "labels", "size"),
    [("scannet", "scannet20", (240, 320)), ("nyuv2", "nyu13", (240, 320)), ("cityscapes", "cityscapes19", (176, 352))],
)
def test_mask3d_segmentation_sees_what_pri3d_does(source: str, labels: str, size: tuple[int, int]):
    """FACTS.md §1.3."""
    for card in cards(f".semseg-{source}"):
        if of_mask3d(card):
            assert (card.objective.labels, card.backbone.image_size) == (labels, size)


def test_mask3d_on_ade20k():
    """Mask3D, appendix B: AdamW 1e-4, batch 16, 256k iterations; MAE by the same recipe."""
    ours, theirs = cards("mask3d", "ade20k")[0], cards("mae-", "ade20k")[0]
    train = ours.train
    assert (train.optimizer.name, train.optimizer.lr, train.batch_size) == ("adamw", 1e-4, 16)
    assert train.max_steps == 256_000
    assert (ours.backbone, ours.objective, ours.data, train) == (
        theirs.backbone,
        theirs.objective,
        theirs.data,
        theirs.train,
    )


@pytest.mark.parametrize(("source", "classes", "batch"), [("scannet", 18, 16), ("nyuv2", 9, 2)])
def test_instances(source: str, classes: int, batch: int):
    """Detectron2's 1x schedule; FACTS.md §1.2: learning rate 0.0025, batch 16 and 2, 90k iterations, steps 60k, 80k."""
    for card in cards(f".insseg-{source}"):
        train = card.train
        assert (train.optimizer.name, train.optimizer.lr, train.batch_size) == ("sgd", 0.0025, batch)
        assert (train.optimizer.momentum, train.optimizer.weight_decay, train.max_steps) == (0.9, 1e-4, 90_000)
        assert (train.schedule.milestones, train.schedule.warmup) == ((60_000, 80_000), 1000)
        assert len(card.objective.classes) == classes


@pytest.mark.parametrize(
    ("source", "epochs", "size"),
    [("scannet", 60, (240, 320)), ("nyuv2", 200, (640, 640)), ("sunrgbd", 60, (640, 640))],
)
def test_two_stage_segmentation(source: str, epochs: int, size: tuple[int, int]):
    """Table 14 of the two-stage paper; the head is MultiMAE's (FACTS.md §6.1)."""
    for card in cards(f".semseg-{source}-progressive"):
        train, head = card.train, card.objective.head
        assert (train.optimizer.lr, train.optimizer.betas, train.optimizer.weight_decay) == (1e-4, (0.9, 0.999), 0.05)
        assert (train.layer_decay, train.epochs, card.objective.drop_path) == (0.75, epochs, 0.1)
        assert train.schedule.start_lr == 1e-6
        assert train.schedule.warmup * epochs == pytest.approx(1, abs=1e-4)
        assert (head.name, head.width, head.cells, head.depth) == ("convnext", 384, 4, 4)
        assert card.backbone.image_size == size


def test_two_stage_depth():
    """Table 12 of the two-stage paper; head and loss are MultiMAE's (FACTS.md §6.2)."""
    (card,) = cards("depth-nyuv2-progressive")
    train = card.train
    assert (train.optimizer.lr, train.optimizer.betas, train.optimizer.weight_decay) == (1e-4, (0.9, 0.999), 1e-4)
    assert (train.layer_decay, train.epochs, train.batch_size) == (0.75, 2000, 128)
    assert (train.schedule.start_lr, train.schedule.warmup * train.epochs) == (1e-6, 100)
    assert (card.objective.head.name, card.objective.loss, card.backbone.image_size) == ("dpt", "berhu", (256, 256))
    assert card.objective.typical == pytest.approx(2070.7764 * 10 / 65536, abs=1e-6)
    assert card.objective.spread == pytest.approx(777.5723 * 10 / 65536, abs=1e-6)


def test_mim_depth():
    """FACTS.md §5.2: 75 epochs, 3e-5 to 5e-4 and back with power 0.9, weight decay 0.05, SiLog, 480 x 480."""
    (card,) = cards("mimdepth")
    train = card.train
    assert (train.optimizer.lr, train.optimizer.weight_decay, train.epochs) == (5e-4, 0.05, 75)
    assert (train.schedule.power, train.schedule.end_lr, train.schedule.rise) == (0.9, 3e-5, 0.5)
    assert (card.objective.loss, card.objective.head.filters, card.backbone.image_size) == (
        "silog",
        (32, 32),
        (480, 480),
    )
    assert card.reported == (), "the papers' numbers are of Swin-V2"


def test_baselines_differ_in_the_start_alone():
    for name in ("semseg-scannet", "semseg-nyuv2", "semseg-cityscapes", "insseg-scannet", "insseg-nyuv2"):
        ours, theirs = (registry.get_card(f"{start}-vitb-scannet.{name}") for start in ("mask3d", "mae"))
        for section in ("backbone", "objective", "data", "train", "evaluation"):
            assert getattr(ours, section) == getattr(theirs, section)


def test_every_100th_frame_of_scannet_is_trained_on_as_its_protocols_score_every_100th():
    for card in cards("-scannet"):
        if card.data.source == "scannet":
            assert card.data.every == 100
