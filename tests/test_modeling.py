import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from python_process import run
from tiny import SIZE, noise, tiny_card, tiny_method
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForPreTraining,
    Trainer,
    TrainingArguments,
)

from rgbd3d.configuration import RgbdConfig
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.modeling import RgbdBackbone, RgbdForPreTraining, RgbdModel, model_from_card
from rgbd3d.processing import RgbdImageProcessor
from rgbd3d.strict_yaml import plain


@pytest.fixture(scope="module")
def card():
    return tiny_card()


@pytest.fixture(scope="module")
def method(card):
    return tiny_method(card)


@pytest.fixture(scope="module")
def saved(card, method, tmp_path_factory):
    return save_pretrained_folder(method, card, tmp_path_factory.mktemp("hub") / "model")


@pytest.fixture(scope="module")
def frame():
    depth = 1 + torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    depth[:, :, :5] = 0
    return {"pixel_values": noise(), "depth_values": depth - 1.5, "depth_metres": depth}


# -------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "wish",
    [
        {"_attn_implementation": "someone/kernel"},
        {"attn_implementation": {"": "someone/kernel"}},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
    ],
)
def test_a_folder_cannot_ask_for_other_code(card, tmp_path: Path, wish):
    RgbdConfig(backbone=plain(card.backbone)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wish))
    with pytest.raises(
        ValueError, match=f"asks by {next(iter(wish))} for code or arithmetic of others, which is refused"
    ):
        RgbdConfig.from_pretrained(tmp_path)


def test_config_is_strict_and_takes_keywords_only(card):
    section = plain(card.backbone)
    with pytest.raises(ValueError, match="only keyword arguments"):
        RgbdConfig(section)
    with pytest.raises(TypeError, match="backbone"):
        RgbdConfig()
    with pytest.raises(StrictDataclassFieldValidationError, match="num_classes"):
        RgbdConfig(backbone=section, num_classes="none")
    with pytest.raises(ValueError, match="unknown key 'depth'"):
        RgbdConfig(backbone={**section, "depth": 3})
    with pytest.raises(ValueError, match="vit_huge"):
        RgbdConfig(backbone={**section, "architecture": "vit_huge"})
    with pytest.raises(ValueError, match=r"contradicts itself.*vit_base"):
        RgbdConfig(backbone=section, architecture="vit_base_patch16_224")
    with pytest.raises(ValueError, match="no pre-training method"):
        RgbdConfig(backbone=section, method="dino", objective={})
    with pytest.raises(ValueError, match="keep_rgb"):
        RgbdConfig(backbone=section, method="mask3d", objective={"keep_rgb": 3.0})


def test_config_survives_saving(card, tmp_path):
    config = RgbdConfig.from_card(card)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, RgbdConfig)
    assert loaded.to_diff_dict() == config.to_diff_dict()
    assert loaded.backbone_section == card.backbone
    assert loaded.method_sections.objective == card.objective


def test_config_gives_timm_no_second_number_of_classes(card):
    config = json.loads(RgbdConfig.from_card(card).to_json_string())
    assert "num_classes" not in config["model_args"]
    assert config["num_classes"] == config["pretrained_cfg"]["num_classes"] == 0


# --------------------------------------------------------------------------------------------------------- models


def test_auto_classes_build_ours(card):
    config = RgbdConfig.from_card(card)
    assert type(AutoModel.from_config(config)) is RgbdModel
    assert type(AutoBackbone.from_config(config)) is RgbdBackbone
    assert type(AutoModelForPreTraining.from_config(config)) is RgbdForPreTraining


@torch.no_grad()
def test_model_is_its_backbone(saved, method):
    model = AutoModel.from_pretrained(saved)
    assert not model.training
    image = noise()
    output = model(image)
    tokens = method.backbone.forward_features(image)
    torch.testing.assert_close(output.last_hidden_state, tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.pooler_output, tokens.mean(1), rtol=0, atol=1e-5)
    assert output.hidden_states is None
    everything = model(image, output_hidden_states=True, return_dict=False)
    assert len(everything) == 3
    hidden = everything[2]
    final, blocks = model.forward_intermediates(image, indices=[0, 5], output_fmt="NLC")
    assert len(hidden) == 13
    assert torch.equal(hidden[1], blocks[0])
    assert torch.equal(hidden[6], blocks[1])
    assert torch.equal(hidden[12], final)
    maps = model.forward_intermediates(image, indices=4)[1]
    assert [tuple(features.shape) for features in maps] == [(2, 192, 2, 3)] * 4


