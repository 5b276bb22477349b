"""Small untrained depth-estimation models, as transformers saves them."""

from pathlib import Path

import torch
from transformers import (
    BeitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    GLPNConfig,
    GLPNForDepthEstimation,
    GLPNImageProcessor,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)


def save(folder: Path, model: torch.nn.Module, processor) -> Path:
    """Writes a model with weights that are large enough for its output to depend on its input."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1.5 / weight[0].numel() ** 0.5, generator=generator)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def depth_anything(folder: Path, kind: str = "relative") -> Path:
    backbone = Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=24,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20,
    )
    processor = DPTImageProcessor(
        size={"height": 70, "width": 70}, keep_aspect_ratio=True, ensure_multiple_of=14, do_pad=False
    )
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():  # an untrained head would often end in a ReLU's zeros
        model.head.conv3.bias.fill_(1.0)
    return save(folder, model, processor)


def dpt(folder: Path) -> Path:
    config = DPTConfig(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    model = DPTForDepthEstimation(config)
    with torch.no_grad():
        model.head.head[4].bias.fill_(1.0)
    return save(folder, model, DPTImageProcessor(size={"height": 64, "width": 64}))


def glpn(folder: Path) -> Path:
    config = GLPNConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8
    )
    return save(folder, GLPNForDepthEstimation(config), GLPNImageProcessor())


def zoe_depth(folder: Path) -> Path:
    """It pads images and takes that back afterwards."""
    backbone = BeitConfig(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        backbone_hidden_size=24,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=8,
        bin_configurations=[{"n_bins": 4, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8,
    )
    processor = ZoeDepthImageProcessor(size={"height": 64, "width": 64}, ensure_multiple_of=32)
    return save(folder, ZoeDepthForDepthEstimation(config), processor)
