"""Metrics as meters: filled batch by batch, possibly in several processes, and read once."""

from rgbd3d.evaluation.metrics.base import Meter
from rgbd3d.evaluation.metrics.classification import ClassificationMeter
from rgbd3d.evaluation.metrics.depth import DepthMeter
from rgbd3d.evaluation.metrics.detection import InstanceMeter
from rgbd3d.evaluation.metrics.ibims import IbimsMeter
from rgbd3d.evaluation.metrics.segmentation import SemanticMeter

__all__ = [
    "ClassificationMeter",
    "DepthMeter",
    "IbimsMeter",
    "InstanceMeter",
    "Meter",
    "SemanticMeter",
]
