"""The bundled weights are those that their cards pin, give the features that they promise, and are small."""

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d import card_weights, registry
from rgbd3d.cards import Card
from rgbd3d.folder import GOLDEN
from rgbd3d.hub_verify import GOLDEN_TOLERANCE
from rgbd3d.pins import check_pin

BUNDLED = [
    registry.get_card(name) for name in registry.list_models() if registry.get_card(name).weights.status == "bundled"
]
MEGABYTE = 1_000_000


def test_something_is_bundled():
    assert BUNDLED


@pytest.mark.parametrize("card", BUNDLED, ids=lambda card: card.name)
def test_files_are_as_pinned_and_no_other_is_there(card: Card):
    folder = card_weights.BUNDLED_WEIGHTS / card.name
    pins = card.weights.files or {}
    assert {card_weights.BACKBONE_FILE, GOLDEN} <= pins.keys()
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == pins.keys()
    for name, pin in pins.items():
        check_pin(folder / name, name, pin)


@pytest.mark.parametrize("card", [card for card in BUNDLED if card.task is None], ids=lambda card: card.name)
def test_backbone_gives_the_promised_features(card: Card):
    golden = load_file(card_weights.BUNDLED_WEIGHTS / card.name / GOLDEN)
    model = registry.from_pretrained(card.name).eval()
    with torch.inference_mode():
        features = model(golden["image"]).last_hidden_state
        other = model(golden["image"].flip(-1)).last_hidden_state
    torch.testing.assert_close(features, golden["features"], rtol=0, atol=GOLDEN_TOLERANCE)
    assert (other - golden["features"]).abs().max() > 100 * GOLDEN_TOLERANCE, "features that ignore the image"


@pytest.mark.parametrize("card", [card for card in BUNDLED if card.task is not None], ids=lambda card: card.name)
def test_fine_tuned_model_gives_the_promised_prediction(card: Card):
    golden = load_file(card_weights.BUNDLED_WEIGHTS / card.name / GOLDEN)
    network = registry.from_pretrained(card.name).network.eval()
    with torch.inference_mode():
        found, other = network.trace(golden["image"]), network.trace(golden["image"].flip(-1))
    torch.testing.assert_close(found, golden["trace"], rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE)
    assert (other - golden["trace"]).abs().max() > 100 * GOLDEN_TOLERANCE, "predictions that ignore the image"


def test_the_package_stays_small():
    sizes = {path: path.stat().st_size for path in card_weights.BUNDLED_WEIGHTS.rglob("*") if path.is_file()}
    assert {path.parent.name for path in sizes} == {card.name for card in BUNDLED}, "weights that no card names"
    assert max(sizes.values()) <= 16 * MEGABYTE
    assert sum(size for path, size in sizes.items() if path.name != GOLDEN) <= 48 * MEGABYTE
    assert sum(size for path, size in sizes.items() if path.name == GOLDEN) <= 1.5 * MEGABYTE
