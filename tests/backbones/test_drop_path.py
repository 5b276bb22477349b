import pytest
import torch
from timm.layers import DropPath
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from rgbd3d.backbones.drop_path import set_drop_path
from rgbd3d.backbones.vit import RgbdViT


def vit(cls=RgbdViT, **options):
    torch.manual_seed(0)
    return cls(img_size=16, patch_size=8, embed_dim=24, depth=5, num_heads=2, num_classes=0, **options)


def swin(**options):
    torch.manual_seed(0)
    return SwinTransformerV2(
        img_size=64, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4, num_classes=0, **options
    )


def rates(network: nn.Module) -> list[float]:
    blocks = [module for module in network.modules() if hasattr(module, "drop_path1")]
    paths = [path for block in blocks for path in (block.drop_path1, block.drop_path2)]
    return [path.drop_prob if isinstance(path, DropPath) else 0.0 for path in paths]


@pytest.mark.parametrize("make", [vit, swin])
def test_equals_timm_s_option(make):
    network, reference = make(), make(drop_path_rate=0.3)
    image = torch.randn(8, 3, network.patch_embed.img_size[0], network.patch_embed.img_size[1])
    set_drop_path(network, 0.3)
    assert rates(network) == rates(reference)
    assert rates(network)[-1] == pytest.approx(0.3)
    assert network.state_dict().keys() == reference.state_dict().keys()
    outputs = []
    for one in (network, reference):
        torch.manual_seed(1)
        outputs.append(one.train()(image))
    assert torch.equal(*outputs)


def test_training_is_random_and_evaluation_is_not():
    network, image = vit().eval(), torch.randn(16, 3, 16, 16)
    plain = network(image)
    set_drop_path(network, 0.5)
    assert torch.equal(network(image), plain)
    assert not torch.equal(network.train()(image), plain)
    set_drop_path(network, 0.0)
    assert torch.equal(network(image), plain)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match=r"drop-path rate should lie in 0\.\.1"):
        set_drop_path(vit(VisionTransformer), rate)


def test_networks_without_such_blocks_are_refused():
    with pytest.raises(ValueError, match="Linear has no blocks with drop_path"):
        set_drop_path(nn.Linear(2, 2), 0.1)
    set_drop_path(nn.Linear(2, 2), 0.0)


def test_a_rate_that_a_library_chose_is_taken_back():
    network = swin(drop_path_rate=0.3)
    set_drop_path(network, 0.0)
    assert not any(rates(network))
