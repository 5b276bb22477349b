"""Who may import whom, read from the source; and what `import rgbd3d` may load, seen at run time."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "rgbd3d"

# Layers of the science, lowest first: what a unit may import beside itself and the units that import nothing of ours.
CARDS = {"cards", "card_data", "card_sections", "objectives", "optimization", "tasks"}
NOUNS = {"types", "files", "seeding", "strict_yaml", "foreign_code", "optional", "precision", "pins"} | CARDS
BELOW_BACKBONES = NOUNS | {"geometry", "masking", "losses"}
BELOW_METHODS = BELOW_BACKBONES | {"backbones", "heads"}
ZOO = {"registry", "card_index", "card_weights", "zoo", "model_card"}
DOWNLOAD = {"hub_download", "hub_errors"}
HUB = {"hub", "hub_verify", "folder"} | DOWNLOAD
TRANSFORMERS_HEADS = {"modeling_upernet", "modeling_mask2former"}
MODELING = {"modeling", "modeling_base", "modeling_tasks"} | TRANSFORMERS_HEADS
FACE = {"configuration", "processing"} | MODELING
CLI = {"cli_models", "cli_training", "cli_evaluation", "cli_data"}
BELOW_TRAINING = BELOW_METHODS | ZOO | HUB | FACE | {"methods", "data", "downstream"}

ALLOWED = {
    "_autoregister": set(),
    "types": set(),
    "files": set(),
    "seeding": set(),
    "strict_yaml": set(),
    "foreign_code": set(),
    "optional": set(),
    "precision": {"optimization"},
    "pins": {"cards", "files"},
    "objectives": {"strict_yaml"},
    "optimization": {"strict_yaml"},
    "tasks": {"strict_yaml", "objectives"},
    "card_data": {"strict_yaml"},
    "card_sections": {"strict_yaml", "card_data"},
    "cards": CARDS | {"strict_yaml"},
    "geometry": NOUNS,
    "masking": NOUNS,
    "losses": NOUNS,
    "backbones": BELOW_BACKBONES,
    "heads": BELOW_BACKBONES | {"backbones"},
    "methods": BELOW_METHODS,
    "report": NOUNS,
    "data": NOUNS | {"geometry", "report"},
    "downstream": BELOW_METHODS | TRANSFORMERS_HEADS | {"data", "card_weights", "hub_download"},
    "card_index": NOUNS | DOWNLOAD,
    "card_weights": NOUNS | DOWNLOAD | {"card_index"},
    "registry": NOUNS | HUB | FACE | {"card_index", "card_weights", "downstream", "zoo"},
    "zoo": NOUNS | {"card_index", "card_weights", "data"},
    "model_card": NOUNS | {"zoo"},
    "hub": NOUNS | HUB,
    "hub_download": NOUNS | {"hub_errors"},
    "hub_errors": NOUNS,
    "hub_datasets": NOUNS | DOWNLOAD | {"data"},
    "hub_verify": NOUNS | HUB,
    "folder": NOUNS | FACE | {"backbones", "downstream", "model_card"},
    "export": NOUNS | FACE | {"backbones"},
    "configuration": NOUNS | {"backbones", "downstream"},
    "postprocessing": NOUNS | {"heads"},
    "processing": NOUNS | {"data", "geometry", "postprocessing"},
    "modeling_upernet": set(),
    "modeling_mask2former": NOUNS | {"losses", "heads"},
    "modeling_base": NOUNS | HUB | {"configuration", "processing"},
    "modeling_tasks": NOUNS | {"configuration", "downstream", "modeling_base"},
    "modeling": NOUNS | FACE | {"backbones", "methods"},
    "evaluation": BELOW_METHODS | ZOO | HUB | FACE | {"data", "downstream", "report"},
    "training": BELOW_TRAINING | {"evaluation"},
    "demo": BELOW_TRAINING | {"demo_tasks", "evaluation", "training", "report"},
    "demo_tasks": NOUNS | {"data", "evaluation", "registry", "report"},
    "cli": CLI,
    "cli_parsing": set(),
    "cli_models": {"cli_parsing", "registry", "zoo", "hub", "demo"},
    "cli_training": NOUNS | {"cli_parsing", "registry", "training"},
    "cli_evaluation": {"cli_parsing", "evaluation"},
    "cli_data": {"card_data", "cli_parsing", "data", "hub_datasets"},
}
LIGHT = (
    "_autoregister",
    "strict_yaml",
    "objectives",
    "optimization",
    "tasks",
    "card_data",
    "card_sections",
    "card_index",
    "card_weights",
    "cards",
    "registry",
    "zoo",
    "model_card",
    "cli",
    "cli_parsing",
    *sorted(CLI),
    "data.catalog",
)
LIGHT_LIBRARIES = {"yaml", "lazy_loader"}
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "huggingface_hub",
    "numpy",
    "pyarrow",
    "datasets",
    "accelerate",
)


def modules() -> Iterator[tuple[str, ast.Module]]:
    """(name below rgbd3d, source tree); the package itself is ''."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), ast.parse(path.read_text())


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names of what an import statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import_time(tree: ast.Module) -> Iterator[str]:
    """What is imported when the module is: not in functions, not under TYPE_CHECKING."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield from imported(node)
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not lazy and not typing_only:
            waiting.extend(ast.iter_child_nodes(node))


def units(tree: ast.Module) -> set[str]:
    """Modules or subpackages right below rgbd3d that are imported, wherever in the file."""
    names = {name for node in ast.walk(tree) for name in imported(node)}
    below = {name.split(".")[1] for name in names if name.startswith("rgbd3d.")}
    return {name for name in below if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()}


SOURCES = dict(modules())


@pytest.mark.parametrize("name", [name for name in SOURCES if name])
def test_layers(name: str):
    unit = name.split(".")[0]
    assert unit in ALLOWED, f"say in this test what {unit} may import"
    assert units(SOURCES[name]) <= ALLOWED[unit] | {unit}


def test_every_rule_is_about_something():
    existing = {name.split(".")[0] for name in SOURCES if name}
    assert set(ALLOWED) - existing <= {"geometry"}


@pytest.mark.parametrize("name", ["", *LIGHT])
def test_light_modules_import_light_ones(name: str):
    for target in at_import_time(SOURCES[name]):
        library, *rest = target.split(".")
        if library == "rgbd3d":
            assert not rest or any(".".join(rest).startswith(light) for light in LIGHT), target
        else:
            assert library in sys.stdlib_module_names | LIGHT_LIBRARIES, target


def test_only_modeling_imports_transformers_models():
    for name, tree in SOURCES.items():
        for target in (target for node in ast.walk(tree) for target in imported(node)):
            forbidden = target.startswith(("transformers.model", "transformers.PreTrainedModel"))
            assert not forbidden or name in MODELING, f"{name} imports {target}"


def test_nothing_is_imported_from_outside_the_package():
    for name, tree in SOURCES.items():
        for target in (target for node in ast.walk(tree) for target in imported(node)):
            assert target.split(".")[0] not in {"conversion", "tests", "benchmarks"}, f"{name} imports {target}"


def test_no_star_imports():
    for name, tree in SOURCES.items():
        assert not any(target.endswith(".*") for node in ast.walk(tree) for target in imported(node)), name


@pytest.mark.parametrize(
    "code",
    [
        "import rgbd3d; dir(rgbd3d); rgbd3d.__version__",
        "import rgbd3d; rgbd3d.list_models('mask3d*', pretrained=False); rgbd3d.model_info('mask3d-vitb-scannet')",
        "from rgbd3d.cli import main; main(['list']); main(['info', 'mae-vitb-imagenet']); main(['data', 'list'])",
        "from rgbd3d.cli import main; main(['pretrain', 'mae-vitb-imagenet', '--set', 'train.lrr=1'])",
    ],
)
def test_listing_loads_nothing_heavy(code: str):
    check = f"{code}\nimport sys\nloaded = set({HEAVY!r}) & set(sys.modules)\nassert not loaded, loaded"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_public_name_exists():
    import rgbd3d

    for name in rgbd3d.__all__:
        assert getattr(rgbd3d, name) is not None
