"""Probe and fine-tuning learn, repeat exactly, and see nothing of the test frames."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from rgbd3d.data.batch import normalise_image
from rgbd3d.evaluation import transfer
from rgbd3d.evaluation.frames import LabelledFrames
from rgbd3d.evaluation.transfer import FineTuning, Probe, fine_tune, linear_probe
from rgbd3d.seeding import generator

CLASSES = 3


def frames(count, seed):
    """Images whose colour tells the class and whose brightness tells the depth, cell by cell."""
    draws = torch.Generator().manual_seed(seed)
    semantic = torch.randint(0, CLASSES, (count, 4, 6), generator=draws)
    depth = 1 + 3 * torch.rand(count, 1, 4, 6, generator=draws)
    image = torch.nn.functional.one_hot(semantic, CLASSES).movedim(-1, 1) * (60 * depth)
    big = [x.repeat_interleave(8, -1).repeat_interleave(8, -2) for x in (image, depth, semantic)]
    return LabelledFrames(big[0].round().to(torch.uint8), big[1], big[2])


def constant_depth(train, test):
    """delta1 of predicting the middle of the training frames everywhere, in percent."""
    ratio = test.depth / train.depth.log().mean().exp()
    return 100 * (torch.maximum(ratio, 1 / ratio) < 1.25).float().mean().item()


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
    assert result["delta1"] > constant_depth(train, test) + 10
    assert result == method(backbone(), train, test, CLASSES, 0, config)
    assert result != method(backbone(), train, test, CLASSES, 1, config)


def test_mirror_images_keep_their_truth():
    batch = frames(16, 0)
    image, changed = transfer._augment(batch, 0.0, generator(0))
    mirrored = [not torch.equal(depth, other) for depth, other in zip(batch.depth, changed.depth, strict=True)]
    assert 0 < sum(mirrored) < 16
    for index, mirror in enumerate(mirrored):
        for found, given in (
            (image, normalise_image(batch.image.float() / 255)),
            (changed.depth, batch.depth),
            (changed.semantic, batch.semantic),
        ):
            expected = given[index].flip(-1) if mirror else given[index]
            torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-5)


def test_the_rate_rises_and_falls():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = transfer._cosine(optimizer, 2, 6)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.75, 1.0, 0.853553, 0.5, 0.146447], abs=1e-5)


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


def test_bf16_changes_little_and_only_the_training(monkeypatch):
    score, scored_in = transfer._score, set()

    def watched(model, test, classes):
        scored_in.add(model(test.normalized()).dtype)
        return score(model, test, classes)

    monkeypatch.setattr(transfer, "_score", watched)
    train, test = frames(48, 0), frames(8, 1)
    model = backbone()
    exact = fine_tune(backbone(), train, test, CLASSES, 0, FineTuning(epochs=4, batch_size=8))
    rounded = fine_tune(model, train, test, CLASSES, 0, FineTuning(epochs=4, batch_size=8, precision="bf16"))
    assert scored_in == {torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert rounded != exact
    assert rounded["rmse"] == pytest.approx(exact["rmse"], rel=0.05)


@pytest.mark.parametrize(("precision", "told"), [("bf16", True), ("fp32", False)])
def test_slow_bf16_is_told(precision, told, monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    fine_tune(backbone(), frames(4, 0), frames(4, 1), CLASSES, 0, FineTuning(epochs=1, precision=precision))
    assert ("emulates bf16" in caplog.text) == told
