"""The README.md of a Hub folder: what the model is, whose it is, under which terms, what it scores, how to use it."""

from __future__ import annotations

from typing import Any

import yaml

from rgbd3d.cards import REPOSITORY, Card, ForeignBackbone, own_backbone
from rgbd3d.zoo import markdown_table, measured_value, objective, schedule, starts_from, trained_on

_HUB_LICENSES = {"Apache-2.0": "apache-2.0", "MIT": "mit", "CC-BY-4.0": "cc-by-4.0", "CC-BY-NC-4.0": "cc-by-nc-4.0"}
"""SPDX id -> the Hub's; anything else is "other", with the card's own words under "Terms"."""

_PROVENANCE = {
    "reproduced": (
        "This checkpoint is **our reproduction**, trained with rgbd3d by the recipe in `card.yaml`. It is **not an "
        "official release** of the authors of the paper ({paper})."
    ),
    "converted": (
        "This checkpoint is **converted from the authors' public checkpoint** ({paper}); only names and file format "
        "were changed."
    ),
    "smoke-test": "This checkpoint is a **smoke test** of the software. It is too small to be useful.",
}
_NAMESAKE = (
    "The Mask3D meant here pre-trains 2-D vision transformers on RGB-D frames. It is **not** the 3-D instance "
    "segmentation project of the same name."
)

_TASK_USAGE = """\
```python
import rgbd3d
from transformers import AutoModel, pipeline

model = rgbd3d.from_pretrained("{repo}")  # checks hashes
prediction = model.predict(images)  # uint8 (B, 3, H, W) of any size -> {prediction}
{pipeline}{backbone}
```

Pin the revision (`revision="<commit>"`) in anything that should stay as it is. `rgbd3d verify FOLDER` checks the
hashes in `card.yaml` and that the model predicts what is in `golden.safetensors`."""

_BACKBONE = 'backbone = AutoModel.from_pretrained("{repo}", subfolder="backbone", trust_remote_code=True)'
_FOREIGN_BACKBONE = "backbone = model.network.backbone  # as {library} has it"

_PREDICTION = {
    "semantic-segmentation": "logits (B, classes, H, W)",
    "depth-estimation": "metres (B, 1, H, W)",
    "instance-segmentation": "boxes, labels, scores and masks per image",
}
_PIPELINES = {"semantic-segmentation": "image-segmentation", "depth-estimation": "depth-estimation"}
"""Task -> the Hub's and transformers' name of the pipeline."""

_USAGE = """\
```python
import rgbd3d, timm
from transformers import AutoModel

model = rgbd3d.from_pretrained("{repo}")  # checks hashes; takes any (H, W) divisible by {patch}
model = AutoModel.from_pretrained("{repo}", trust_remote_code=True)  # with rgbd3d installed
model = timm.create_model("hf-hub:{repo}", pretrained=True)  # timm alone
```

Pin the revision (`revision="<commit>"`) in anything that should stay as it is. `rgbd3d verify FOLDER` checks the
hashes in `card.yaml` and that the model gives the features in `golden.safetensors`."""


def render(card: Card, repo_id: str = "OWNER/NAME") -> str:
    """Markdown with the Hub's YAML front matter.

    Args:
        card: Describes the model.
        repo_id: Shown in the usage example.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)}---",
        f"# {card.name}\n\n{card.title}. {_what_it_is(card)}",
        _provenance(card),
        f"## Use\n\n{_usage(card, repo_id)}",
        f"## Numbers\n\n{_numbers(card)}",
        f"## How it was made\n\n{_lineage(card)}",
        f"## Terms\n\n- Code (rgbd3d): Apache-2.0\n- Weights: {card.license.weights}\n- Data: {card.license.data}",
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(card: Card) -> str:
    if card.task is None:
        return f"RGB backbone, pre-trained with `{card.method}`: {objective(card)}."
    return f"Model for {card.task} from one RGB image: {objective(card)}."


def _usage(card: Card, repo_id: str) -> str:
    if card.task is None:
        return _USAGE.format(repo=repo_id, patch=own_backbone(card.backbone).patch_size)
    name = _PIPELINES.get(card.task)
    pipe = f'pipe = pipeline("{name}", model="{repo_id}", trust_remote_code=True)\n' if name else ""
    section = card.backbone
    if isinstance(section, ForeignBackbone):
        backbone = _FOREIGN_BACKBONE.format(library=section.library)
    else:
        backbone = _BACKBONE.format(repo=repo_id)
    return _TASK_USAGE.format(repo=repo_id, prediction=_PREDICTION[card.task], pipeline=pipe, backbone=backbone)


def _front_matter(card: Card) -> dict[str, Any]:
    known = _HUB_LICENSES.get(card.license.weights)
    license_fields = {"license": known} if known else {"license": "other", "license_name": "see-terms-below"}
    method = [] if card.method is None else [card.method]
    datasets = {"datasets": [card.data.source]} if REPOSITORY.fullmatch(card.data.source) else {}
    return {
        **license_fields,
        "library_name": "rgbd3d",
        "pipeline_tag": _pipeline_tag(card),
        "tags": ["rgbd3d", "timm", "transformers", "rgb-d", "depth", card.task or "self-supervised", *method],
        **datasets,  # the Hub takes nothing but the ids of its own data sets
    }


def _pipeline_tag(card: Card) -> str:
    if card.task is None:
        return "image-feature-extraction"
    return "depth-estimation" if card.task == "depth-estimation" else "image-segmentation"


def _provenance(card: Card) -> str:
    text = _PROVENANCE[card.provenance].format(paper=card.paper)
    return f"{text} {_NAMESAKE}" if card.method == "mask3d" else text


def _numbers(card: Card) -> str:
    rows = [(n.dataset, n.protocol, n.metric, measured_value(n), f"`{n.command}`") for n in card.measured]
    table = markdown_table(("data", "protocol", "metric", "value", "command"), rows)
    measured = f"Measured by us:\n\n{table}" if rows else "Not measured yet."
    if not card.reported:
        return measured
    rows_reported = [(n.dataset, n.task, n.metric, f"{n.value:g}", n.source) for n in card.reported]
    table = markdown_table(("data", "task", "metric", "value", "source"), rows_reported)
    return f"{measured}\n\nReported in the paper, **for the authors' own weights, not these**:\n\n{table}"


def _lineage(card: Card) -> str:
    verb = "pretrain" if card.task is None else "finetune"
    facts = [
        f"Starts from: {f'`{card.init}`' if card.init else starts_from(card)}",
        f"Data: {trained_on(card.data)}",
        f"Recipe: {schedule(card.train)}",
        f"Everything else: `card.yaml` in this repository; `rgbd3d {verb} card.yaml` trains it again",
    ]
    text = "\n".join(f"- {fact}" for fact in facts)
    if card.departures:
        text += "\n\nWhere the recipe departs from the paper:\n\n" + "\n".join(f"- {line}" for line in card.departures)
    return text
