"""The page of results shows what its files hold, and the files name the data, no place of theirs."""

import importlib.util
import sys
from pathlib import Path

import pytest

from rgbd3d.evaluation.result import Result

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


def test_a_changed_number_makes_it_stale(results_page, tmp_path, monkeypatch):
    page = tmp_path / "results.md"
    text = results_page.PAGE.read_text("utf-8")
    begin = results_page.BEGIN.format("80 epochs")
    start = text.index(begin) + len(begin)
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
