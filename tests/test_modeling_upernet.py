import pytest
import torch
from torch import nn
from transformers import BeitConfig, UperNetConfig
from transformers.modeling_outputs import BackboneOutput
from transformers.models.beit.modeling_beit import BeitFPNNeck
from transformers.models.upernet import modeling_upernet

from rgbd3d.losses.segmentation import cross_entropy
from rgbd3d.modeling_upernet import UperNetHead


def head() -> UperNetHead:
    torch.manual_seed(0)
    built = UperNetHead(12, 5, width=16)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that are seen in the result
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return built.eval()


def maps(height: int, width: int, batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 12, height, width, generator=generator) for _ in range(4)]


class Encoder(nn.Module):
    """Stands for a backbone of transformers: four maps, then BEiT's pyramid."""

    channels = (12, 12, 12, 12)

    def __init__(self, features):
        super().__init__()
        self.features = features
        self.pyramid = BeitFPNNeck(BeitConfig(hidden_size=12))

    def forward_with_filtered_kwargs(self, pixel_values, **kwargs):
        return BackboneOutput(feature_maps=self.pyramid(self.features))


@torch.no_grad()
def test_equals_transformers(monkeypatch):
    features, own = maps(4, 6), head()
    encoder = Encoder(features)
    monkeypatch.setattr(modeling_upernet, "load_backbone", lambda config: encoder)
    config = UperNetConfig(hidden_size=16, num_labels=5, use_auxiliary_head=False)
    theirs = modeling_upernet.UperNetForSemanticSegmentation(config).eval()
    encoder.pyramid.load_state_dict(own.pyramid.state_dict())
    theirs.decode_head.load_state_dict(own.decoder.state_dict())
    labels = torch.randint(5, (2, 16, 24), generator=torch.Generator().manual_seed(1))
    labels[:, :3] = 255
    expected = theirs(torch.zeros(2, 3, 16, 24), labels=labels)
    logits = own(features)
    assert torch.equal(logits, expected.logits)
    assert logits.std() > 1e-3
    torch.testing.assert_close(cross_entropy(logits, labels), expected.loss)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(15, 20), (3, 5), (1, 1), (7, 4)])
def test_any_grid(grid):
    logits = head()(maps(*grid))
    assert logits.shape == (2, 5, 4 * grid[0], 4 * grid[1])
    assert logits.isfinite().all()


def test_every_parameter_is_trained():
    trained = head().train()
    trained(maps(3, 5)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in trained.parameters())


def test_no_class_is_preferred_at_the_start():
    torch.manual_seed(0)
    logits = UperNetHead(12, 5)(maps(3, 5))
    assert logits.abs().max() < 5
    assert logits.mean((0, 2, 3)).abs().max() < 1


@pytest.mark.parametrize("features", [[], maps(2, 2)[:3], [*maps(2, 2)[:3], *maps(4, 4)[:1]]])
def test_other_maps_are_refused(features):
    with pytest.raises(
        ValueError, match=r"UPerNet takes the maps of 4 blocks, all of one size, got (none|\(2, 12, 2, 2\))"
    ):
        head()(features)


def test_a_single_image_cannot_be_trained_on():
    single = maps(3, 5, batch=1)
    assert head()(single).shape == (1, 5, 12, 20)
    with pytest.raises(ValueError, match="at least 2 images per step"):
        head().train()(single)