@torch.no_grad()
def test_backbone_gives_the_chosen_maps(saved):
    image = noise()
    expected = AutoModel.from_pretrained(saved).forward_intermediates(image, indices=[2, 11], intermediates_only=True)
    model = RgbdBackbone.from_pretrained(saved, out_indices=[2, 11])
    assert model.channels == [192, 192]
    assert model.out_features == ["block2", "block11"]
    output = model(image, output_attentions=False)
    assert all(torch.equal(found, wanted) for found, wanted in zip(output.feature_maps, expected, strict=True))
    everything = model(image, output_hidden_states=True)
    assert len(everything.hidden_states) == 12
    assert torch.equal(everything.feature_maps[0], expected[0])
    assert isinstance(model(image, return_dict=False)[0], tuple)


@torch.no_grad()
def test_pretraining_model_is_its_method(saved, method, frame):
    model = AutoModelForPreTraining.from_pretrained(saved, subfolder="pretraining")
    output = model(**frame, generator=torch.Generator().manual_seed(1))
    expected = method(
        frame["pixel_values"],
        frame["depth_values"],
        depth_metres=frame["depth_metres"],
        generator=torch.Generator().manual_seed(1),
    )
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(output.losses, expected.losses)
    torch.testing.assert_close(output.reconstruction, expected.reconstruction)
    assert all(torch.equal(output.masks[name], mask) for name, mask in expected.masks.items())
    given = model(**frame, masks=expected.masks)
    torch.testing.assert_close(given.loss, expected.loss)
    with pytest.raises(ValueError, match="mask3d also needs depth, depth_metres"):
        model(frame["pixel_values"])


def test_pretraining_on_rgb_alone():
    card = tiny_card()
    overrides = ["method=mae", "objective={mask_ratio: 0.5, decoder: {dim: 32, depth: 1, heads: 2}}"]
    model = model_from_card(tiny_card(*overrides), "pretraining")
    assert model.config.method == "mae"
    assert card.method == "mask3d"
    output = model(noise())
    output.loss.backward()
    assert output.masks["rgb"].sum() == 2 * 3


def test_processor_feeds_the_pretraining_model(card):
    processor = RgbdImageProcessor.for_backbone(card.backbone)
    image = (noise(2, (60, 80)) * 40 + 128).clamp(0, 255).to(torch.uint8)
    depth = 1 + torch.rand(2, 60, 80)
    model = model_from_card(card, "pretraining")
    assert model(**processor(list(image), depth=list(depth), return_tensors="pt")).loss.isfinite()


@torch.no_grad()
def test_half_precision_and_attention_flags(saved):
    image = noise()
    expected = AutoModel.from_pretrained(saved)(image).last_hidden_state
    half = AutoModel.from_pretrained(saved, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    found = half(image.bfloat16()).last_hidden_state
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.1)
    eager = AutoModel.from_pretrained(saved, attn_implementation="eager")
    assert not any(block.attn.fused_attn for block in eager.backbone.blocks)
    assert all(block.attn.fused_attn for block in AutoModel.from_pretrained(saved).backbone.blocks)
    torch.testing.assert_close(eager(image).last_hidden_state, expected, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"argument, asks by attn_implementation for code .*flash_attention_2"):
        AutoModel.from_pretrained(saved, attn_implementation="flash_attention_2")


