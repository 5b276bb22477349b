"""Depth for data sets without any: predicted by a depth-estimation model of the Hub, named to the commit.

Metric models give metres. Relative ones give inverse depth up to scale and shift; its range within an image (or within
a clip, so that depth does not flicker) is stretched to that from `FARTHEST` to `NEAREST`, and inverted. The metres that
result are a convention; the methods that use such depth standardise it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError
from torch import Tensor

from rgbd3d.data.codec import MAX_DEPTH_METRES, DataError
from rgbd3d.data.columns import COLUMNS
from rgbd3d.data.schema import decoded
from rgbd3d.files import sha256

NEAREST, FARTHEST = 1.0, 10.0
_SMALLEST = 0.001  # 0 would mean "no measurement"
_COMMIT = re.compile("[0-9a-f]{40}")
_CONTENT = "sha256:"
_FILES = ("*.json", "*.safetensors")
_METRIC_MODELS = frozenset({"depth_pro", "glpn", "zoedepth"})


class PseudoDepth:
    """A monocular depth model, with what a manifest has to say about it.

    Weights are read from safetensors files only, and no code of a repository is run.

    Args:
        model_id: Hub id of a transformers model for depth estimation, or a folder that holds one.
        revision: Commit of 40 hex digits, or a branch or tag, which is resolved to one at once. For a folder the
            "sha256:..." that its files have to have.
        metric: Whether the model predicts metres. Needed where its configuration does not tell, as for DPT.
        device: Where it runs.
        batch_size: Images that go through it together.

    Attributes:
        model_id: As given; the name of a folder without its path.
        revision: The commit, or "sha256:..." of the files of a folder.
        metric: Whether its output is in metres.

    Raises:
        DataError: No such model or revision, no safetensors, or a configuration that does not tell whether its depth
            is metric.
        ValueError: A branch, tag or commit for a folder.
    """

    def __init__(
        self,
        model_id: str,
        revision: str | None = None,
        *,
        metric: bool | None = None,
        device: str = "cpu",
        batch_size: int = 8,
    ) -> None:
        folder = Path(model_id)
        if folder.is_dir():
            self.model_id, self.revision = folder.resolve().name, _digest(folder)
            _check_folder(model_id, revision, self.revision)
        else:
            self.model_id = model_id
            self.revision, folder = _download(model_id, revision)
        self._where = f"{self.model_id}@{self.revision}"
        self._processor, self._model = _load(folder, self._where)
        self._model.to(device)
        self._batch_size = batch_size
        self.metric = _is_metric(self._model.config, self._where) if metric is None else metric

    def manifest(self) -> dict[str, str]:
        """What identifies the depth: model, revision and the kind of its output."""
        return {"model": self.model_id, "revision": self.revision, "depth": "metric" if self.metric else "relative"}

    def add(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of a reader with `depth` for its `image`, or `depth_frames` for its `frames`.

        Raises:
            DataError: A row without colour or with depth, or one that the model fails on.
        """
        source, target = ("frames", "depth_frames") if "frames" in row else ("image", "depth")
        if source not in row or target in row:
            raise DataError(f"pseudo-depth is for rows with colour and without depth, not {sorted(row)}")
        pictures = row[source] if source == "frames" else [row[source]]
        images = torch.stack([decoded(picture, COLUMNS["frames"]["image"]) for picture in pictures])
        depth = self(images, together=True)
        return {**row, target: depth if source == "frames" else depth[0]}

    def __call__(self, images: Tensor, together: bool = False) -> Tensor:
        """Depth of images.

        Args:
            images: uint8 (B, 3, H, W), RGB.
            together: They are frames of one clip: relative depth gets one scale for all of them.

        Returns:
            float32 (B, 1, H, W), metres, 0.001 to 65.535.

        Raises:
            DataError: The model's output is not finite.
        """
        raw = torch.cat([self._predict(batch) for batch in images.split(self._batch_size)])
        if not torch.isfinite(raw).all():
            raise DataError(f"{self._where}: the predicted depth is not finite; its weights are damaged or incomplete")
        metres = raw if self.metric else _from_inverse(raw, together)
        return metres.clamp(_SMALLEST, MAX_DEPTH_METRES)[:, None]

    @torch.inference_mode()
    def _predict(self, images: Tensor) -> Tensor:
        """Output of the model at the size of the images, (B, H, W)."""
        inputs = self._processor(images=list(images), return_tensors="pt").to(self._model.device)
        sizes = [tuple(images.shape[-2:])] * len(images)
        # By position, as transformers' pipeline does: the argument has another name in ZoeDepth's processor.
        results = self._processor.post_process_depth_estimation(self._model(**inputs), sizes)
        return torch.stack([result["predicted_depth"].float().cpu() for result in results])


def _from_inverse(inverse: Tensor, together: bool) -> Tensor:
    axes = (0, 1, 2) if together else (1, 2)
    low, high = inverse.amin(axes, keepdim=True), inverse.amax(axes, keepdim=True)
    share = (inverse - low) / (high - low).clamp_min(torch.finfo(inverse.dtype).tiny)
    return 1 / (1 / FARTHEST + (1 / NEAREST - 1 / FARTHEST) * share)


def _is_metric(config: Any, where: str) -> bool:
    kind = getattr(config, "depth_estimation_type", None)
    if kind is None and config.model_type not in _METRIC_MODELS:
        raise DataError(
            f"{where}: its configuration ({config.model_type}) does not tell whether it predicts metres or relative "
            "inverse depth; look at its model card and say metric=True or metric=False, or on the command line "
            "MODEL:metric or MODEL:relative"
        )
    return kind in (None, "metric")


# ----------------------------------------------------------------------------------------------------------- loading


def _check_folder(folder: str, wanted: str | None, found: str) -> None:
    if wanted in (None, found):
        return
    if wanted.startswith(_CONTENT):
        raise DataError(f"{folder}: its files have changed or are other ones: {found}, not {wanted}")
    raise ValueError(f"{folder} is a folder: it has no revision {wanted!r}")


def _download(model_id: str, revision: str | None) -> tuple[str, Path]:
    """The commit that a revision stands for, and a folder with its configuration and weights."""
    try:
        if revision is None or not _COMMIT.fullmatch(revision):
            revision = str(HfApi().model_info(model_id, revision=revision).sha)
        return revision, Path(snapshot_download(model_id, revision=revision, allow_patterns=list(_FILES)))
    except (OSError, HTTPError, HFValidationError) as error:
        raise DataError(
            f"{model_id}@{revision or 'main'}: no such folder, and it cannot be had from the Hub ({error}); offline, "
            "name a commit (40 hex digits) that is in the cache"
        ) from error


def _digest(folder: Path) -> str:
    files = sorted(path for pattern in _FILES for path in folder.glob(pattern))
    lines = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
    return f"{_CONTENT}{hashlib.sha256(lines.encode()).hexdigest()}"


def _load(folder: Path, where: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, report = AutoModelForDepthEstimation.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError(
            f"{where}: no depth-estimation model with safetensors weights can be loaded ({error})"
        ) from error
    state = model.state_dict()
    for name in report["missing_keys"]:
        # Some checkpoints of DPT lack weights that are never used. Any other gap shows in the output as NaN.
        if state[name].is_floating_point():
            state[name].fill_(torch.nan)
    return processor, model.eval()
