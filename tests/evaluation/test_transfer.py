"""Probe and fine-tuning learn, repeat exactly, and see nothing of the test frames."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from rgbd3d.evaluation.frames import LabelledFrames
from rgbd3d.evaluation.transfer import FineTuning, Probe, fine_tune, linear_probe

CLASSES = 3


def frames(count, seed):
    """Images whose colour tells the class and whose brightness tells the depth, cell by cell."""
    draws = torch.Generator().manual_seed(seed)
    semantic = torch.randint(0, CLASSES, (count, 4, 6), generator=draws)
    depth = 1 + 3 * torch.rand(count, 1, 4, 6, generator=draws)
    image = torch.nn.functional.one_hot(semantic, CLASSES).movedim(-1, 1) * (60 * depth)
    big = [x.repeat_interleave(8, -1).repeat_interleave(8, -2) for x in (image, depth, semantic)]
    return LabelledFrames(big[0].round().to(torch.uint8), big[1], big[2])


def backbone():
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=(32, 48),
        patch_size=8,
        embed_dim=48,
        depth=2,
        num_heads=2,
        num_classes=0,
        class_token=False,
        global_pool="avg",
    )


@pytest.mark.parametrize(
    ("method", "config"), [(fine_tune, FineTuning(epochs=12, batch_size=8, lr=3e-3)), (linear_probe, Probe(epochs=60))]
)
def test_learns_and_repeats(method, config):
    train, test = frames(48, 0), frames(8, 1)
    result = method(backbone(), train, test, CLASSES, 0, config)
    assert result["pixel_accuracy"] > 60  # chance is 33
    assert result == method(backbone(), train, test, CLASSES, 0, config)
    assert result != method(backbone(), train, test, CLASSES, 1, config)


def test_probe_leaves_the_backbone_alone():
    model = backbone()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    linear_probe(model, frames(8, 0), frames(4, 1), CLASSES, 0, Probe(epochs=1))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_frames_without_any_label_or_depth_do_not_break_training():
    train = frames(16, 0)
    train.depth[:8] = 0
    train.semantic[:8] = 255
    result = fine_tune(backbone(), train, frames(4, 1), CLASSES, 0, FineTuning(epochs=1, batch_size=4))
    assert all(torch.isfinite(torch.tensor(v)) for v in result.values())
