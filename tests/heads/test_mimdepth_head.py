import json

import pytest
import torch
from conversion_modules import load
from safetensors.torch import load_file

from rgbd3d.heads.mimdepth import MIMDepthHead

mimdepth = load("mimdepth")


def test_equals_mimdepth(golden):
    folder = golden / "mimdepth_glp"
    about = json.loads((folder / "meta.json").read_text())
    sizes = about["args"]
    head = MIMDepthHead(8 * sizes["emb"], filters=sizes["filt"], max_depth=sizes["maxd"]).eval()
    head.load_state_dict(mimdepth.head(torch.load(folder / "checkpoint.pth", weights_only=True)["model"]), strict=True)
    expected = load_file(folder / "outputs.safetensors")
    with torch.no_grad():
        depth = head([expected["encoder_out"]])
    torch.testing.assert_close(depth, expected["pred_d"], **about["suggested"])


@pytest.mark.parametrize(("size", "dim"), [("base", 1024), ("large", 1536)])
def test_the_official_models_fit(golden, size, dim):
    manifest = json.loads((golden / "manifests" / f"mimdepth_swinv2_{size}_nyu.json").read_text())["keys"]
    state = {key: torch.empty(shape, device="meta") for key, (shape, _) in manifest.items()}
    with torch.device("meta"):
        head = MIMDepthHead(dim, filters=(32, 32, 32))
    expected = {key: value.shape for key, value in head.state_dict().items()}
    assert {key: value.shape for key, value in mimdepth.head(state).items()} == expected


def test_a_patch_of_16_needs_one_doubling_less():
    head = MIMDepthHead(24, filters=(8, 8), max_depth=3.0).eval()
    depth = head([torch.randn(2, 24, 3, 5)])
    assert depth.shape == (2, 1, 48, 80)
    assert 0 < depth.min() <= depth.max() < 3


def test_starts_in_the_middle_of_the_range():
    """Its first predictions are sigmoid(0): all weights start near zero."""
    torch.testing.assert_close(
        MIMDepthHead(64, filters=(32, 32, 32))([torch.randn(2, 64, 2, 3)]),
        torch.full((2, 1, 64, 96), 5.0),
        atol=0.01,
        rtol=0,
    )


def test_weights_without_a_head_are_refused():
    with pytest.raises(ValueError, match="no depth head in these weights"):
        mimdepth.head({"encoder.norm3.weight": torch.zeros(3)})
