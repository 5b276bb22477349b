"""What a semantic segmentation shows: classes of pixels, a table of the classes and what is taken for what."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.inspection.colors import NONE, class_color, color_labels
from rgbd3d.evaluation.looks import figures
from rgbd3d.evaluation.looks.base import Look
from rgbd3d.evaluation.metrics.segmentation import SemanticMeter, class_table
from rgbd3d.evaluation.pictures import color_image
from rgbd3d.evaluation.protocols_base import Sample
from rgbd3d.evaluation.protocols_semantic import SemanticProtocol
from rgbd3d.evaluation.tables import Rows, as_csv, as_markdown
from rgbd3d.files import write_atomic
from rgbd3d.report import Picture, Report
from rgbd3d.types import IGNORE_LABEL

_MISS = np.array((214, 60, 50), np.uint8)
_DIMMED = 0.45
_MOST_CLASSES = 40  # in the picture of the confusion matrix
_NONE_OF_THEM = "none"


class SemanticLook(Look[SemanticMeter]):
    """Labels, and where they are wrong."""

    protocol: SemanticProtocol
    titles: ClassVar[tuple[str, ...]] = ("input", "truth", "prediction", "wrong")
    headline: ClassVar[tuple[str, ...]] = ("miou", "pixel_accuracy")
    explanation: ClassVar[str] = (
        "From left to right: input, truth, prediction, and in red what is wrong. Light grey has no label and is not "
        "scored; the colours of the classes are those of the bars below."
    )

    def keep(self, prediction: Tensor, sample: Sample) -> Tensor:
        """Predicted train ids, (H, W)."""
        return self.protocol.train_ids(prediction, sample["semantic"].shape)[0].cpu()

    def pictures(self) -> list[list[Picture]]:
        """Input, truth, prediction, errors."""
        return [
            [
                picture := color_image(kept.sample["image"]),
                color_labels(kept.sample["semantic"].numpy()),
                color_labels(kept.prediction.numpy()),
                _wrong(picture, kept.prediction, kept.sample["semantic"]),
            ]
            for kept in self.kept
        ]

    def add_sections(self, page: Report, meter: SemanticMeter, folder: Path) -> None:
        """The classes and the confusion matrix."""
        names = self.protocol.classes
        scores = meter.per_class(names)
        rows = class_table(scores)
        write_atomic(folder / "classes.csv", as_csv(rows))
        write_atomic(folder / "classes.md", as_markdown(rows) + "\n")
        write_atomic(folder / "confusion.csv", as_csv(_counts(meter.matrix, names)))
        picture = figures.confusion(*_shares(meter.matrix, names))
        write_atomic(folder / "confusion.png", picture)

        page.section("IoU of the classes", "Of those in the truth, the most frequent first.")
        present = [(score.share, index, score) for index, score in enumerate(scores) if score.share]
        present.sort(key=lambda entry: (-entry[0], entry[1]))
        page.bars([(score.name, (score.iou or 0) / 100, class_color(index)) for _, index, score in present])
        page.section(
            "What is taken for what",
            f"Rows are true classes, at most the {_MOST_CLASSES} most frequent ones; whatever is off the diagonal is a "
            "mistake. Pixels of all classes are counted in confusion.csv.",
        )
        page.image_file(folder / "confusion.png", "Share of the pixels of each true class by predicted class.")
        page.section("Classes", "In percent, in the order of the train ids; – where there is nothing to divide by.")
        page.table(rows[0], rows[1:])


def _wrong(picture: Picture, prediction: Tensor, truth: Tensor) -> Picture:
    """The image in grey, misses in red, light grey where nothing is labelled."""
    grey = picture.mean(-1, keepdims=True).repeat(3, -1)
    shown = (255 - _DIMMED * (255 - grey)).astype(np.uint8)
    shown[(prediction != truth).numpy()] = _MISS
    shown[(truth == IGNORE_LABEL).numpy()] = NONE
    return shown


def _counts(matrix: Tensor, names: tuple[str, ...]) -> Rows:
    body = ((name, *map(str, row)) for name, row in zip(names, matrix.tolist(), strict=True))
    return [("true \\ predicted", *names, _NONE_OF_THEM), *body]


def _shares(matrix: Tensor, names: tuple[str, ...]) -> tuple[npt.NDArray[np.floating], list[str], list[str]]:
    """Shares of the rows of the most frequent true classes, in the order of the train ids; names of rows and columns.

    Predictions of any other class, or of none, are one column, if there are any.
    """
    counts = matrix.double().cpu()
    pixels = counts.sum(1)
    frequent = [index for index in pixels.argsort(descending=True).tolist() if pixels[index] > 0]
    chosen = sorted(frequent[:_MOST_CLASSES])
    rows = counts[chosen]
    others = rows.sum(1) - rows[:, chosen].sum(1)
    shares = torch.cat([rows[:, chosen], others[:, None]], 1) / rows.sum(1, keepdim=True)
    labels = [names[index] for index in chosen]
    if not others.any():
        return shares[:, :-1].numpy(), labels, labels
    return shares.numpy(), labels, [*labels, "other or none"]
