"""Tables and model cards are made from the cards, and what is written down is not stale."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rgbd3d import model_card, registry, zoo
from rgbd3d.cards import Card, Measured, WeightFile, Weights

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "docs" / "zoo.md"]


@pytest.fixture
def card() -> Card:
    """A card with weights and a number of ours."""
    measured = Measured(
        task="depth-estimation",
        dataset="NYUv2",
        protocol="nyuv2-train795/probe",
        metric="delta1 %",
        mean=47.25,
        std=0.5,
        seeds=3,
        command="rgbd3d evaluate x | tee log",
        baseline=43.0,
        baseline_std=0.25,
    )
    weights = Weights(status="bundled", files={"model.safetensors": WeightFile(sha256="0" * 64, bytes=1)})
    return replace(registry.get_card("mask3d-vitt-synthrooms"), measured=(measured,), weights=weights)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_fresh(page: Path):
    assert zoo.refreshed(page.read_text()) == page.read_text(), "run `make zoo`"


def test_the_zoo_has_all_models_and_the_readme_those_with_weights():
    readme, zoo_page = (page.read_text() for page in PAGES)
    recipes = [name for name in registry.list_models() if registry.get_card(name).weights.status == "recipe"]
    for name in registry.list_models():
        assert f"| `{name}` |" in zoo_page
        assert (f"| `{name}` |" in readme) == (name not in recipes)
    assert f"Beside them there are {len(recipes)} recipes that nobody has trained yet: " in readme


def test_data_sets_name_a_few_of_their_cards():
    cards = [replace(registry.get_card("mae-vitb-imagenet"), name=f"mae-{number}") for number in range(6)]
    assert "| `mae-0`, `mae-1`, `mae-2`, `mae-3` and 2 more |" in zoo.data_sets(cards)
    assert "| `mae-0`, `mae-1`, `mae-2`, `mae-3` |" in zoo.data_sets(cards[:4])


def test_a_stale_page_is_found_and_refreshed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    page = tmp_path / "page.md"
    page.write_text(PAGES[0].read_text().replace("`mask3d-vitt-synthrooms` |", "`mask3d-vitt-synthroom` |"))
    assert zoo.main(["--check", str(page)]) == 1
    assert f"{page} is stale; run `make zoo`" in capsys.readouterr().out
    assert zoo.main([str(page)]) == 0
    assert page.read_text() == PAGES[0].read_text()
    assert zoo.main(["--check", str(page)]) == 0


def test_only_the_marked_parts_change():
    begin = zoo.BEGIN.format("table")
    text = zoo.refreshed(f"before\n{begin}\nold\n{zoo.END}\nafter\n")
    assert text.startswith(f"before\n{begin}\n\n| name |")
    assert text.endswith(f"\n\n{zoo.END}\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="has no <!-- /zoo -->"):
        zoo.refreshed(begin)


def test_the_table_says_which_weights_exist(card: Card):
    assert "| in the package |" in zoo.zoo_table([card])
    assert "| recipe only |" in zoo.zoo_table([registry.get_card("mae-vitb-imagenet")])


def test_description_keeps_ours_and_theirs_apart(card: Card):
    text = zoo.describe(replace(card, reported=registry.get_card("mask3d-vitb-scannet").reported))
    ours, theirs = text.index("measured by us"), text.index("reported in the paper (not ours)")
    number = text.index("47.25 ± 0.5 (3 seeds); random initialisation 43 ± 0.25")
    assert ours < number < theirs < text.index("50.4")


def test_model_card_front_matter(card: Card):
    _, front, body = model_card.render(card, "me/model").split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["license"] == "apache-2.0"
    assert values["library_name"] == "rgbd3d"
    assert "datasets" not in values, "synthrooms is no data set of the Hub"
    hosted = replace(card, data=replace(card.data, source="me/rooms", render=None))
    assert yaml.safe_load(model_card.render(hosted).split("---\n")[1])["datasets"] == ["me/rooms"]
    assert {"rgbd3d", "mask3d"} <= set(values["tags"])
    assert body.lstrip().startswith("# mask3d-vitt-synthrooms")


def test_a_licence_that_the_hub_does_not_know_is_spelt_out():
    card = registry.get_card("mask3d-vitb-scannet")
    text = model_card.render(card)
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
    assert card.license.weights in text
    assert card.license.data in text


def test_model_card_body(card: Card):
    text = model_card.render(replace(card, reported=registry.get_card("mask3d-vitb-scannet").reported), "me/model")
    for part in (
        "our reproduction",
        "not an official release",
        "not** the 3-D instance segmentation project of the same name",
        'rgbd3d.from_pretrained("me/model")',
        'timm.create_model("hf-hub:me/model", pretrained=True)',
        "47.25 ± 0.5 (3 seeds); random initialisation 43 ± 0.25",
        "rgbd3d evaluate x \\| tee log",
        "for the authors' own weights, not these",
        "Mask3D Table 14",
        card.departures[0],
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("provenance", "said"),
    [("converted", "converted from the authors' public checkpoint"), ("smoke-test", "too small")],
)
def test_model_card_says_where_the_weights_come_from(card: Card, provenance: str, said: str):
    other = replace(card, provenance=provenance)
    for text in (model_card.render(other), " ".join(zoo.describe(other).split())):
        assert said in text
        assert "our reproduction" not in text
        assert "not an official release" not in text
    assert "not an official release" in zoo.describe(card)


def test_the_class_set_of_a_reported_number_is_shown():
    card = registry.get_card("mask3d-vitb-scannet")
    assert "NYUv2, 13 classes, semantic-segmentation, mIoU %: 56.9" in " ".join(zoo.describe(card).split())
    assert "| NYUv2, 13 classes | semantic-segmentation | mIoU % | 56.9 |" in model_card.render(card)
