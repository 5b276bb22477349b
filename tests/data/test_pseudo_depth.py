"""Predicted depth against transformers' own pipeline, with small untrained models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Dinov2Config, pipeline

from rgbd3d.data import codec, pseudo_depth
from rgbd3d.data.codec import DataError
from rgbd3d.data.pseudo_depth import FARTHEST, NEAREST, PseudoDepth
from rgbd3d.data.rows import DepthModel, _loaded
from tests.data.depth_models import depth_anything, dpt, glpn, zoe_depth

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def relative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return depth_anything(tmp_path_factory.mktemp("models") / "relative")


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return depth_anything(tmp_path_factory.mktemp("models") / "metric", "metric")


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Three of uint8 (3, 48, 64): blocks of colour, which an untrained network does see."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (3, 3, 6, 8), dtype=torch.uint8, generator=generator)
    return blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)


def by_pipeline(folder: Path, images: Tensor) -> Tensor:
    """Raw output for each image, (B, H, W)."""
    estimate = pipeline("depth-estimation", model=str(folder), device="cpu")
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    return torch.stack([estimate(picture)["predicted_depth"].squeeze() for picture in pictures])


def test_metric_models_give_what_the_pipeline_gives(metric: Path, images: Tensor):
    depth = PseudoDepth(str(metric))(images)
    expected = by_pipeline(metric, images).clamp(0.001, 65.535)
    assert depth.shape == (3, 1, 48, 64)
    assert depth.dtype == torch.float32
    assert expected.std() > 1e-3
    # The pipeline sees one picture at a time: how differently that is rounded depends on the CPU.
    torch.testing.assert_close(depth[:, 0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("build", [glpn, zoe_depth])
def test_metric_models_of_other_kinds(tmp_path: Path, images: Tensor, build):
    model = PseudoDepth(str(build(tmp_path)))
    assert model.metric
    expected = by_pipeline(tmp_path, images).clamp(0.001, 65.535)
    assert expected.std() > 1e-3
    torch.testing.assert_close(model(images)[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_relative_models_rank_pixels_as_the_pipeline_does(relative: Path, images: Tensor):
    model = PseudoDepth(str(relative))
    depth, disparity = model(images)[:, 0], by_pipeline(relative, images)
    assert not model.metric
    for metres, inverse in zip(depth, disparity, strict=True):
        assert metres.min() == pytest.approx(NEAREST)
        assert metres.max() == pytest.approx(FARTHEST)
        # Inverse depth is what the model said, but for scale and shift.
        line = np.polyfit(inverse.flatten().double(), 1 / metres.flatten().double(), 1)
        assert line[0] > 0
        np.testing.assert_allclose(np.polyval(line, inverse.double()), 1 / metres.double(), atol=1e-4)


def test_batches_change_nothing(relative: Path, images: Tensor):
    one, all_of_them = PseudoDepth(str(relative), batch_size=1), PseudoDepth(str(relative), batch_size=8)
    torch.testing.assert_close(one(images), all_of_them(images), atol=1e-5, rtol=1e-5)


def test_frames_of_a_clip_share_one_scale(relative: Path, images: Tensor):
    model = PseudoDepth(str(relative))
    together = model(images, together=True)
    assert together.min() == pytest.approx(NEAREST)
    assert together.max() == pytest.approx(FARTHEST)
    assert not torch.allclose(together, model(images))
    disparity, inverse = by_pipeline(relative, images).flatten().double(), 1 / together.flatten().double()
    np.testing.assert_allclose(np.polyval(np.polyfit(disparity, inverse, 1), disparity), inverse, atol=1e-4)


def test_a_frame(relative: Path, images: Tensor):
    row = {"image": images[0], "scene_id": "a", "frame_id": 3}
    model = PseudoDepth(str(relative))
    result = model.add(row)
    assert set(result) == {"image", "depth", "scene_id", "frame_id"}
    assert torch.equal(result["depth"], model(images[:1])[0])
    decoded = codec.decode_depth(codec.encode_depth(result["depth"]), "here")
    torch.testing.assert_close(decoded, result["depth"], atol=6e-4, rtol=0)


def test_a_frame_that_is_a_file(relative: Path, images: Tensor):
    model = PseudoDepth(str(relative))
    file = codec.encode_color(images[0], quality=None)
    result = model.add({"image": file})
    assert result["image"] is file
    assert torch.equal(result["depth"], model(images[:1])[0])


def test_a_clip(relative: Path, images: Tensor):
    model = PseudoDepth(str(relative))
    result = model.add({"frames": images, "class_id": 2})
    assert torch.equal(result["depth_frames"], model(images, together=True))
    assert result["class_id"] == 2


def test_flat_output_is_far_away():
    depth = pseudo_depth._from_inverse(torch.full((1, 2, 2), 3.0), together=False)
    torch.testing.assert_close(depth, torch.full((1, 2, 2), FARTHEST))


@pytest.mark.parametrize(("raw", "expected"), [(1e6, 65.535), (-3.0, 0.001), (0.0, 0.001)])
def test_metres_are_clipped_to_what_a_file_can_hold(metric: Path, images: Tensor, monkeypatch, raw, expected):
    model = PseudoDepth(str(metric))
    monkeypatch.setattr(model, "_predict", lambda images: torch.full((len(images), 4, 4), raw))
    depth = model(images)
    assert depth.max() == pytest.approx(expected)
    codec.encode_depth(depth[0])


@pytest.mark.parametrize("row", [{"scene_id": "a"}, {"image": 0, "depth": 0}, {"frames": 0, "depth_frames": 0}])
def test_rows_that_it_is_not_for(relative: Path, row):
    with pytest.raises(DataError, match="colour and without depth"):
        PseudoDepth(str(relative)).add(row)


def test_the_manifest_names_model_and_content(relative: Path, metric: Path, tmp_path: Path):
    manifest = PseudoDepth(str(relative)).manifest()
    assert manifest["model"] == "relative"
    assert manifest["depth"] == "relative"
    assert manifest["revision"].startswith("sha256:")
    assert len(manifest["revision"]) == 7 + 64
    assert PseudoDepth(str(metric)).manifest()["revision"] != manifest["revision"]


def test_dpt_does_not_tell_its_unit(tmp_path: Path, images: Tensor):
    folder = str(dpt(tmp_path))
    with pytest.raises(DataError, match="metric=True or metric=False"):
        PseudoDepth(folder)
    assert not PseudoDepth(folder, metric=False).metric
    as_metres = PseudoDepth(folder, metric=True)(images)[:, 0]
    torch.testing.assert_close(as_metres, by_pipeline(tmp_path, images).clamp(0.001, 65.535), atol=1e-3, rtol=1e-3)


def strip(folder: Path, needle: str) -> None:
    """Removes weights from a checkpoint."""
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if needle not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_weights_are_no_random_weights(tmp_path: Path, images: Tensor):
    depth_anything(tmp_path)
    strip(tmp_path, "head.conv2.weight")
    with pytest.raises(DataError, match="damaged or incomplete"):
        PseudoDepth(str(tmp_path))(images)


def test_weights_that_are_never_used_may_be_missing(tmp_path: Path, images: Tensor):
    """The checkpoints of DPT lack the first fusion layer's unused residual unit."""
    dpt(tmp_path)
    before = PseudoDepth(str(tmp_path), metric=False)(images)
    strip(tmp_path, "fusion_stage.layers.0.residual_layer1")
    torch.testing.assert_close(PseudoDepth(str(tmp_path), metric=False)(images), before)


