"""What a detection or instance segmentation shows: objects, average precision by class, precision over recall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from rgbd3d.data.inspection.colors import class_color
from rgbd3d.evaluation.looks import figures
from rgbd3d.evaluation.looks.base import Look
from rgbd3d.evaluation.metrics.detection import Frame, InstanceMeter, Kind, best_detections
from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.pictures import color_image
from rgbd3d.evaluation.protocols_base import Sample
from rgbd3d.evaluation.protocols_instances import InstanceProtocol
from rgbd3d.evaluation.tables import Rows, as_csv, as_markdown
from rgbd3d.files import write_atomic
from rgbd3d.report import Picture, Report

_SHOWN_SCORE = 0.5
_IN_MASK = 0.5
_OPACITY = 0.5
_PARTS = ("ap", "ap50", "ap75")
_CURVE_IOU = 0.5


class InstanceLook(Look[InstanceMeter]):
    """Objects with their masks and boxes."""

    protocol: InstanceProtocol
    titles: ClassVar[tuple[str, ...]] = ("input", "truth", "prediction")
    headline: ClassVar[tuple[str, ...]] = ("box_ap", "mask_ap")
    explanation: ClassVar[str] = (
        f"From left to right: input, true objects, and detections of score {_SHOWN_SCORE:g} or more with their scores. "
        "The colour is that of the class."
    )

    def keep(self, prediction: Sequence[Frame], sample: Sample) -> Frame:
        """The confident detections."""
        found = best_detections(prediction[0], least_score=max(_SHOWN_SCORE, self.protocol.least_score))
        kept = {key: value.cpu() for key, value in found.items()}
        return kept | {"masks": kept["masks"].flatten(0, -3) > _IN_MASK}

    def pictures(self) -> list[list[Picture]]:
        """Input, truth, prediction."""
        return [
            [
                color_image(kept.sample["image"]),
                self._draw(kept.sample["image"], self.protocol.target(kept.sample)),
                self._draw(kept.sample["image"], kept.prediction),
            ]
            for kept in self.kept
        ]

    def add_sections(self, page: Report, meter: InstanceMeter, folder: Path) -> None:
        """Average precision by class, and curves."""
        rows = self._class_rows(meter)
        write_atomic(folder / "classes.csv", as_csv(rows))
        write_atomic(folder / "classes.md", as_markdown(rows) + "\n")
        colors = dict(zip(meter.classes, map(class_color, self.protocol.class_ids), strict=True))
        curves = {_title(kind): meter.precision_recall(kind, _CURVE_IOU) for kind in meter.kinds}
        write_atomic(folder / "curves.png", figures.precision_recall(curves, colors))
        page.section("Precision over recall", f"At an IoU of {_CURVE_IOU}, for the classes in the truth.")
        page.image_file(folder / "curves.png", "The black line is the mean over classes; the area under it is AP50.")
        page.section("Classes", "Average precision in percent; – where the class is not in the truth.")
        page.table(rows[0], rows[1:])

    def _class_rows(self, meter: InstanceMeter) -> Rows:
        tables = {kind: meter.per_class(kind) for kind in meter.kinds}
        header = ("class", *(name_of(f"{kind}_{part}").short for kind in tables for part in _PARTS))
        body = [
            (name, *(_cell(table[name][part]) for table in tables.values() for part in _PARTS))
            for name in meter.classes
        ]
        return [header, *body]

    def _draw(self, image: Tensor, objects: Frame) -> Picture:
        if not len(objects["labels"]):
            return color_image(image)
        colors = [class_color(self.protocol.class_ids[label - 1]) for label in objects["labels"].tolist()]
        masks = objects["masks"].bool()
        painted = draw_segmentation_masks(image, masks, alpha=_OPACITY, colors=colors)
        names = [self.protocol.classes[label - 1] for label in objects["labels"].tolist()]
        if "scores" in objects:
            names = [f"{name} {score:.2f}" for name, score in zip(names, objects["scores"].tolist(), strict=True)]
        width = max(1, round(image.shape[-1] / 320))
        return color_image(draw_bounding_boxes(painted, _inside(objects["boxes"], image), names, colors, width=width))


def _inside(boxes: Tensor, image: Tensor) -> Tensor:
    """Boxes cut at the edges of the image, and at least a pixel wide, as what draws them asks for."""
    height, width = image.shape[-2:]
    low = torch.minimum(boxes[:, :2], boxes.new_tensor([width - 1, height - 1])).clamp(min=0)
    high = torch.minimum(boxes[:, 2:], boxes.new_tensor([width, height]))
    return torch.cat([low, torch.maximum(high, low + 1)], 1)


def _title(kind: Kind) -> str:
    return {"box": "boxes", "mask": "masks"}[kind]


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
