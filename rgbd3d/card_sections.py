"""The sections of a card that say what is trained, where the weights are and what they score.

One frozen dataclass per section; each refuses values that make no sense. Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from rgbd3d.card_data import Render
from rgbd3d.strict_yaml import require

COMMIT = re.compile("[0-9a-f]{40}")
"""A revision that cannot move."""

_SHA256 = re.compile("[0-9a-f]{64}")

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""A repository on the Hub, owner/name."""

# --------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The network that is kept after pre-training: timm's VisionTransformer with fixed sin-cos positions.

    Attributes:
        architecture: Width, depth and heads, by timm's size names.
        patch_size: Pixels per patch side.
        image_size: (height, width) of pre-training; any multiple of the patch works later.
        class_token: Whether the encoder has one (MAE's weights do).
        parameters: Number of trainable parameters (fixed positions don't count); a test counts the built
            model's.
    """

    architecture: Literal["vit_tiny", "vit_small", "vit_base", "vit_large"]
    patch_size: int
    image_size: tuple[int, int]
    class_token: bool
    parameters: int

    def __post_init__(self) -> None:
        require(self.patch_size > 0, "patch_size", "should be positive")
        require(
            all(side > 0 and side % self.patch_size == 0 for side in self.image_size),
            "image_size",
            f"should be (height, width), both multiples of patch_size = {self.patch_size}",
        )
        require(self.parameters > 0, "parameters", "should be the number of parameters of the backbone")

    @property
    def label(self) -> str:
        """Architecture and patch, for people."""
        return f"{self.architecture.replace('_', '-')}/{self.patch_size}"


@dataclass(frozen=True, kw_only=True)
class ForeignBackbone:
    """A network of another library, as that library builds it (`rgbd3d.downstream.foreign`).

    Attributes:
        library: Whose it is.
        model: timm's name of it; or the repository on the Hub, owner/name, whose config.json describes one of
            transformers' backbones.
        revision: Commit of the repository on the Hub: that of the weights and, for transformers, of the architecture.
        pretrained: Whether it starts from the weights there; otherwise it is initialised at random.
        image_size: (height, width) that it is trained at; multiples of its coarsest stride.
        parameters: Number of trainable parameters.
    """

    library: Literal["timm", "transformers"]
    model: str
    revision: str | None
    pretrained: bool
    image_size: tuple[int, int]
    parameters: int

    def __post_init__(self) -> None:
        on_the_hub = self.library == "transformers"
        named = REPOSITORY.fullmatch(self.model) if on_the_hub else re.fullmatch(r"\w[\w.-]*", self.model)
        form = "a repository, owner/name" if on_the_hub else "timm's name of a model"
        require(named is not None, "model", f"is {self.model!r}; it should be {form}")
        commit = self.revision is None or COMMIT.fullmatch(self.revision) is not None
        require(commit, "revision", "should be a commit of 40 lower-case hex digits: branches and tags can move")
        needed = self.pretrained or on_the_hub
        require(self.revision is not None or not needed, "revision", "is needed: the commit of what is on the Hub")
        require(min(self.image_size) > 0, "image_size", "should be (height, width) in pixels, both positive")
        require(self.parameters > 0, "parameters", "should be the number of parameters of the backbone")

    @property
    def architecture(self) -> str:
        """The name of it, as `Backbone` has one."""
        return self.model

    @property
    def label(self) -> str:
        """Library and model, for people."""
        return f"{self.library}:{self.model}"

    @property
    def spec(self) -> str:
        """What to type for it: [random:]LIBRARY:MODEL[@COMMIT]."""
        return ("" if self.pretrained else "random:") + self.label + (f"@{self.revision}" if self.revision else "")


def own_backbone(section: Backbone | ForeignBackbone) -> Backbone:
    """The section of a network of this library.

    Raises:
        ValueError: It is of another library.
    """
    if isinstance(section, ForeignBackbone):
        raise ValueError(f"this needs a backbone of this library, but {section.label} is of another one")
    return section


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights that a run started from although no card names them.

    Attributes:
        digest: 64 hex digits that change with any weight (`rgbd3d.training.run.weights_digest`).
        model: A name, a Hub id, or the last part of a folder's path; None if they were given in Python.
    """

    digest: str
    model: str | None = None

    def __post_init__(self) -> None:
        require(_SHA256.fullmatch(self.digest) is not None, "digest", "should be 64 lower-case hex digits")

    @property
    def name(self) -> str:
        """What messages and cards call it."""
        return self.model or "given weights"


# ----------------------------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a fine-tuned model is scored while it is trained, and by which number the best checkpoint is chosen.

    Attributes:
        protocol: Name of a protocol (`rgbd3d.evaluation.protocols_scored`).
        metric: Key of its metrics; `rgbd3d.evaluation.metrics.names` knows which way is better.
        every: Passes over the training data between two evaluations.
        render: Only for protocols on synthrooms: the rooms that are scored.
    """

    protocol: str
    metric: str
    every: int
    render: Render | None = None

    def __post_init__(self) -> None:
        require(self.every > 0, "every", "should be a positive number of epochs")


# --------------------------------------------------------------------------------------------- weights and numbers


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One pinned file.

    Attributes:
        sha256: 64 hex digits.
        bytes: Size.
    """

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        require(_SHA256.fullmatch(self.sha256) is not None, "sha256", "should be 64 lower-case hex digits")
        require(self.bytes > 0, "bytes", "should be the size of the file")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights are.

    Attributes:
        status: "bundled" (beside the card: in the package or in its Hub folder), "hub" (repo, revision and hashes
            below) or "recipe" (nobody has trained it yet: asking for pre-trained weights is an error that names the
            command which trains it).
        repo: Hub repository, for status "hub".
        revision: 40-hex commit, for status "hub".
        files: Path within the folder -> pinned file; `model.safetensors` is the backbone with timm's names.
    """

    status: Literal["bundled", "hub", "recipe"]
    repo: str | None = None
    revision: str | None = None
    files: dict[str, WeightFile] | None = None

    def __post_init__(self) -> None:
        if self.status == "hub":
            require(self.repo is not None, "repo", "is needed for status hub: owner/name")
            require(
                COMMIT.fullmatch(self.revision or "") is not None,
                "revision",
                "should be a commit of 40 lower-case hex digits, never a branch or tag: those can move",
            )
        else:
            require(self.repo is None, "repo", f"belongs to status hub only, not {self.status}")
            require(self.revision is None, "revision", f"belongs to status hub only, not {self.status}")
        if self.status == "recipe":
            require(self.files is None, "files", "cannot be given for status recipe: nobody has trained it yet")
        else:
            require("model.safetensors" in (self.files or {}), "files", "should pin model.safetensors, the backbone")
        for name in self.files or {}:
            path = PurePosixPath(name)
            inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
            require(
                inside and path.suffix == ".safetensors",
                "files",
                f"names {name!r}: only *.safetensors within the folder",
            )


@dataclass(frozen=True, kw_only=True)
class License:
    """Terms.

    Attributes:
        weights: SPDX id or a sentence; where in doubt, the stricter.
        data: Terms of the training data.
    """

    weights: str
    data: str

    def __post_init__(self) -> None:
        require(self.weights.strip() != "", "weights", "should state the licence of the weights")
        require(self.data.strip() != "", "data", "should state the terms of the training data")


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A number of the paper, never ours.

    Attributes:
        task: For example semantic-segmentation.
        dataset: Evaluated on.
        metric: Name and unit.
        value: As printed.
        source: Paper, table and row.
    """

    task: str
    dataset: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number of ours.

    Attributes:
        task: For example depth-estimation.
        dataset: Evaluated on.
        protocol: Name of the protocol; numbers of different protocols are never put in one column.
        metric: Name and unit.
        mean: Mean over seeds.
        std: Sample standard deviation over seeds; None with one seed.
        seeds: Number of seeds.
        command: What measured it.
        baseline: The same protocol from random initialisation (mean), where that makes sense.
        baseline_std: Its standard deviation.
    """

    task: str
    dataset: str
    protocol: str
    metric: str
    mean: float
    std: float | None = None
    seeds: int
    command: str
    baseline: float | None = None
    baseline_std: float | None = None
