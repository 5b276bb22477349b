"""The page of results shows what its files hold, and the files name the data, no place of theirs."""

import importlib.util
import sys
from pathlib import Path

import pytest

from rgbd3d.evaluation.result import Result
from rgbd3d.registry import get_card

REPOSITORY = Path(__file__).parents[1]
FILES = sorted((REPOSITORY / "docs" / "results").glob("*.json"))


@pytest.fixture(scope="module")
def results_page():
    spec = importlib.util.spec_from_file_location("results_page", REPOSITORY / "benchmarks" / "results_page.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh(results_page):
    assert results_page.main(["--check"]) == 0, "run `make results`"


@pytest.mark.parametrize("part", ["80 epochs", "40 epochs", "curve"])
def test_a_changed_number_makes_it_stale(results_page, tmp_path, monkeypatch, part):
    page = tmp_path / "results.md"
    text = results_page.PAGE.read_text("utf-8")
    begin = results_page.BEGIN.format(part)
    start = text.index(begin) + len(begin)
    start = text.index("± ", start)
    digit = next(i for i, letter in enumerate(text[start:], start) if letter.isdigit())
    page.write_text(text[:digit] + str(9 - int(text[digit])) + text[digit + 1 :], "utf-8")
    monkeypatch.setattr(results_page, "PAGE", page)
    assert results_page.main(["--check"]) == 1


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_results_are_of_three_seeds_on_the_same_frames(file):
    result = Result.load(file)
    assert result.seeds == (0, 1, 2)
    assert result.data.digest == Result.load(FILES[0]).data.digest
    assert "/" not in result.data.source, "the data's name, not a place"
    assert f"--data {result.data.source}" in result.command


METRICS = {"delta1, %": "delta1", "AbsRel": "abs_rel", "pixel accuracy, %": "pixel_accuracy", "mIoU, %": "miou"}
"""Names of the cards -> those of the files."""


@pytest.mark.parametrize(
    ("card", "protocol", "pretrained", "random"),
    [
        ("mask3d-vitt-synthrooms", "finetune-80", "finetune-80.pretrained", "finetune-80.random"),
        ("mask3d-vitt-synthrooms", "finetune", "finetune-8.pretrained", None),
        ("mask3d-vitt-synthrooms", "probe", "probe.pretrained", "probe.random"),
        ("mask3d-vitt-synthrooms-5005", "finetune-long", "finetune-long.first-stage", "finetune-long.random"),
        ("mask3d-vitt-synthrooms-5005", "probe", "probe.step4000", "probe.random"),
    ],
)
def test_cards_have_the_numbers_of_the_files(card, protocol, pretrained, random):
    own, other = (
        Result.load(REPOSITORY / "docs" / "results" / f"{name}.json") if name else None for name in (pretrained, random)
    )
    numbers = [number for number in get_card(card).measured if number.protocol == f"nyuv2-train795/{protocol}"]
    assert {number.metric for number in numbers} == METRICS.keys()
    for number in numbers:
        metric = METRICS[number.metric]
        rounded = 6e-5 if metric == "abs_rel" else 6e-3
        assert (number.mean, number.std) == pytest.approx((own.mean(metric), own.std(metric)), abs=rounded)
        if other:
            expected = (other.mean(metric), other.std(metric))
            assert (number.baseline, number.baseline_std) == pytest.approx(expected, abs=rounded)
        assert number.seeds == len(own.seeds)


@pytest.mark.parametrize("kind", ["pretrained", "semseg"])
def test_the_table_of_eight_epochs_has_the_numbers_of_its_files(results_page, kind):
    result = Result.load(REPOSITORY / "docs" / "results" / f"finetune-8.{kind}.json")
    digits = {"delta1": 2, "abs_rel": 4, "miou": 2, "pixel_accuracy": 2}
    cells = [f"{result.mean(metric):.{n}f} ± {result.std(metric):.{n}f}" for metric, n in digits.items()]
    assert f"| `{result.model}` | {' | '.join(cells)} |" in results_page.PAGE.read_text("utf-8")
