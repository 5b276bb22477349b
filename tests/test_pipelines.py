"""`transformers.pipeline` on saved task models, in this process and in one that has not imported rgbd3d."""

import numpy as np
import pytest
import torch
from PIL import Image
from python_process import run
from tiny_tasks import ONE_EACH
from transformers import pipeline
from transformers.testing_utils import CaptureLogger
from transformers.utils import logging

from rgbd3d.data.label_spaces import class_names

pytest_plugins = ["task_fixtures"]


@pytest.fixture(scope="module")
def photograph():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((60, 50), Image.Resampling.BILINEAR)


def frame(photograph):
    return torch.from_numpy(np.array(photograph)).movedim(-1, 0)[None]


def quiet_pipeline(task, folder):
    """Made without a word, above all not that the model is not supported."""
    with CaptureLogger(logging.get_logger("transformers.pipelines.base")) as said:
        made = pipeline(task, model=str(folder))
    assert said.out == ""
    return made


@pytest.mark.parametrize("name", ["semantic-convnext", "semantic-mask2former"])
def test_semantic_pipeline(name, saved, photograph):
    segmenter = quiet_pipeline("image-segmentation", saved(name))
    found = segmenter(photograph)
    masks = np.stack([np.asarray(segment["mask"]) > 0 for segment in found])
    assert masks.shape[1:] == (50, 60)
    assert (masks.sum(0) == 1).all()  # every pixel has one class
    expected = segmenter.model.predict(frame(photograph))[0].argmax(0)
    ids = np.array([segmenter.model.config.label2id[segment["label"]] for segment in found])
    assert (ids[masks.argmax(0)] == expected.numpy()).mean() > 0.99
    assert {segment["label"] for segment in found} <= set(class_names("nyu13"))


def test_depth_pipeline(saved, photograph):
    estimator = quiet_pipeline("depth-estimation", saved("depth-dpt"))
    found = estimator(photograph)
    expected = estimator.model.predict(frame(photograph))[0, 0]
    assert found["predicted_depth"].shape == (50, 60)
    torch.testing.assert_close(found["predicted_depth"], expected, rtol=0.01, atol=0.01)
    assert found["depth"].size == (60, 50)


def test_instance_pipeline(saved, photograph):
    segmenter = quiet_pipeline("image-segmentation", saved("instances"))
    found = segmenter(photograph, threshold=0.0)
    assert type(segmenter.model).__name__ == "RgbdForInstanceSegmentation"
    assert found
    masks = np.stack([np.asarray(segment["mask"]) > 0 for segment in found])
    assert masks.shape[1:] == (50, 60)
    assert masks.sum(0).max() == 1
    assert {segment["label"] for segment in found} <= set(segmenter.model.config.id2label.values())
    scores = [segment["score"] for segment in found]
    assert scores == sorted(scores, reverse=True)


# --------------------------------------------------------------------------------------------------- other processes

IMPORT_FIRST = """
import sys
import rgbd3d
from transformers import AutoModelForDepthEstimation
print(type(AutoModelForDepthEstimation.from_pretrained(sys.argv[1])).__name__)
"""
REMOTE_CODE = """
import sys
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, pipeline
semantic, depth, instances = sys.argv[1:]
image = Image.new("RGB", (60, 50), "gray")
options = {"trust_remote_code": True}
assert "rgbd3d" not in sys.modules
for task, folder in (("image-segmentation", semantic), ("depth-estimation", depth), ("image-segmentation", instances)):
    pipe = pipeline(task, model=folder, **options)
    pipe(image)
    print(type(pipe.model).__name__)
print(type(AutoModel.from_pretrained(semantic, **options)).__name__)
"""


@pytest.mark.slow
def test_import_rgbd3d_is_enough_for_the_auto_classes(saved):
    assert run(IMPORT_FIRST, saved("depth-convnext")) == ["RgbdForDepthEstimation"]


@pytest.mark.slow
def test_pipelines_with_remote_code_need_no_import(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    names = run(REMOTE_CODE, *(saved(name) for name in ONE_EACH))
    tasks = ["RgbdForSemanticSegmentation", "RgbdForDepthEstimation", "RgbdForInstanceSegmentation"]
    assert names == [*tasks, "RgbdModel"]
