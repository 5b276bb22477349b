import json

import torch
from conversion_modules import load
from multimae_encoder import encoder
from safetensors.torch import load_file

from rgbd3d.heads.convnext import ConvNeXtHead
from rgbd3d.heads.upsample import upsample

multimae = load("multimae")


def test_equals_multimae(golden):
    folder = golden / "multimae_convnext"
    about = json.loads((folder / "meta.json").read_text())
    sizes, tolerance = about["args"], about["suggested"]
    state = torch.load(folder / "checkpoint.pth", weights_only=True)["model"]
    image = load_file(folder / "inputs.safetensors")["rgb"]
    expected = load_file(folder / "outputs.safetensors")
    network = encoder(multimae.backbone_weights(state), image, heads=sizes["heads"])
    cells = sizes["preds_per_patch"]
    head = ConvNeXtHead(
        sizes["dim"],
        sizes["num_classes"],
        width=sizes["embed_dim"] // cells,
        cells=int(cells**0.5),
        depth=sizes["head_depth"],
    )
    head.load_state_dict(multimae.convnext_head(state), strict=True)
    with torch.no_grad():
        features = network.forward_intermediates(image, indices=1, norm=False, intermediates_only=True)
        logits = upsample(head(features), tuple(image.shape[-2:]))
        embedded = network._pos_embed(network.patch_embed(image))[:, 1:]
    torch.testing.assert_close(embedded, expected["tokens_rgb"], **tolerance)
    torch.testing.assert_close(logits, expected["logits"], **tolerance)


def test_the_official_model_fits(golden):
    manifest = json.loads((golden / "manifests" / "multimae_base_convnext_nyu40.json").read_text())["keys"]
    state = {key: torch.empty(shape, device="meta") for key, (shape, _) in manifest.items()}
    with torch.device("meta"):
        head = ConvNeXtHead(768, 40)
    expected = {key: value.shape for key, value in head.state_dict().items()}
    assert {key: value.shape for key, value in multimae.convnext_head(state).items()} == expected


def test_cells_lie_where_their_token_does():
    """Without blocks that mix, changing one token changes its 4 x 4 cells and no others; the last map counts."""
    head = ConvNeXtHead(6, 2, width=5, depth=0)
    features = torch.randn(1, 6, 3, 5)
    changed = features.clone()
    changed[:, :, 1, 3] += 1
    difference = (head([features, changed]) - head([features])).abs().sum(1)[0]
    assert difference.shape == (12, 20)
    assert (difference[4:8, 12:16] > 0).all()
    difference[4:8, 12:16] = 0
    assert (difference == 0).all()
