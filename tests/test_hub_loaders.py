"""Other libraries, each in a process of its own, read what lies on the Hub: timm, transformers and datasets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_folders import CARD, REPO, publish
from loopback_hub import LoopbackHub

from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.methods import build_method
from rgbd3d.seeding import generator

REPOSITORY = Path(__file__).resolve().parents[1]

MODELS = """
import sys, timm, torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

repo, commit = sys.argv[1:]
golden = load_file(hf_hub_download(repo, "golden.safetensors", revision=commit))

def check(features):
    torch.testing.assert_close(features, golden["features"], atol=1e-5, rtol=0)

with torch.inference_mode():
    check(timm.create_model(f"hf-hub:{repo}@{commit}", pretrained=True).eval().forward_features(golden["image"]))
    assert "rgbd3d" not in sys.modules, "timm has to do alone"

    from transformers import AutoModel
    options = {"revision": commit, "trust_remote_code": True, "dtype": torch.float32}
    model, report = AutoModel.from_pretrained(repo, output_loading_info=True, **options)
    assert not any(report.values()), report
    check(model.eval()(golden["image"]).last_hidden_state)

    import rgbd3d
    check(rgbd3d.from_pretrained(repo, revision=commit).eval()(golden["image"]).last_hidden_state)
"""

STREAM = """
import sys, datasets, torch
from rgbd3d.data.schema import decode_row
from rgbd3d.data.sources import open_source

repo, commit = sys.argv[1:]
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
stream = datasets.load_dataset(repo, split="train", streaming=True, revision=commit)
images = [name for name, kind in stream.features.items() if isinstance(kind, datasets.Image)]
for name in images:
    stream = stream.cast_column(name, datasets.Image(decode=False))
streamed = [decode_row(row) for row in stream]
source = open_source(f"hf://datasets/{repo}@{commit}")
assert len(source) == len(streamed) == 130, (len(source), len(streamed))
for ours, theirs in zip((source[i] for i in range(len(source))), streamed):
    assert ours.keys() == theirs.keys() == set(stream.features)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]) if torch.is_tensor(value) else value == theirs[key], key
"""


@pytest.fixture
def hub():
    with LoopbackHub() as server:
        yield server


def run(script: str, hub: LoopbackHub, home: Path, *arguments: str) -> None:
    """Runs a script as a user of this Hub would."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **settings, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-4000:]


def test_timm_and_transformers_load_the_same_model_from_the_hub(hub, tmp_path):
    torch.manual_seed(0)
    commit = publish(hub, save_pretrained_folder(build_method(CARD), CARD, tmp_path / "tiny"))
    run(MODELS, hub, tmp_path, REPO, commit.oid)


def test_datasets_streams_the_samples_that_our_source_reads(hub, tmp_path):
    random = generator(0)

    def sample(number: int):
        return {
            "image": torch.randint(0, 256, (3, 12, 16), dtype=torch.uint8, generator=random),
            "depth": torch.randint(0, 9000, (1, 12, 16), generator=random) / 1000,
            "semantic": torch.randint(0, 40, (12, 16), generator=random),
            "intrinsics": torch.rand(3, 3, generator=random),
            "pose": torch.rand(4, 4, generator=random),
            "scene_id": f"room{number // 10}",
            "frame_id": number % 10,
        }

    rows = [encode_sample(sample(number)) for number in range(130)]
    write_shard(tmp_path / "rooms/data/train-00000-of-00002.parquet", rows[:100], "nyu40")
    write_shard(tmp_path / "rooms/data/train-00001-of-00002.parquet", rows[100:], "nyu40")
    commit = publish(hub, tmp_path / "rooms", name="me/rooms", kind="datasets")
    run(STREAM, hub, tmp_path, "me/rooms", commit.oid)
    assert any(line.startswith("GET /datasets/me/rooms/resolve") and "bytes=" in line for line in hub.log)