def test_gradient_checkpointing_changes_nothing(card, frame):
    plain_model = model_from_card(card, "pretraining").train()
    checkpointed = copy.deepcopy(plain_model)
    checkpointed.activation_checkpointing_enable()
    assert checkpointed.method.backbone.grad_checkpointing
    assert checkpointed.method.depth_encoder.grad_checkpointing
    for model in (plain_model, checkpointed):
        model(**frame, generator=torch.Generator().manual_seed(0)).loss.backward()
    names = [name for name, parameter in plain_model.named_parameters() if parameter.grad is not None]
    assert len(names) > 100
    for name in names:
        found, wanted = (model.get_parameter(name).grad for model in (checkpointed, plain_model))
        torch.testing.assert_close(found, wanted, msg=name)
    checkpointed.activation_checkpointing_disable()
    assert not checkpointed.method.backbone.grad_checkpointing


def test_trainer_trains_saves_and_resumes(card, frame, tmp_path):
    rows = [{key: value[i % 2] for key, value in frame.items()} for i in range(8)]

    def train(steps, resume):
        model = model_from_card(card, "pretraining").eval() if resume else tiny_model()
        args = TrainingArguments(
            str(tmp_path),
            max_steps=steps,
            save_steps=2,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            disable_tqdm=True,
            report_to="none",
            use_cpu=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(model, args, train_dataset=rows)
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    def tiny_model():
        torch.manual_seed(0)
        return model_from_card(card, "pretraining")

    first = train(2, resume=False)
    assert not first.model_accepts_loss_kwargs  # or the loss of accumulated steps would be summed
    resumed = train(2, resume=True)
    for name, parameter in first.model.named_parameters():
        assert torch.equal(resumed.model.get_parameter(name), parameter), name


def test_push_needs_a_card(saved):
    with pytest.raises(ValueError, match="has no card"):
        AutoModel.from_pretrained(saved).push_to_hub("me/model")


# -------------------------------------------------------------------------------------------------- registration


IMPORT_FIRST = """
import sys
from pathlib import Path
import rgbd3d
assert not {"torch", "transformers", "timm"} & set(sys.modules)
from transformers import AutoConfig, AutoImageProcessor, AutoModel, pipeline
folder = sys.argv[1]
for auto in (AutoImageProcessor, AutoConfig, AutoModel):
    print(type(auto.from_pretrained(folder)).__name__)
print(type(pipeline("image-feature-extraction", model=folder).model).__name__)
"""

IMPORT_LAST = """
import sys
from pathlib import Path
from transformers import AutoImageProcessor, AutoModel
import rgbd3d
for auto in (AutoImageProcessor, AutoModel):
    print(type(auto.from_pretrained(sys.argv[1])).__name__)
"""

REMOTE_CODE = """
import sys
from pathlib import Path
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForPreTraining
auto, subfolder = {"AutoModelForPreTraining": (AutoModelForPreTraining, "pretraining")}.get(sys.argv[2], (None, ""))
auto = auto or globals()[sys.argv[2]]
print(type(auto.from_pretrained(sys.argv[1], trust_remote_code=True, subfolder=subfolder)).__name__)
"""


def test_import_rgbd3d_is_enough_for_the_auto_classes(saved):
    assert run(IMPORT_FIRST, saved) == ["RgbdImageProcessor", "RgbdConfig", "RgbdModel", "RgbdModel"]


@pytest.mark.slow
def test_import_rgbd3d_may_come_after_transformers(saved):
    assert run(IMPORT_LAST, saved) == ["RgbdImageProcessor", "RgbdModel"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("auto", "ours"),
    [
        ("AutoConfig", "RgbdConfig"),
        ("AutoImageProcessor", "RgbdImageProcessor"),
        ("AutoModel", "RgbdModel"),
        ("AutoModelForPreTraining", "RgbdForPreTraining"),
    ],
)
def test_remote_code_needs_no_import(saved, auto, ours, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    assert run(REMOTE_CODE, saved, auto) == [ours]


def test_the_thin_file_says_what_to_install(saved):
    code = (saved / "modeling_rgbd3d.py").read_text()
    assert len(code.splitlines()) <= 10
    blocked = "import sys; sys.modules['rgbd3d'] = None\n" + f"exec({code!r})"
    result = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert "pip install rgbd3d" in result.stderr
