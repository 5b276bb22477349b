"""Results as evaluations would give them."""

from rgbd3d.evaluation.result import Data, Result


def result(*losses: float, **changes: object) -> Result:
    """One run for each loss, by a protocol of transfer unless told otherwise."""
    values = {
        "model": "mask3d-vitt-tiny",
        "checkpoints": ("a/model",),
        "protocol": "rgbd/pretext",
        "facts": {"protocol": "Loss."},
        "pretrained": True,
        "seeds": tuple(range(len(losses))),
        "runs": tuple({"loss": loss, "mean_predictor": 1.0} for loss in losses),
        "data": Data(source="made-up", split="val", frames=3, digest="0" * 64),
        "command": "rgbd3d evaluate a/model",
        "versions": {"rgbd3d": "0"},
    }
    return Result(**(values | changes))


def semantic_result(*mious: float, **changes: object) -> Result:
    """One run for each mIoU."""
    runs = tuple({"miou": miou, "pixel_accuracy": 2 * miou} for miou in mious)
    values = {"protocol": "nyuv2-semseg/40", "facts": {"labels": "nyu40"}, "runs": runs}
    return result(*mious, **(values | changes))
