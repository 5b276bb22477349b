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
    for name in registry.list_models():
        assert f"`{name}`" in page.read_text()


def test_a_stale_page_is_found_and_refreshed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    page = tmp_path / "page.md"
    page.write_text(PAGES[0].read_text().replace("`mae-vitb-imagenet`", "`mae-vitb-imagenette`"))
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
