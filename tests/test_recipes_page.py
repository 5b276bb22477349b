"""docs/recipes.md is true: its commands can be typed and fit the cards, and its numbers are those of the cards."""

import re
import shlex
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rgbd3d import registry
from rgbd3d.cards import Card, with_overrides
from rgbd3d.cli import _parser
from rgbd3d.tasks import PretrainedDecoder

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "recipes.md").read_text("utf-8")
PAPERS = {"Mask3D": "Mask3D", "M³3D": "M3D", "Two-stage": "Two-stage"}
"""Heading -> how the cards name the paper."""
FOLDERS = {folder: source for source, folder in re.findall(r"data prepare (\S+) --raw RAW --out (\S+)", PAGE)}
"""--data -> the data set that it is."""
ISSUE = {
    "Mask3D": {*range(1, 8), *range(11, 16)},
    "M3D": set(range(3, 9)),
    "Two-stage": {1, 2, 3, 4, 5, 10, 11},
}
"""Tables of downstream results, but for those that vary nothing but pre-training."""


@dataclass(frozen=True)
class Row:
    """A row of a table: the paper and table ("Mask3D Table 1"), its name, the paper's numbers, the last column."""

    table: str
    name: str
    numbers: tuple[float, ...]
    recipe: str

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(re.findall(r"`(rgbd3d [^`]+)`", self.recipe))

    @property
    def elsewhere(self) -> bool:
        """Another row has the same recipe."""
        return re.search(r"\bTable \d+", self.recipe) is not None and not self.lacking

    @property
    def lacking(self) -> bool:
        return self.recipe.startswith("not here")


def rows() -> Iterator[Row]:
    paper = table = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            paper = PAPERS.get(line[3:], "")
        elif found := re.match(r"### (Table \d+)", line):
            table = f"{paper} {found[1]}"
        elif paper and line.startswith("| ") and not line.startswith(("| row", "| ---")):
            name, numbers, recipe = (cell.strip() for cell in line.strip("|").split("|"))
            values = tuple(map(float, re.findall(r"[\d.]+", numbers)))
            yield Row(table, name, values, recipe)


ROWS = list(rows())
COMMANDS = sorted(set(re.findall(r"`(rgbd3d (?:pretrain|finetune) [^`]+)`", PAGE)))


def parsed(command: str) -> tuple[Namespace, Card]:
    """Its words, and its card with what it sets."""
    options = _parser().parse_args(shlex.split(command)[1:])
    return options, with_overrides(registry.get_card(options.card), options.set)


def test_every_table_is_there():
    for paper, numbers in ISSUE.items():
        assert {f"{paper} Table {number}" for number in numbers} <= {row.table for row in ROWS}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_fit_their_cards_and_data(command: str):
    options, card = parsed(command)
    assert FOLDERS[options.data] == card.data.source
    assert (card.task is None) == ("rgbd3d pretrain" in command)
    if card.init is not None:
        own, start = card.backbone, registry.get_card(card.init).backbone
        assert (own.architecture, own.patch_size) == (start.architecture, start.patch_size)
    if options.set or getattr(options, "start", None):
        assert options.output, "its folder would be that of the card itself"
    if card.data.source == "scannet":
        assert card.data.every == {"scannet25": 25, "scannet": 100}[options.data]


def test_what_is_started_from_is_a_folder_that_a_command_writes():
    """A plain word would be a card's name; a converted model or a run is a path."""
    converted = {f"./{folder}" for folder in re.findall(r"python conversion/mae\.py \S+ \S+ (\S+)", PAGE)}
    parsed_commands = [parsed(command)[0] for command in re.findall(r"rgbd3d (?:pretrain|finetune) [^`\n$\\]+", PAGE)]
    runs = {f"{options.output or f'runs/{options.card}'}/final" for options in parsed_commands}
    starts = {options.start for options in parsed_commands if options.start} - {"FOLDER"}
    assert converted & starts
    assert starts <= converted | runs


def test_folders_hold_one_run_each():
    runs: dict[str, str] = {}
    for command in COMMANDS:
        options, _ = parsed(command)
        output = str(options.output or f"runs/{options.card}")
        assert runs.setdefault(output, command) == command


@pytest.mark.parametrize(
    "row", [row for row in ROWS if len(row.commands) == 2], ids=lambda row: f"{row.table}, {row.name}"
)
def test_what_is_pretrained_first_is_started_from(row: Row):
    (first, pretrained), (second, tuned) = map(parsed, row.commands)
    assert second.start == f"{first.output}/final"
    assert pretrained.backbone.architecture == tuned.backbone.architecture
    head = getattr(tuned.objective, "head", None)
    if isinstance(head, PretrainedDecoder):
        assert head.decoder == pretrained.objective.decoder


def test_the_numbers_are_those_of_the_cards():
    on_page: dict[tuple[str, str], tuple[float, ...]] = {}
    for row in ROWS:
        for command in row.commands:
            options, _ = parsed(command)
            plain = len(row.commands) == 1 and not options.set and options.start is None
            if plain:
                on_page[options.card, row.table] = row.numbers
    in_cards: dict[tuple[str, str], tuple[float, ...]] = {}
    for name in registry.list_models():
        card = registry.get_card(name)
        for number in card.reported if card.task else ():
            table = number.source.partition(",")[0]
            if re.match("Mask3D|M3D|Two-stage", table):
                in_cards[name, table] = (*in_cards.get((name, table), ()), number.value)
    assert on_page == in_cards


def test_rows_of_the_same_recipe_have_the_same_number():
    """One model has one number in all tables of a paper; M³3D and the two-stage paper disagree on Mask3D's."""
    values: dict[tuple[str, ...], set[tuple[float, ...]]] = {}
    for row in ROWS:
        if row.commands and "insseg" not in row.commands[-1]:
            values.setdefault((row.table.split()[0], *row.commands), set()).add(row.numbers)
    assert {commands: found for commands, found in values.items() if len(found) > 1} == {}


def test_every_recipe_of_a_task_is_on_the_page():
    named = {parsed(command)[0].card for command in re.findall(r"rgbd3d finetune [^`\n$\\]+", PAGE)}
    tuned = {name for name in registry.list_models() if registry.get_card(name).task is not None}
    assert tuned - named == {f"mask3d-vitt-synthrooms.{task}-synthrooms" for task in ("depth", "semseg", "insseg")}


def test_the_page_counts_its_rows():
    """A row counts as trainable with a command of its own, or where it stands for another row that has one."""
    for paper, name in {"Mask3D": "Mask3D", "M3D": "M³3D", "Two-stage": "the two-stage paper"}.items():
        own = [row for row in ROWS if row.table.startswith(paper)]
        trained = [row for row in own if row.commands or row.elsewhere]
        assert f"{len(trained)} of {len(own)} rows of {name}" in PAGE
    assert all(row.commands or row.elsewhere or row.lacking for row in ROWS)
