"""How metrics are called in tables and plots, and which way is up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Name:
    """How a metric is shown.

    Attributes:
        short: As papers write it.
        unit: "%", "m" and so on; empty for plain numbers.
        higher_is_better: None where neither is.
        digits: After the point.
    """

    short: str
    unit: str
    higher_is_better: bool | None
    digits: int

    @property
    def title(self) -> str:
        """Name, unit and an arrow that points to better values."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return f"{self.short}{f' ({self.unit})' if self.unit else ''}{arrow}"

    def number(self, value: float) -> str:
        """A value with this metric's digits."""
        return f"{value:.{self.digits}f}"

    def mean_and_std(self, mean: float, std: float | None) -> str:
        """A mean with its standard deviation, where there is one."""
        return self.number(mean) + ("" if std is None else f" ± {self.number(std)}")


def _percent(short: str, higher_is_better: bool = True) -> Name:
    return Name(short, "%", higher_is_better, 1)


def _error(short: str, unit: str = "", digits: int = 3) -> Name:
    return Name(short, unit, False, digits)


NAMES: Mapping[str, Name] = MappingProxyType(
    {
        "miou": _percent("mIoU"),
        "pixel_accuracy": _percent("pixel acc."),
        "mean_accuracy": _percent("mean acc."),
        "delta1": _percent("δ1"),
        "delta2": _percent("δ2"),
        "delta3": _percent("δ3"),
        "abs_rel": _error("AbsRel"),
        "rmse": _error("RMSE", "m"),
        "log10": _error("log10", digits=4),
        "sq_rel": _error("SqRel", "m"),
        "rmse_log": _error("RMSE log"),
        "silog": _error("SILog"),
        "pe_plan": _error("PE plan", "cm", 2),
        "pe_orie": _error("PE orie", "°", 2),
        "dbe_acc": _error("DBE acc", "px", 2),
        "dbe_comp": _error("DBE comp", "px", 2),
        "dde_0": _percent("DDE 0"),
        "dde_minus": _percent("DDE −", higher_is_better=False),
        "dde_plus": _percent("DDE +", higher_is_better=False),
        "box_ap": _percent("box AP"),
        "box_ap50": _percent("box AP50"),
        "box_ap75": _percent("box AP75"),
        "mask_ap": _percent("mask AP"),
        "mask_ap50": _percent("mask AP50"),
        "mask_ap75": _percent("mask AP75"),
        "loss": _error("loss", digits=4),
        "mean_predictor": Name("loss of predicting the mean", "", None, 4),
    }
)
"""By the key in a meter's results."""


def name_of(metric: str) -> Name:
    """How a metric is shown; one that is not listed goes by its key."""
    return NAMES.get(metric, Name(metric, "", None, 3))