def test_pickled_weights_are_refused(tmp_path: Path):
    depth_anything(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="safetensors"):
        PseudoDepth(str(tmp_path))


def test_code_of_a_folder_is_not_run(tmp_path: Path):
    depth_anything(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('was run')\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForDepthEstimation": "evil.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="no depth-estimation model"):
        PseudoDepth(str(tmp_path))


def test_another_kind_of_model_is_refused(tmp_path: Path):
    depth_anything(tmp_path)
    Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no depth-estimation model"):
        PseudoDepth(str(tmp_path))


def test_an_empty_folder(tmp_path: Path):
    with pytest.raises(DataError, match="no depth-estimation model"):
        PseudoDepth(str(tmp_path))


def test_a_folder_has_no_revision(relative: Path):
    with pytest.raises(ValueError, match="has no revision"):
        PseudoDepth(str(relative), "main")


class FakeHub:
    """Answers like the Hub would for one repository whose branch main is COMMIT."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.folder = folder
        monkeypatch.setattr(pseudo_depth, "HfApi", lambda: self)
        monkeypatch.setattr(pseudo_depth, "snapshot_download", self.snapshot_download)

    def model_info(self, model_id: str, revision: str | None):
        self.asked.append(f"resolve {model_id}@{revision}")
        return type("Info", (), {"sha": COMMIT})

    def snapshot_download(self, model_id: str, revision: str, allow_patterns: list[str]) -> str:
        self.asked.append(f"download {model_id}@{revision}")
        assert allow_patterns == ["*.json", "*.safetensors"]
        return str(self.folder)


@pytest.mark.parametrize("revision", [None, "main", "v1.0"])
def test_a_branch_is_resolved_to_a_commit_first(relative: Path, monkeypatch: pytest.MonkeyPatch, revision):
    hub = FakeHub(relative, monkeypatch)
    model = PseudoDepth("owner/name", revision)
    assert hub.asked == [f"resolve owner/name@{revision}", f"download owner/name@{COMMIT}"]
    assert model.manifest() == {"model": "owner/name", "revision": COMMIT, "depth": "relative"}


def test_a_commit_is_not_asked_for(relative: Path, monkeypatch: pytest.MonkeyPatch):
    hub = FakeHub(relative, monkeypatch)
    assert PseudoDepth("owner/name", COMMIT).revision == COMMIT
    assert hub.asked == [f"download owner/name@{COMMIT}"]


def test_a_folder_may_be_pinned_to_its_files(relative: Path, metric: Path):
    revision = PseudoDepth(str(relative)).revision
    assert PseudoDepth(str(relative), revision).revision == revision
    with pytest.raises(DataError, match=f"its files have changed or are other ones: sha256:.*, not {revision}"):
        PseudoDepth(str(metric), revision)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("owner/name", DepthModel("owner/name")),
        ("owner/name@v1.0", DepthModel("owner/name", "v1.0")),
        ("owner/name:metric", DepthModel("owner/name", metric=True)),
        ("owner/name@refs/pr/1:relative", DepthModel("owner/name", "refs/pr/1", metric=False)),
        ("models/depth@sha256:00ff", DepthModel("models/depth", "sha256:00ff")),
        ("models/depth@sha256:00ff:metric", DepthModel("models/depth", "sha256:00ff", metric=True)),
    ],
)
def test_a_model_on_the_command_line(text: str, model: DepthModel):
    assert DepthModel.parse(text) == model


def test_a_folder_may_have_an_at_in_its_path(tmp_path: Path):
    folder = tmp_path / "me@work" / "depth@2"
    folder.mkdir(parents=True)
    assert DepthModel.parse(f"{folder}:metric") == DepthModel(str(folder), metric=True)
    assert DepthModel.parse(f"{folder}@sha256:00ff") == DepthModel(str(folder), "sha256:00ff")


def test_pinning_does_not_keep_the_model(metric: Path):
    DepthModel(str(metric)).pinned()
    assert _loaded.cache_info().currsize == 0


def test_the_stored_name_of_a_model_of_the_hub_is_that_model(relative: Path, monkeypatch: pytest.MonkeyPatch):
    FakeHub(relative, monkeypatch)
    pinned, name = DepthModel("owner/name", "main").pinned()
    assert name == f"owner/name@{COMMIT}:relative"
    assert DepthModel.parse(name) == pinned
    assert pinned.pinned() == (pinned, name)


def test_the_stored_name_of_a_folder_is_that_folder(metric: Path, monkeypatch: pytest.MonkeyPatch):
    pinned, name = DepthModel(str(metric)).pinned()
    assert name == f"metric@{PseudoDepth(str(metric)).revision}:metric"
    monkeypatch.chdir(metric.parent)
    assert DepthModel.parse(name).pinned()[1] == name
    assert DepthModel.parse(name) == DepthModel("metric", pinned.revision, pinned.metric)


def test_no_such_model():
    with pytest.raises(DataError, match="no such folder"):
        PseudoDepth("not a valid id!")
