from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import Mask2FormerConfig, Mask2FormerImageProcessor
from transformers.models.mask2former import modeling_mask2former

from rgbd3d.modeling_mask2former import Mask2FormerHead

WIDTH, CLASSES = 32, 5


def head(seed: int = 0, **options) -> Mask2FormerHead:
    torch.manual_seed(seed)
    return Mask2FormerHead(12, CLASSES, width=WIDTH, queries=7, layers=4, **options).eval()


def maps(height: int, width: int, batch: int = 2) -> list[torch.Tensor]:
    return [torch.randn(batch, 12, height, width, generator=torch.Generator().manual_seed(0))]


def labels(height: int, width: int) -> torch.Tensor:
    """Two images: stripes of classes 0, 2 and 4 below unlabelled rows; and a single class."""
    semantic = torch.full((2, height, width), 1)
    semantic[0] = 2 * (torch.arange(width) * 3 // width)
    semantic[0, : height // 4] = 255
    return semantic


def loss_of(head, features, semantic):
    return head.compare(head.decode(features), semantic)


class Encoder(nn.Module):
    """Stands for a backbone of transformers: the pyramid of a head."""

    channels = (WIDTH,) * 4

    def __init__(self, features, pyramid):
        super().__init__()
        self.features, self.pyramid = features, pyramid

    def forward(self, pixel_values):
        return SimpleNamespace(feature_maps=self.pyramid(self.features)[:4])


def transformers_model(own, features, monkeypatch):
    monkeypatch.setattr(modeling_mask2former, "load_backbone", lambda config: Encoder(features, own.pyramid))
    sizes = {"feature_size": WIDTH, "mask_feature_size": WIDTH, "hidden_dim": WIDTH}
    feed_forward = {"encoder_feedforward_dim": 4 * WIDTH, "dim_feedforward": 8 * WIDTH}
    config = Mask2FormerConfig(num_labels=CLASSES, num_queries=7, decoder_layers=5, **sizes, **feed_forward)
    theirs = modeling_mask2former.Mask2FormerForUniversalSegmentation(config).eval()
    theirs.model.pixel_level_module.decoder.load_state_dict(own.decoder.pixel_decoder.state_dict())
    theirs.model.transformer_module.load_state_dict(own.decoder.transformer_module.state_dict())
    theirs.class_predictor.load_state_dict(own.decoder.class_predictor.state_dict())
    return theirs


def test_equals_transformers(monkeypatch):
    own, features, semantic = head(), maps(4, 6), labels(64, 96)
    theirs = transformers_model(own, features, monkeypatch)
    image = torch.zeros(2, 3, 64, 96)
    classes = [torch.tensor([0, 2, 4]), torch.tensor([1])]
    masks = [torch.stack([(picture == c).float() for c in ids]) for picture, ids in zip(semantic, classes, strict=True)]
    torch.manual_seed(1)
    expected = theirs(image, mask_labels=masks, class_labels=classes, output_auxiliary_logits=True)
    torch.manual_seed(1)
    loss, parts = loss_of(own, features, semantic)
    torch.testing.assert_close(loss, expected.loss)
    assert parts.keys() == {"cross_entropy", "mask", "dice"}
    assert not any(part.requires_grad for part in parts.values())
    *layers, last = own.decode(features)
    assert torch.equal(last["class_queries_logits"], expected.class_queries_logits)
    assert torch.equal(last["masks_queries_logits"], expected.masks_queries_logits)
    for found, wanted in zip(layers, expected.auxiliary_logits, strict=True):
        assert all(torch.equal(found[name], value) for name, value in wanted.items())


@torch.no_grad()
def test_scores_are_those_of_transformers_processor(monkeypatch):
    """At 384 x 384, the only size that the processor computes its scores at."""
    own, features = head(patch_size=32), maps(12, 12)
    output = transformers_model(own, features, monkeypatch)(torch.zeros(2, 3, 384, 384))
    segments = Mask2FormerImageProcessor().post_process_semantic_segmentation(output, return_segmentation_scores=True)
    scores = own(features)
    torch.testing.assert_close(scores, torch.stack([segment["segmentation_scores"] for segment in segments]))
    assert torch.equal(scores.argmax(1), torch.stack([segment["segmentation"] for segment in segments]))


def test_starts_like_transformers_model(monkeypatch):
    """The initialisation is theirs: the same spread of every weight."""
    own = head()
    torch.manual_seed(1)
    theirs = transformers_model(own, maps(2, 2), monkeypatch)
    fresh = head(seed=2)
    for name, value in theirs.model.transformer_module.state_dict().items():
        found = fresh.decoder.transformer_module.state_dict()[name]
        torch.testing.assert_close(found.std(), value.std(), rtol=0.3, atol=1e-4, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(15, 20), (3, 5), (1, 1), (7, 4)])
def test_any_grid(grid):
    scores = head(patch_size=12)(maps(*grid))
    assert scores.shape == (2, CLASSES, 12 * grid[0], 12 * grid[1])
    assert scores.isfinite().all()


def test_every_parameter_is_trained():
    trained = head().train()
    loss_of(trained, maps(3, 5), labels(24, 40))[0].backward()
    without = {name for name, parameter in trained.named_parameters() if parameter.grad is None}
    assert not without


@pytest.mark.slow
def test_learns_a_picture():
    trained, features, semantic = head().train(), maps(4, 6), labels(64, 96)
    trained.decoder.config.train_num_points = 500
    optimizer = torch.optim.AdamW(trained.parameters(), 2e-3)
    for _ in range(150):
        loss, _ = loss_of(trained, features, semantic)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = trained.eval()(features).argmax(1)
    counted = semantic != 255
    assert (found == semantic)[counted].float().mean() > 0.9


def test_an_image_without_labels_does_not_count():
    trained, features, semantic = head().eval(), maps(3, 5), labels(24, 40)
    semantic[1] = 255
    both, parts = loss_of(trained, features, semantic)
    alone, of_one = loss_of(trained, [level[:1] for level in features], semantic[:1])
    assert both > 0
    torch.testing.assert_close(both, alone, rtol=1e-2, atol=0)  # its points are drawn where the prediction is unsure
    torch.testing.assert_close(parts, of_one, rtol=1e-2, atol=0)
    loss, parts = loss_of(trained, features, torch.full_like(semantic, 255))
    loss.backward()
    assert loss == 0
    assert all(part == 0 for part in parts.values())
    assert all(p.grad is None or not p.grad.any() for p in trained.parameters())


def test_half_precision():
    own, features, semantic = head(), maps(3, 5), labels(24, 40)
    expected, (wanted, _) = own(features), loss_of(own, features, semantic)
    with torch.autocast("cpu", torch.bfloat16):
        found, (loss, _) = own(features), loss_of(own, features, semantic)
    assert loss.dtype == found.dtype == torch.float32
    torch.testing.assert_close(loss, wanted, rtol=0.1, atol=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.2)
    assert own.bfloat16()([maps(3, 5)[0].bfloat16()]).isfinite().all()


def test_foreign_labels_are_refused():
    with pytest.raises(ValueError, match=r"labels 5, 9 do not fit 5 classes \(0 to 4, 255 = ignore\)"):
        loss_of(head(), maps(1, 1), torch.tensor([[[5, 9, 255, 0]]] * 2))


def test_odd_widths_are_refused():
    with pytest.raises(ValueError, match="width 48 is no multiple"):
        Mask2FormerHead(12, 3, width=48)


def test_training_without_scipy_names_the_extra(monkeypatch):
    monkeypatch.setattr(modeling_mask2former, "requires_backends", _no_scipy)
    own = head()
    assert own(maps(1, 1)).isfinite().all()
    with pytest.raises(ImportError, match=r"rgbd3d\[eval\]"):
        loss_of(own, maps(1, 1), labels(4, 4))


def _no_scipy(obj, backends):
    raise ImportError(f"{type(obj).__name__} requires {backends}")
