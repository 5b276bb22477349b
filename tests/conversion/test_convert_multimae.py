import json

import pytest
import torch
from conversion_modules import load
from safetensors.torch import load_file

multimae = load("multimae")


def test_rgb_branch_becomes_a_vision_transformer(golden):
    about = json.loads((golden / "multimae_to_vit" / "meta.json").read_text())
    state = torch.load(golden / "multimae_pretrain" / "checkpoint.pth", weights_only=True)["model"]
    weights = multimae.backbone_weights(state)
    assert {key: list(value.shape) for key, value in weights.items()} == {
        key: shape for key, (shape, _) in about["vit_keys"].items()
    }
    expected = load_file(golden / "multimae_to_vit" / "outputs.safetensors")["pos_embed"]
    assert torch.equal(weights.pop("pos_embed"), expected)
    assert all(torch.equal(value, state[about["source_map"][key]]) for key, value in weights.items())


def test_weights_without_the_adapter_are_refused():
    with pytest.raises(ValueError, match="no output adapter 'semseg' in these weights; there are depth, rgb"):
        multimae.convnext_head({f"output_adapters.{name}.x": torch.zeros(1) for name in ("rgb", "depth")})
    with pytest.raises(ValueError, match="no output adapter 'depth' in these weights; there are none"):
        multimae.dpt_head({})


def test_a_head_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"unknown MultiMAE key `proj_dec\.weight`: a head of another kind"):
        multimae.dpt_head({"output_adapters.depth.proj_dec.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"unknown MultiMAE key `scratch\.layer1_rn\.weight`"):
        multimae.convnext_head({"output_adapters.semseg.scratch.layer1_rn.weight": torch.zeros(1)})
