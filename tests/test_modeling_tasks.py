"""Task models as transformers': configuration, saving and loading, losses, outputs, and what is refused."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import SIZE, noise, tiny_card
from tiny_tasks import INSTANCE, OBJECTIVES, ONE_EACH, build, labels, sections
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForDepthEstimation,
    AutoModelForInstanceSegmentation,
    AutoModelForPreTraining,
    AutoModelForSemanticSegmentation,
    Trainer,
    TrainingArguments,
)

from rgbd3d.configuration import RgbdConfig
from rgbd3d.data.label_spaces import class_names
from rgbd3d.modeling import IncompleteCheckpointError, RgbdBackbone, RgbdForPreTraining, RgbdModel
from rgbd3d.modeling_tasks import TASK_MODELS, task_model

pytest_plugins = ["task_fixtures"]
AUTO = {
    "semantic-segmentation": AutoModelForSemanticSegmentation,
    "depth-estimation": AutoModelForDepthEstimation,
    "instance-segmentation": AutoModelForInstanceSegmentation,
}


def reload(folder):
    config = AutoConfig.from_pretrained(folder)
    return AUTO[config.task].from_pretrained(folder)


def in_labels(name: str, truth):
    """What `forward` takes as labels."""
    return truth if name in INSTANCE else next(iter(truth.values()))


def flat(output):
    """All tensors of an output."""
    values = []
    for value in output.values():
        items = value if isinstance(value, list | tuple) else [value]
        for item in items:
            values += list(item.values()) if isinstance(item, dict) else [item]
    return values


# ----------------------------------------------------------------------------------------------------- configuration


def test_config_names_the_classes(saved):
    config = AutoConfig.from_pretrained(saved("semantic-linear"))
    assert isinstance(config, RgbdConfig)
    assert config.num_labels == 13
    assert tuple(config.id2label[i] for i in range(13)) == class_names("nyu13")
    assert config.label2id[class_names("nyu13")[3]] == 3
    assert config.task_sections == sections("semantic-linear")
    instances = AutoConfig.from_pretrained(saved("instances"))
    assert instances.id2label == {i: class_names("nyu13")[c] for i, c in enumerate((1, 4, 9))}
    assert AutoConfig.from_pretrained(saved("depth-dpt")).task_sections == sections("depth-dpt")


def test_config_refuses_what_does_not_fit(saved):
    folder, plain = saved("semantic-linear"), AutoConfig.from_pretrained(saved("semantic-linear")).to_dict()
    with pytest.raises(ValueError, match=r"has 13 classes, not num_labels = 40.*create_model"):
        AutoConfig.from_pretrained(folder, num_labels=40)
    with pytest.raises(ValueError, match="names 2 classes, 'a', 'b', but its objective has the 13 of nyu13"):
        RgbdConfig.from_dict({**plain, "id2label": {0: "a", 1: "b"}})
    with pytest.raises(ValueError, match=r"no known task.*'dreaming'"):
        RgbdConfig.from_dict({**plain, "task": "dreaming"})
    with pytest.raises(ValueError, match="unknown key 'heads'"):
        RgbdConfig.from_dict({**plain, "objective": {**plain["objective"], "heads": 1}})
    with pytest.raises(ValueError, match="no model of a task"):
        _ = RgbdConfig.for_backbone(tiny_card().backbone).task_sections
    with pytest.raises(ValueError, match="a model for semantic-segmentation, no pre-training method"):
        _ = AutoConfig.from_pretrained(folder).method_sections


def test_classes_without_a_label_space(tmp_path):
    given = sections("semantic-linear")
    objective = copy.copy(given.objective)
    object.__setattr__(objective, "labels", None)
    own = type(given)(given.backbone, objective, ("cat", "dog", "mat"))
    task_model(own).save_pretrained(tmp_path)
    loaded = reload(tmp_path)
    assert loaded.config.id2label == {0: "cat", 1: "dog", 2: "mat"}
    assert loaded.config.task_sections == own
    assert loaded(noise()).logits.shape[1] == 3


def test_only_the_class_of_the_task_is_offered_to_remote_code(saved):
    offered = json.loads((saved("depth-linear") / "config.json").read_text())["auto_map"]
    assert offered["AutoModelForDepthEstimation"] == "modeling_rgbd3d.RgbdForDepthEstimation"
    assert {"AutoConfig", "AutoModel", "AutoBackbone", "AutoImageProcessor"} < offered.keys()
    assert len(offered) == 5


# ------------------------------------------------------------------------------------------------------------ models


@torch.no_grad()
@pytest.mark.parametrize("name", OBJECTIVES)
def test_saving_and_loading_changes_nothing(name, saved):
    model, loaded = build(name), reload(saved(name))
    assert type(loaded) is TASK_MODELS[model.task]
    assert not loaded.training
    stored, wanted = load_file(saved(name) / "model.safetensors"), model.network.state_dict()
    assert {key.split(".")[0] for key in stored} == {"backbone", "head"}
    assert stored.keys() == wanted.keys() == loaded.network.state_dict().keys()
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, wanted[key]), key
        assert torch.equal(value, stored[key]), key
    for found, expected in zip(flat(loaded(noise())), flat(model(noise())), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # kernels depend on the alignment in memory
    trained = {key: value.requires_grad for key, value in model.named_parameters()}
    assert {key: value.requires_grad for key, value in loaded.named_parameters()} == trained


@pytest.mark.parametrize("name", OBJECTIVES)
def test_labels_give_the_loss_of_the_network(name):
    model, truth = build(name), labels(name)
    image = noise()
    torch.manual_seed(1)
    expected, parts = model.network.loss({"image": image, **truth})
    torch.manual_seed(1)
    output = model(image, labels=in_labels(name, truth))
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=0)
    assert output.loss > 0
    with torch.no_grad():
        alone = model(image)
    rest = {key: value for key, value in output.items() if key not in ("loss", "losses")}
    assert all(torch.equal(a, b) for a, b in zip(flat(rest), flat(alone), strict=True))
    if name in INSTANCE:
        assert output.losses.keys() == parts.keys()
    output.loss.backward()
    assert any(parameter.grad is not None for parameter in model.network.head.parameters())
    assert all(p.grad is None for p in model.network.backbone.parameters()) == (name == "depth-linear")


@torch.no_grad()
@pytest.mark.parametrize("name", OBJECTIVES)
def test_half_precision(name, saved):
    config = AutoConfig.from_pretrained(saved(name))
    half = AUTO[config.task].from_pretrained(saved(name), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    output = half(noise().bfloat16())
    assert all(value.isfinite().all() for value in flat(output))
    if name in INSTANCE:
        assert output.objects[0]["boxes"].dtype == torch.float32  # pixels need it
    else:
        found, expected = flat(output)[0].float(), flat(build(name)(noise()))[0]
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.2)
        together = torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))
        assert together[0, 1] > 0.99, "what differs between pixels is kept"


@torch.no_grad()
def test_outputs_are_those_of_transformers(saved):
    semantic = reload(saved("semantic-decoder"))
    output = semantic(noise(), output_hidden_states=True)
    assert output.logits.shape == (2, 13, *SIZE)
    assert len(output.hidden_states) == 13  # of the backbone, although the head has blocks too
    as_tuple = semantic(noise(), labels=labels("semantic-decoder")["semantic"], return_dict=False)
    assert [value.ndim for value in as_tuple] == [0, 4]
    depth = reload(saved("depth-dpt"))
    assert depth(noise()).predicted_depth.shape == (2, *SIZE)
    metres = labels("depth-dpt")["depth_metres"]
    assert torch.equal(depth(noise(), labels=metres[:, 0]).loss, depth(noise(), labels=metres).loss)
    detector = reload(saved("instances"))
    objects = detector(noise()).objects
    assert len(objects) == 2
    assert objects[0].keys() == {"boxes", "labels", "scores", "masks"}
    with pytest.raises(ValueError, match="evaluation mode"):
        detector.train()(noise())


@torch.no_grad()
@pytest.mark.parametrize("name", ["semantic-dpt", "depth-dpt"])
def test_predicts_for_frames(name, saved):
    model = reload(saved(name))
    frames = torch.randint(256, (2, 3, 50, 60), dtype=torch.uint8)
    prediction = model.predict(frames)
    assert torch.equal(prediction, model.network.predict(frames))
    assert prediction.shape[-2:] == (50, 60)
    assert model.predict(frames, "frame").shape == prediction.shape


@pytest.mark.parametrize(
    "name", ["semantic-upernet", "semantic-mask2former", "semantic-decoder", "depth-dpt", "instances"]
)
def test_gradient_checkpointing_changes_nothing(name):
    truth = labels(name)
    plain = build(name).train()
    for module in plain.modules():  # what is random or depends on how often it is called
        if "DropPath" in type(module).__name__:
            module.drop_prob = 0.0
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing_enable()
    assert checkpointed.network.backbone.grad_checkpointing
    assert checkpointed.is_activation_checkpointing
    assert not plain.is_activation_checkpointing
    if name == "semantic-decoder":
        assert checkpointed.network.head.decoder.grad_checkpointing
    for model in (plain, checkpointed):
        torch.manual_seed(2)
        model(noise(), labels=in_labels(name, truth)).loss.backward()
    for key, parameter in plain.named_parameters():
        found = checkpointed.get_parameter(key).grad
        torch.testing.assert_close(found, parameter.grad, msg=key)
    checkpointed.activation_checkpointing_disable()
    assert not checkpointed.network.backbone.grad_checkpointing


def test_trainer_trains_and_evaluates(tmp_path):
    rows = [{"pixel_values": image, "labels": labels("semantic-convnext")["semantic"][0]} for image in noise(4)]
    model = build("semantic-convnext")
    before = copy.deepcopy(model.network.head.state_dict())
    args = TrainingArguments(
        str(tmp_path), max_steps=2, save_steps=2, per_device_train_batch_size=2, report_to="none", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert not trainer.model_accepts_loss_kwargs
    assert any(not torch.equal(value, before[key]) for key, value in model.network.head.state_dict().items())
    prediction = trainer.predict(rows)
    assert prediction.predictions.shape == (4, 13, 4, 6)
    loaded = reload(tmp_path / "checkpoint-2")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    build("semantic-convnext").load_state_dict(load_file(tmp_path / "checkpoint-2" / "model.safetensors"))  # resuming


# ------------------------------------------------------------------------------------------- backbones in the folder


@torch.no_grad()
@pytest.mark.parametrize("name", ONE_EACH)
def test_the_backbone_comes_out_of_a_fine_tuned_folder(name, saved, caplog):
    expected, image = build(name).network.backbone, noise()
    model = AutoModel.from_pretrained(saved(name))
    assert type(model) is RgbdModel
    assert torch.equal(model(image).last_hidden_state, expected.forward_features(image))
    assert "UNEXPECTED" not in caplog.text
    maps = RgbdBackbone.from_pretrained(saved(name), out_indices=[3])(image).feature_maps
    assert torch.equal(maps[0], expected.forward_intermediates(image, indices=[3], intermediates_only=True)[0])
    assert type(AutoBackbone.from_config(model.config)) is RgbdBackbone


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(next(key for key in state if key.startswith("head."))), "it lacks model.head."),
        (lambda state: state.pop("backbone.blocks.3.attn.qkv.weight"), r"it lacks model.backbone.blocks.3.attn"),
        (lambda state: state.update({"head.extra": torch.zeros(1)}), "but the model has not: .*head.extra"),
    ],
)
def test_incomplete_checkpoints_are_refused(name, change, message, saved, tmp_path):
    state = load_file(saved(name) / "model.safetensors")
    change(state)
    for file in saved(name).iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IncompleteCheckpointError, match=message):
        reload(tmp_path)


def test_a_fine_tuned_folder_without_its_backbone_is_no_backbone(saved, tmp_path):
    state = load_file(saved("depth-convnext") / "model.safetensors")
    del state["backbone.blocks.3.attn.qkv.weight"]
    (tmp_path / "config.json").write_bytes((saved("depth-convnext") / "config.json").read_bytes())
    save_file({**state, "head.more": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IncompleteCheckpointError, match=r"it lacks backbone.blocks.3.attn.qkv.weight"):
        AutoModel.from_pretrained(tmp_path)


def test_models_of_another_task_are_refused(saved, tmp_path):
    with pytest.raises(ValueError, match=r"is for depth-estimation, .* a model for semantic-segmentation"):
        AutoModelForDepthEstimation.from_pretrained(saved("semantic-convnext"))
    with pytest.raises(ValueError, match="no pre-training method"):
        AutoModelForPreTraining.from_pretrained(saved("semantic-convnext"))
    RgbdModel(RgbdConfig.for_backbone(tiny_card().backbone)).save_pretrained(tmp_path / "plain")
    for task, auto in AUTO.items():
        with pytest.raises(ValueError, match=f'a pre-trained backbone, which has no head.*task="{task}"'):
            auto.from_pretrained(tmp_path / "plain")
    assert isinstance(AutoModelForPreTraining.from_config(RgbdConfig.from_card(tiny_card())), RgbdForPreTraining)


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises(ValueError, match="labels 13 do not fit 13 classes"):
        build("semantic-linear")(noise(), labels=torch.full((2, *SIZE), 13))


def test_push_needs_a_card(saved):
    with pytest.raises(ValueError, match="has no card"):
        reload(saved("depth-linear")).push_to_hub("me/model")
