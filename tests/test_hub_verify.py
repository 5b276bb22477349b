"""A folder verifies if and only if it is whole, unchanged, free of foreign code, and gives the features it promises."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_folders import CARD
from safetensors.torch import load_file, save_file

from rgbd3d import cards, hub_verify
from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import WeightFile, Weights
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.hub import HubError, verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return save_pretrained_folder(build_vit(CARD.backbone), CARD, tmp_path_factory.mktemp("saved") / "tiny", half=True)


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "copy")


def pin_again(folder: Path) -> None:
    """Makes card.yaml pin whatever the folder holds now."""
    files = {}
    for path in folder.rglob("*.safetensors"):
        data = path.read_bytes()
        pin = WeightFile(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        files[path.relative_to(folder).as_posix()] = pin
    card = cards.load_card(folder / "card.yaml")
    weights = Weights(status="bundled", files=files)
    (folder / "card.yaml").write_text(cards.dump(replace(card, weights=weights)))


def problems(folder: Path, *, golden: bool = False) -> str:
    report = hub_verify.check_folder(folder, golden=golden)
    assert not report.ok
    with pytest.raises(HubError, match="it does not verify"):
        report.require("push")
    return report.problems


def test_whole_folder_verifies(whole):
    report = verify(whole)
    assert report.ok, report.problems
    text = str(report)
    assert text.startswith(str(whole))
    assert text.endswith(f"{whole}: verified")
    assert "features" in text
    assert "reproduced to" in text


def test_report_counts_what_failed(folder):
    (folder / "README.md").unlink()
    text = str(verify(folder))
    assert "FAIL  layout" in text
    assert "missing README.md" in text
    assert text.endswith("1 of 7 checks failed; do not use it")


@pytest.mark.parametrize("name", sorted(hub_verify.REQUIRED))
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert f"missing {name}" in problems(folder)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "training_args.bin", "evil.py", "a.pkl", "deep/down/config.json"]
)
def test_foreign_file(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04.")
    assert f"not part of a Hub folder: '{name}'" in problems(folder)


def test_linked_folder_is_not_entered(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text("{}")
    (folder / "pretraining").symlink_to(tmp_path / "outside")
    assert "not part of a Hub folder: 'pretraining'" in problems(folder)


def test_half_a_pretraining_folder(folder):
    (folder / "pretraining").mkdir()
    (folder / "pretraining/config.json").write_text("{}")
    assert "pretraining/ needs both config.json and model.safetensors" in problems(folder)


# ---------------------------------------------------------------------------------------------------------- weights


def test_changed_byte_in_the_weights(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    assert "card.yaml: model.safetensors has sha256" in problems(folder)


def test_truncated_weights(folder):
    size = (folder / "model.safetensors").stat().st_size
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(size // 2)
    found = problems(folder)
    assert "model.safetensors: no valid safetensors file" in found
    assert f"has {size // 2} bytes instead of {size}" in found


@pytest.mark.parametrize(
    "content",
    [b"\x08", (1 << 40).to_bytes(8, "little") + b"{}", b"\x80\x04pickle", (2).to_bytes(8, "little") + b"[]"],
    ids=["one byte", "giant header", "pickle", "no header"],
)
def test_no_safetensors(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    pin_again(folder)
    assert "model.safetensors: no" in problems(folder)


def test_header_of_many_megabytes(folder):
    header = b"{}".ljust(hub_verify.MAX_HEADER_BYTES + 8)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    pin_again(folder)
    assert f"a header of {len(header)} bytes" in problems(folder)


def test_weights_that_the_card_does_not_pin(folder):
    card = cards.load_card(folder / "card.yaml")
    (folder / "card.yaml").write_text(cards.dump(replace(card, weights=Weights(status="recipe"))))
    assert "card.yaml has no sha256 for model.safetensors" in problems(folder)


@pytest.mark.parametrize("name", ["../../x.safetensors", "/etc/x.safetensors", "x.pkl"])
def test_card_that_leads_outside(folder, name):
    text = (folder / "card.yaml").read_text().replace("golden.safetensors:", f"{name}:")
    (folder / "card.yaml").write_text(text)
    assert "only *.safetensors within the folder" in problems(folder)


# ---------------------------------------------------------------------------------------------------------- features


def test_random_weights_that_are_pinned_correctly(folder):
    torch.manual_seed(1)
    weights = build_vit(CARD.backbone).state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    pin_again(folder)
    assert hub_verify.check_folder(folder, golden=False).ok
    assert "features: features differ by" in problems(folder, golden=True)


def test_nan_features_do_not_verify(folder):
    weights = load_file(folder / "model.safetensors")
    weights["norm.bias"] = torch.full_like(weights["norm.bias"], torch.nan)
    save_file(weights, folder / "model.safetensors")
    pin_again(folder)
    assert "features differ by nan" in problems(folder, golden=True)


def test_lacking_weight_is_named(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["blocks.3.attn.qkv.bias"]
    save_file(weights, folder / "model.safetensors")
    pin_again(folder)
    assert "blocks.3.attn.qkv.bias" in problems(folder, golden=True)


def test_golden_of_other_tensors(folder):
    save_file({"x": torch.zeros(1)}, folder / "golden.safetensors")
    pin_again(folder)
    assert "golden.safetensors should hold image and features, not x" in problems(folder, golden=True)


# -------------------------------------------------------------------------------------------------- text and code


@pytest.mark.parametrize("name", ["README.md", "config.json", "card.yaml", "modeling_rgbd3d.py"])
def test_oversized_text(folder, name):
    with (folder / name).open("a") as file:
        file.write(" " * (hub_verify.MAX_TEXT_BYTES + 1))
    assert name in problems(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "Expecting value"), ("[]", "not a JSON object"), ("[" * 100_000, "recursion"), ("\xff", "config.json")],
    ids=["empty", "list", "deep", "broken"],
)
def test_broken_config(folder, content, message):
    (folder / "config.json").write_text(content, encoding="latin-1")
    assert message in problems(folder)


@pytest.mark.parametrize("target", ["evil/repo--modeling.Evil", "other.Model", ["modeling_rgbd3d.A", "evil/x--y.Z"]])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_from_another_repository(folder, name, target):
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**config, "auto_map": {"AutoModel": target}}))
    assert "auto_map loads code from" in problems(folder)


def test_pipeline_with_code_of_its_own(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "custom_pipelines": {"x": {"impl": "evil/x--y.Z"}}}))
    assert "custom_pipelines loads code" in problems(folder)


@pytest.mark.parametrize(
    "code",
    [
        "import os",
        "from os import system",
        "from .evil import x",
        "from rgbd3d_evil import x",
        "print(1)",
        "x = __import__('os')",
        "from rgbd3d.modeling import RgbdModel\nRgbdModel()",
        "class A:\n    pass",
        "try:\n    import rgbd3d\nexcept ImportError:\n    import os",
        "try:\n    import rgbd3d\nexcept ImportError as e:\n    raise ImportError(exec('1')) from e",
        "try:\n    import rgbd3d\nexcept Exception:\n    raise ImportError('x')",
        "try:\n    import rgbd3d\nexcept ImportError as e:\n    raise ImportError('x') from e\nfinally:\n    print(1)",
        "__all__ = [exec('1')]",
        "def",
    ],
)
def test_code_that_does_more_than_import(folder, code):
    (folder / "modeling_rgbd3d.py").write_text(code)
    assert "modeling_rgbd3d.py: " in problems(folder)


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "/no/where", "a/b/c", Path("me/tiny"), "../x/y"])
def test_path_that_does_not_exist_is_never_asked_for_on_the_hub(name):
    with pytest.raises(HubError, match="there is no folder"):
        verify(name)
