"""README and documentation are true: their code runs, their commands exist, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from rgbd3d.cli import _parser, main

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def ids(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks."""
    return BLOCK.findall(page.read_text())


def commands(text: str) -> list[list[str]]:
    """Words of the commands of a shell block; lines that end in a backslash go on."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.strip()]


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_code_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        elif language == "bash":
            for program, *arguments in commands(text):
                assert program == "rgbd3d"
                assert main(arguments) == 0


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_that_are_only_shown_exist(page: Path):
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for language, text in blocks(page):
        assert language in {"python", "bash", "console"}, "code that no test can look at"
        for program, *arguments in commands(text) if language == "console" else []:
            if program == "torchrun":
                program, arguments = "rgbd3d", arguments[arguments.index("rgbd3d.cli") + 1 :]
            if program == "rgbd3d":
                assert _parser().parse_args(arguments).run
            elif program == "python":
                assert (REPOSITORY / arguments[0]).is_file()
            else:
                assert program == "git" or (program == "make" and arguments[0] in targets)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
