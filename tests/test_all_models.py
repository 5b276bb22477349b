"""One suite over the backbones of all cards: what holds for one holds for every model that is added.

Large ones are only counted, on the meta device; `-m slow` runs the middle ones and compiles and exports the smallest.
"""

import copy
import shutil
from dataclasses import replace

import pytest
import timm
import torch
from tiny import CARDS, noise
from transformers import AutoModel

from rgbd3d import export
from rgbd3d.backbones.vit import SIZES, build_vit, timm_config
from rgbd3d.cards import Backbone, load_card
from rgbd3d.folder import load_backbone, save_pretrained_folder
from rgbd3d.modeling import model_from_card

ALL = [load_card(path) for path in sorted(CARDS.glob("*.yaml"))]
SMALL_DIM, LARGE_DIM = 384, 1024


def shapes():
    """One card per network shape, at an image of 2 x 3 patches; large ones are left out, middle ones are slow."""
    found = {}
    pretrained = [card for card in ALL if card.task is None]
    for card in pretrained:
        backbone = card.backbone
        key = f"{backbone.architecture}/{backbone.patch_size}{'+cls' * backbone.class_token}"
        dim = SIZES[backbone.architecture].dim
        if dim < LARGE_DIM and key not in found:
            small = replace(backbone, image_size=(2 * backbone.patch_size, 3 * backbone.patch_size))
            marks = [pytest.mark.slow] if dim > SMALL_DIM else []
            found[key] = pytest.param(replace(card, backbone=small), id=key, marks=marks)
    tiny = next(card for card in pretrained if card.backbone.architecture == "vit_tiny")
    section = replace(tiny.backbone, image_size=(32, 48), patch_size=16, class_token=True)
    return [*found.values(), pytest.param(replace(tiny, backbone=section), id="vit_tiny/16+cls")]


@pytest.fixture(scope="module", params=shapes())
def card(request):
    return request.param


@pytest.fixture(scope="module")
def model(card):
    torch.manual_seed(0)
    return model_from_card(card).eval()


@pytest.fixture(scope="module")
def image(card):
    return noise(2, card.backbone.image_size)


@pytest.mark.parametrize("card", ALL, ids=[card.name for card in ALL])
def test_plain_timm_builds_the_same_network(card):
    described = timm_config(card.backbone)
    with torch.device("meta"):
        ours = build_vit(card.backbone)
        theirs = timm.create_model(described["architecture"], **described["model_args"])
    assert {name: value.shape for name, value in theirs.state_dict().items()} == {
        name: value.shape for name, value in ours.state_dict().items()
    }


@torch.no_grad()
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 2), (4, 4)])
def test_any_multiple_of_the_patch(model, card, grid):
    section: Backbone = card.backbone
    rows, columns = grid
    dim, prefix = SIZES[section.architecture].dim, int(section.class_token)
    output = model(noise(1, (rows * section.patch_size, columns * section.patch_size)))
    assert output.last_hidden_state.shape == (1, prefix + rows * columns, dim)
    assert output.pooler_output.shape == (1, dim)
    assert output.last_hidden_state.isfinite().all()


@torch.no_grad()
def test_dense_features(model, card, image):
    depth, dim = SIZES[card.backbone.architecture].depth, SIZES[card.backbone.architecture].dim
    final, maps = model.forward_intermediates(image, indices=4)
    assert [tuple(features.shape) for features in maps] == [(2, dim, 2, 3)] * 4
    torch.testing.assert_close(final, model(image).last_hidden_state)
    last = model.forward_intermediates(image, indices=[depth - 1], norm=True, intermediates_only=True)[0]
    torch.testing.assert_close(last.flatten(2).mT, final[:, model.backbone.num_prefix_tokens :])


@torch.no_grad()
def test_loads_alike_in_three_libraries(model, card, image, tmp_path):
    folder = save_pretrained_folder(model.backbone, card, tmp_path / "model")
    expected = model.backbone.forward_features(image)
    loaded = [
        timm.create_model(f"local-dir:{folder}", pretrained=True).eval(),
        AutoModel.from_pretrained(folder).eval().backbone,
        load_backbone(folder).eval(),
    ]
    for backbone in loaded:
        torch.testing.assert_close(backbone.forward_features(image), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_bfloat16(model, image):
    half = copy.deepcopy(model).bfloat16()
    found, expected = half(image.bfloat16()).last_hidden_state, model(image).last_hidden_state
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).norm() < 0.05 * expected.norm()


def test_gradient_checkpointing_changes_nothing(model, image):
    gradients = []
    for checkpointed in (False, True):
        trained = copy.deepcopy(model).train()
        if checkpointed:
            trained.activation_checkpointing_enable()
        trained(image).last_hidden_state.square().sum().backward()
        gradients.append({n: p.grad for n, p in trained.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*gradients)
    assert all(gradient is not None for gradient in gradients[0].values())


# ------------------------------------------------------------------------------------------------ the smallest only


@pytest.fixture(scope="module")
def smallest():
    torch.manual_seed(0)
    card = min(ALL, key=lambda card: card.backbone.parameters)
    return model_from_card(card).eval()


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiles(smallest):
    image = noise(2, smallest.config.backbone_section.image_size)
    compiled = torch.compile(smallest, fullgraph=True)
    torch.testing.assert_close(
        compiled(image).last_hidden_state, smallest(image).last_hidden_state, rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(("write", "name"), [(export.export_torch, "model.pt2"), (export.export_onnx, "model.onnx")])
def test_exports_at_full_depth(smallest, write, name, tmp_path):
    assert write(smallest, tmp_path / name, smallest.config.backbone_section.image_size) <= 1e-4
