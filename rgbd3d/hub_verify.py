"""Is a Hub folder what it claims to be? Layout, size limits, hashes, no foreign code, and the features it promises.

Nothing in the folder is trusted: no pickle is opened, no code is run, and no path from a file is followed.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from rgbd3d.cards import load_card
from rgbd3d.hub_errors import HubError
from rgbd3d.pins import check_pin

if TYPE_CHECKING:
    from torch import Tensor

CODE = "modeling_rgbd3d.py"
REQUIRED = frozenset(
    {
        "README.md",
        "card.yaml",
        "config.json",
        "golden.safetensors",
        "model.safetensors",
        CODE,
        "preprocessor_config.json",
    }
)
"""Files of every Hub folder."""

FILES = REQUIRED | {
    "LICENSE",
    *(
        f"{folder}/{file}"
        for folder in ("pretraining", "backbone")
        for file in ("config.json", "model.safetensors", CODE, "preprocessor_config.json")
    ),
}
"""All files that are ever pushed or pulled."""

IGNORED = frozenset({".gitattributes"})
"""Made by the Hub itself."""

MAX_TEXT_BYTES = 1 << 20
MAX_CODE_BYTES = 2 << 10
MAX_HEADER_BYTES = 8 << 20
GOLDEN_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Check:
    """Outcome of one check.

    Attributes:
        subject: What was checked.
        ok: Whether it holds.
        detail: What was found.
    """

    subject: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """Outcome of all checks of a folder; `str(report)` is for people.

    Attributes:
        source: Folder, or repository@commit.
        checks: In the order in which they ran.
    """

    source: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def problems(self) -> str:
        """The failed checks, one per line."""
        return "\n".join(f"  {check.subject}: {check.detail}" for check in self.checks if not check.ok)

    def require(self, action: str) -> None:
        """Refuses an action unless every check holds.

        Raises:
            HubError: Says what failed.
        """
        if not self.ok:
            raise HubError(f"cannot {action} {self.source}: it does not verify\n{self.problems}")

    def __str__(self) -> str:
        width = max(len(check.subject) for check in self.checks)
        lines = [f"  {'ok  ' if c.ok else 'FAIL'}  {c.subject:<{width}}  {c.detail}" for c in self.checks]
        failed = sum(not check.ok for check in self.checks)
        verdict = f"{failed} of {len(self.checks)} checks failed; do not use it" if failed else "verified"
        return "\n".join([self.source, *lines, f"{self.source}: {verdict}"])


def check_folder(folder: Path, *, names: Collection[str] | None = None, golden: bool = True) -> Report:
    """Checks a Hub folder.

    Args:
        folder: The folder.
        names: Its files where they are known from elsewhere (a repository's listing); by default what lies on disk.
        golden: Also load the model and compare its features with those of golden.safetensors; needs torch.

    Returns:
        The report; a folder with problems is no exception. The model is only loaded when all else is fine.
    """
    names = sorted(list_files(folder) if names is None else names)
    present = [name for name in names if name in FILES and (folder / name).is_file()]
    checks = [_run("layout", check_layout, names)]
    checks += [_run(name, _CHECKS[Path(name).suffix], folder / name) for name in present if name != "card.yaml"]
    if "card.yaml" in present:
        checks.append(_run("card.yaml", check_hashes, folder, present))
    report = Report(str(folder), tuple(checks))
    if not golden or not report.ok:
        return report
    return Report(report.source, (*checks, _run("features", check_golden, folder)))


def list_files(folder: Path) -> list[str]:
    """All files and links below a folder, by posix path; links to folders are listed, not entered."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in files + links]
    return found


def _run(subject: str, check: Callable[..., str], *arguments: Any) -> Check:
    try:
        return Check(subject, True, check(*arguments))
    except (ValueError, OSError, RecursionError) as error:
        return Check(subject, False, str(error) or type(error).__name__)


# --------------------------------------------------------------------------------------------------------- checks


def check_layout(names: Iterable[str]) -> str:
    """All files of a Hub folder are there and nothing else is.

    Raises:
        ValueError: Names what is missing and what is foreign.
    """
    present = set(names) - IGNORED
    problems = []
    if missing := sorted(REQUIRED - present):
        problems.append(f"missing {', '.join(missing)}")
    if foreign := sorted(present - FILES):
        shown = ", ".join(map(repr, foreign[:5])) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        problems.append(f"not part of a Hub folder: {shown}")
    for folder in ("pretraining", "backbone"):
        if (f"{folder}/config.json" in present) != (f"{folder}/model.safetensors" in present):
            problems.append(f"{folder}/ needs both config.json and model.safetensors")
    if problems:
        raise ValueError("; ".join(problems))
    return f"{len(present)} files"


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """A text file of bounded size.

    Raises:
        ValueError: It is larger, or no UTF-8.
    """
    if path.stat().st_size > limit:
        raise ValueError(f"{path.stat().st_size} bytes, more than the {limit} that are allowed")
    return path.read_text(encoding="utf-8")


def check_text(path: Path) -> str:
    """A text of bounded size."""
    return f"{len(read_text(path))} characters"


def check_json(path: Path) -> str:
    """A JSON object of bounded size that loads code from nowhere but the thin file beside it.

    Raises:
        ValueError: It is none, or its `auto_map` leads elsewhere ("other/repo--module.Class" runs that code).
    """
    value = json.loads(read_text(path))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if "custom_pipelines" in value:
        raise ValueError("custom_pipelines loads code; it is not allowed")
    auto_map = value.get("auto_map", {})
    targets = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    for target in targets:
        for reference in target if isinstance(target, list) else [target]:
            if reference is not None and not re.fullmatch(r"modeling_rgbd3d\.\w+", str(reference)):
                raise ValueError(f"auto_map loads code from {reference!r}; only modeling_rgbd3d.<class> is allowed")
    return f"{len(value)} keys"


def check_code(path: Path) -> str:
    """The thin file: it imports from rgbd3d, may say what to install, and does nothing else.

    Raises:
        ValueError: It does more.
    """
    try:
        tree = ast.parse(read_text(path, MAX_CODE_BYTES))
    except SyntaxError as error:
        raise ValueError(f"no valid Python: {error}") from error
    for statement in tree.body:
        if not _is_harmless(statement):
            raise ValueError(
                f"line {statement.lineno} does more than import rgbd3d; the file may hold no code of its own"
            )
    return "only imports rgbd3d"


def _is_harmless(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="__future__"):
            return True
        case ast.ImportFrom(module=str(module), level=0):
            return module.split(".")[0] == "rgbd3d"
        case ast.Import(names=names):
            return all(alias.name.split(".")[0] == "rgbd3d" for alias in names)
        case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
            return _is_literal(value)
        case ast.Try(
            body=body, handlers=[ast.ExceptHandler(type=ast.Name(id="ImportError"), body=[ast.Raise() as hint])]
        ):
            nothing_else = not statement.orelse and not statement.finalbody
            return nothing_else and all(map(_is_harmless, body)) and _is_hint(hint)
    return False


def _is_hint(statement: ast.Raise) -> bool:
    """`raise ImportError("...")`, with or without `from error`."""
    match statement.exc:
        case ast.Call(func=ast.Name(id="ImportError"), args=arguments, keywords=[]):
            return all(map(_is_literal, arguments)) and isinstance(statement.cause, ast.Name | None)
    return False


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True


def check_safetensors(path: Path) -> str:
    """A safetensors file whose header is of bounded size and describes exactly the bytes that follow.

    Raises:
        ValueError: It is truncated or no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > min(MAX_HEADER_BYTES, size - 8):
        raise ValueError(f"no safetensors file, or truncated: a header of {header} bytes in a file of {size}")
    try:
        with safe_open(path, framework="np") as file:
            tensors = len(file.keys())
    except SafetensorError as error:
        raise ValueError(f"no valid safetensors file: {error}") from error
    return f"{tensors} tensors, {size / 1e6:.1f} MB"


def check_hashes(folder: Path, present: Collection[str]) -> str:
    """Every file that card.yaml pins has its size and sha256, and card.yaml pins all weights of the folder.

    Raises:
        ValueError: One differs, is missing, or is not pinned.
    """
    pinned = load_card(folder / "card.yaml").weights.files or {}
    weights = {name for name in present if name.endswith("model.safetensors")}
    if unpinned := sorted(weights - pinned.keys()):
        raise ValueError(f"card.yaml has no sha256 for {', '.join(unpinned)}; save the folder again")
    if missing := sorted(pinned.keys() - set(present)):
        raise ValueError(f"card.yaml pins {', '.join(missing)}, which the folder does not have")
    for name, expected in pinned.items():
        check_pin(folder / name, name, expected)
    return f"{len(pinned)} files as pinned in card.yaml"


def check_golden(folder: Path) -> str:
    """The loaded model makes of golden.safetensors' image what that file promises.

    Raises:
        ValueError: It does not, or it cannot be loaded.
    """
    import torch
    from safetensors.torch import load_file

    fine_tuned = load_card(folder / "card.yaml").task is not None
    golden, promised = load_file(folder / "golden.safetensors"), "trace" if fine_tuned else "features"
    if golden.keys() != {"image", promised}:
        raise ValueError(f"golden.safetensors should hold image and {promised}, not {', '.join(sorted(golden))}")
    try:
        with torch.inference_mode():
            found = (_trace if fine_tuned else _features)(folder, golden["image"])
    except Exception as error:  # any failure of foreign weights is a finding of this report
        raise ValueError(f"the model cannot be loaded: {type(error).__name__}: {error}") from error
    expected = golden[promised]
    if found.shape != expected.shape:
        raise ValueError(f"{tuple(found.shape)} instead of {tuple(expected.shape)}")
    # What a head predicts has a unit of its own; the features of a final norm are of size 1.
    scale = max(expected.abs().max().item(), 1.0) if fine_tuned else 1.0
    difference = (found - expected).abs().max().item() / scale
    if not difference <= GOLDEN_TOLERANCE:
        what = "predictions" if fine_tuned else "features"
        raise ValueError(f"{what} differ by {difference:.2g} from golden.safetensors, allowed is {GOLDEN_TOLERANCE}")
    return f"reproduced to {difference:.1g}"


def _features(folder: Path, image: Tensor) -> Tensor:
    from rgbd3d.folder import load_backbone

    return load_backbone(folder).eval().forward_features(image)


def _trace(folder: Path, image: Tensor) -> Tensor:
    from rgbd3d.folder import load_task_model

    return load_task_model(folder).eval().network.trace(image)


_CHECKS: dict[str, Callable[[Path], str]] = {
    "": check_text,
    ".md": check_text,
    ".json": check_json,
    ".py": check_code,
    ".safetensors": check_safetensors,
}
