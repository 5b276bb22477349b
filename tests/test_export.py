import sys

import onnxruntime
import pytest
import torch
from tiny import SIZE, noise, tiny_card, tiny_method

from rgbd3d import export
from rgbd3d.modeling import model_from_card


@pytest.fixture(scope="module")
def backbone():
    """All parts of a backbone, but only two blocks: export takes a second per block."""
    model = tiny_method(tiny_card()).backbone
    model.blocks = model.blocks[:2]
    return model


OTHER_SIZE = (48, 32)


@torch.no_grad()
@pytest.mark.parametrize("size", [SIZE, OTHER_SIZE])
def test_torch_program_computes_what_the_model_computes(backbone, size, tmp_path):
    difference = export.export_torch(backbone, tmp_path / "model.pt2", size)
    program = torch.export.load(tmp_path / "model.pt2").module()
    tokens, pooled = program(noise(5, size))
    expected = backbone.forward_features(noise(5, size))
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pooled, backbone.forward_head(expected), rtol=1e-4, atol=1e-4)
    assert difference <= 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


@torch.no_grad()
def test_onnx_computes_what_the_model_computes(backbone, tmp_path):
    path = tmp_path / "new folder" / "model.onnx"
    difference = export.export_onnx(backbone, path, OTHER_SIZE)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    tokens, pooled = session.run(["last_hidden_state", "pooler_output"], {"pixel_values": noise(5, OTHER_SIZE).numpy()})
    expected = backbone.forward_features(noise(5, OTHER_SIZE))
    torch.testing.assert_close(torch.from_numpy(tokens), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(pooled), backbone.forward_head(expected), rtol=1e-4, atol=1e-4)
    assert difference <= 1e-4
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]


def test_exporting_leaves_the_model_alone(tmp_path):
    model = model_from_card(tiny_card()).train().bfloat16()
    model.backbone.blocks = model.backbone.blocks[:2]
    model.activation_checkpointing_enable()
    export.export_torch(model, tmp_path / "model.pt2", SIZE)
    assert model.training
    assert model.dtype == torch.bfloat16
    assert model.backbone.grad_checkpointing
    assert model.backbone.blocks[0].attn.qkv.weight.requires_grad


def test_a_wrong_program_is_never_written(backbone, tmp_path, monkeypatch):
    def load_other_weights(file):
        program = real_load(file)
        program.state_dict["backbone.norm.bias"].add_(0.1)
        return program

    real_load = torch.export.load
    monkeypatch.setattr(torch.export, "load", load_other_weights)
    with pytest.raises(export.ExportError, match=r"last_hidden_state differs from the model's by 0\.1"):
        export.export_torch(backbone, tmp_path / "model.pt2", SIZE)
    assert not list(tmp_path.iterdir())


def test_a_program_needs_its_suffix(backbone, tmp_path):
    with pytest.raises(ValueError, match=r"end in \.pt2"):
        export.export_torch(backbone, tmp_path / "model.bin", SIZE)


@pytest.mark.parametrize("write", [export.export_torch, export.export_onnx])
def test_a_size_that_the_patch_does_not_divide_is_refused(backbone, write, tmp_path):
    with pytest.raises(ValueError, match="multiples of the patch"):
        write(backbone, tmp_path / "model.pt2", (33, 48))


@pytest.mark.parametrize("module", ["onnxruntime", "onnxscript"])
def test_missing_extra_is_named(backbone, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"rgbd3d\[export\]"):
        export.export_onnx(backbone, tmp_path / "model.onnx", SIZE)
