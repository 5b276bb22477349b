import json

import pytest
import torch
from conversion_modules import load
from multimae_encoder import encoder
from safetensors.torch import load_file

from rgbd3d.heads.dpt import DPTHead

multimae = load("multimae")
TASKS = {"regression": "regression", "semseg": "segmentation"}


def tiny(**options) -> DPTHead:
    torch.manual_seed(0)
    return DPTHead(12, 3, level_dims=(8, 12, 16, 20), feature_dim=16, **options).eval()


def maps(height: int, width: int, batch: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 12, height, width, generator=generator) for _ in range(4)]


@pytest.mark.parametrize("name", TASKS)
def test_equals_multimae(golden, name):
    folder = golden / f"multimae_dpt_{name}"
    about = json.loads((folder / "meta.json").read_text())
    sizes = about["args"]
    state = torch.load(folder / "checkpoint.pth", weights_only=True)["model"]
    image = load_file(folder / "inputs.safetensors")["rgb"]
    network = encoder(multimae.backbone_weights(state), image, heads=sizes["heads"])
    head = DPTHead(
        sizes["dim"],
        sizes["num_classes"],
        task=TASKS[sizes["head_type"]],
        level_dims=tuple(sizes["layer_dims"]),
        feature_dim=sizes["feature_dim"],
        batch_norm=sizes["use_bn"],
    ).eval()
    head.load_state_dict(multimae.dpt_head(state), strict=True)
    with torch.no_grad():
        features = network.forward_intermediates(image, indices=sizes["hooks"], norm=False, intermediates_only=True)
        prediction = head(features)
    expected = load_file(folder / "outputs.safetensors")["pred"]
    torch.testing.assert_close(prediction, expected, **about["suggested"])


def test_the_official_model_fits(golden):
    manifest = json.loads((golden / "manifests" / "multimae_base_dpt_nyu.json").read_text())["keys"]
    state = {key: torch.empty(shape, device="meta") for key, (shape, _) in manifest.items()}
    with torch.device("meta"):
        head = DPTHead(768, 1)
    expected = {key: value.shape for key, value in head.state_dict().items()}
    assert {key: value.shape for key, value in multimae.dpt_head(state).items()} == expected


@pytest.mark.parametrize("task", TASKS.values())
@pytest.mark.parametrize("grid", [(15, 20), (3, 5), (1, 1), (7, 4)])
def test_any_grid(task, grid):
    prediction = tiny(task=task, batch_norm=True)(maps(*grid, batch=2))
    assert prediction.shape == (2, 3, 16 * grid[0], 16 * grid[1])
    assert prediction.isfinite().all()


def test_odd_grids_are_not_shifted():
    """Mirrored maps give the mirrored prediction, if every kernel is its own mirror image."""
    head = tiny()
    with torch.no_grad():
        for module in head.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.weight.copy_((module.weight + module.weight.flip(-1)) / 2)
    features = maps(3, 5)
    mirrored = head([feature.flip(-1) for feature in features]).flip(-1)
    torch.testing.assert_close(mirrored, head(features), rtol=1e-4, atol=1e-5)


def test_every_parameter_is_trained():
    head = tiny(task="segmentation", batch_norm=True).train()
    head(maps(3, 5, batch=2)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("features", [[], maps(2, 2)[:3], [*maps(2, 2)[:3], *maps(4, 4)[:1]]])
def test_other_maps_are_refused(features):
    with pytest.raises(
        ValueError, match=r"DPT takes the maps of 4 blocks, all of one size, got (none|\(1, 12, 2, 2\))"
    ):
        tiny()(features)
