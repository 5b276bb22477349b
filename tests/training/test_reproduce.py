"""The verdicts of `rgbd3d reproduce`, on the bundled card where its weights are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rgbd3d import registry
from rgbd3d.cards import Weights
from rgbd3d.training import curves
from rgbd3d.training.reproduce import Reproduction, reproduce
