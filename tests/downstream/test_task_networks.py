"""Every head on a small ViT: sizes, gradients, frames without any truth, and what is refused."""

import math

import pytest
import torch
from task_networks import CLASSES, CONVNEXT, HEADS, batch, network, pictures, task_card, unlabelled
from tiny import tiny_card
from torch.nn import functional

import rgbd3d
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.downstream.depth import DepthNetwork
from rgbd3d.downstream.heads import reading
from rgbd3d.downstream.network import build_task_network
from rgbd3d.downstream.sections import TaskSections, task_sections
from rgbd3d.losses.depth import berhu
from rgbd3d.tasks import DPT, DepthEstimation, InstanceSegmentation, Linear, SemanticSegmentation
from rgbd3d.types import IGNORE_LABEL

SIZES = [(48, 80), (16, 16)]  # 3 x 5 tokens, which are odd, and a single one


def check_prediction(net: TaskNetwork, found: object, size: tuple[int, int]) -> None:
    if isinstance(net.objective, InstanceSegmentation):
        assert len(found) == 2
        for objects in found:
            assert objects["masks"].shape == (len(objects["boxes"]), 1, *size)
            assert (objects["boxes"] >= 0).all()
            assert (objects["boxes"] <= torch.tensor([size[1], size[0]] * 2)).all()
            assert ((objects["labels"] >= 1) & (objects["labels"] <= CLASSES)).all()
        return
    assert found.shape == (2, 1 if isinstance(net, DepthNetwork) else CLASSES, *size)
    assert found.isfinite().all()
    assert not isinstance(net, DepthNetwork) or (found > 0).all()


@pytest.mark.parametrize(("task", "head"), HEADS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_forward_backward_and_prediction(task: str, head: str, size: tuple[int, int]):
    net = network(task, head).train()
    frames = batch(size)
    loss, parts = net.loss({name: frames[name] for name in net.inputs})
    assert loss.isfinite()
    assert parts
    assert all(part.ndim == 0 and not part.requires_grad for part in parts.values())
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert net.backbone.patch_embed.proj.weight.grad is not None
    check_prediction(net, net.predict(pictures((37, 55))), (37, 55))
    assert net.training, "predict changes nothing"


@pytest.mark.parametrize(("task", "head"), HEADS)
def test_frames_without_truth_give_a_finite_loss(task: str, head: str):
    net = network(task, head).train()
    frames = unlabelled(batch((48, 80)))
    loss, _ = net.loss({name: frames[name] for name in net.inputs})
    assert loss.isfinite()
    loss.backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert loss == 0
    assert gradients
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize(("task", "head"), HEADS)
def test_weights_have_two_prefixes_and_every_one_is_seen_by_the_trace(task: str, head: str):
    net = network(task, head).eval()
    state = net.state_dict()
    assert {name.partition(".")[0] for name in state} == {"backbone", "head"}
    image = batch((32, 48))["image"][:1]
    with torch.no_grad():
        for parameter in net.head.parameters():  # some heads start where they see nothing
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        before = net.trace(image)
        assert torch.equal(net.trace(image), before)
        for part in (net.backbone.patch_embed, net.head):
            changed = next(part.parameters())
            changed.mul_(1.5)
            assert not torch.equal(net.trace(image), before)
            changed.div_(1.5)


@pytest.mark.parametrize(("task", "head"), HEADS)
def test_prediction_at_the_size_of_the_frame(task: str, head: str):
    net = network(task, head)
    check_prediction(net, net.predict(pictures((37, 55)), size="frame"), (37, 55))
    check_prediction(net, net.predict(pictures((5, 7)), size="frame"), (5, 7))
    check_prediction(net, net.predict(pictures((37, 55)), size=(16, 32)), (37, 55))


def test_predict_is_forward_on_the_resized_normalised_image():
    net = network("semantic-segmentation", "convnext").eval()
    images = pictures((32, 48))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        expected = functional.interpolate(net(normalised), (32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(net.predict(images), expected, rtol=1e-4, atol=1e-4)


def test_a_flat_picture_has_one_prediction_at_every_size():
    net = network("depth-estimation", "linear")
    torch.nn.init.constant_(net.head.predict.bias, 0.3)
    grey = torch.full((1, 3, 20, 30), 128, dtype=torch.uint8)
    for size in (None, "frame", (64, 16)):
        torch.testing.assert_close(net.predict(grey, size), torch.full((1, 1, 20, 30), 2.5 * math.exp(0.3)))


# ----------------------------------------------------------------------------------------------------------- depth

LOG_2, LOG_15 = math.log(2), math.log(1.5)


def depth_network(**values: object) -> DepthNetwork:
    objective = DepthEstimation(**{"head": Linear(name="linear"), "loss": "l1", "output": "log", **values})
    net = build_task_network(TaskSections(tiny_card().backbone, objective, ()))
    assert isinstance(net, DepthNetwork)
    return net


@pytest.mark.parametrize(
    ("output", "number", "metres"),
    [("log", 0.0, 2.0), ("log", math.log(2), 4.0), ("standardised", 0.0, 2.0), ("standardised", 1.5, 2.75)],
)
def test_how_a_number_becomes_metres(output: str, number: float, metres: float):
    net = depth_network(output=output, typical=2.0, spread=0.5)
    torch.nn.init.constant_(net.head.predict.bias, number)
    torch.testing.assert_close(net(torch.zeros(1, 3, 32, 48)), torch.full((1, 1, 2, 3), metres))


def test_a_negative_depth_is_never_predicted():
    net = depth_network(output="standardised", typical=2.0)
    torch.nn.init.constant_(net.head.predict.bias, -5.0)
    assert (net.predict(pictures((32, 48))) == 1e-3).all()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("l1", 1.0),  # |2 - 1| and |2 - 3|
        ("log-l1", (LOG_2 + LOG_15) / 2),
        (
            "silog",
            math.sqrt((math.log(2) ** 2 + math.log(1.5) ** 2) / 2 - ((math.log(2) - math.log(1.5)) / 2) ** 2 / 2),
        ),
    ],
)
def test_losses_of_two_measured_pixels(loss: str, expected: float):
    net = depth_network(loss=loss, typical=2.0)  # predicts 2 m everywhere
    truth = torch.zeros(1, 1, 32, 48)
    truth[..., 0, 0], truth[..., 5, 5] = 1.0, 3.0
    found, parts = net.loss({"image": torch.zeros(1, 3, 32, 48), "depth_metres": truth})
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert parts.keys() == {loss}


def test_berhu_is_in_the_units_of_the_standardised_target():
    net = depth_network(loss="berhu", output="standardised", typical=2.0, spread=0.5)
    truth = 1 + 3 * torch.rand(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    found, _ = net.loss({"image": torch.zeros(1, 3, 32, 48), "depth_metres": truth})
    torch.testing.assert_close(found, berhu(torch.zeros_like(truth), (truth - 2.0) / 0.5, truth > 0))


@pytest.mark.parametrize("classes", [(-1, 2), (3, 255)])
def test_classes_of_objects_are_train_ids(classes: tuple[int, ...]):
    with pytest.raises(ValueError, match="should be train ids, 0 to 254: 255 is no class"):
        InstanceSegmentation(labels="nyu40", classes=classes)


@pytest.mark.parametrize("loss", ["silog", "log-l1"])
def test_logarithms_of_a_standardised_output_are_refused(loss: str):
    with pytest.raises(ValueError, match="which teaches nothing where a standardised output is below 0 m"):
        DepthEstimation(head=Linear(name="linear"), loss=loss, output="standardised")


# ---------------------------------------------------------------------------------------------------- what is read


def test_four_levels_are_the_blocks_of_the_papers():
    dpt = DPT(name="dpt")
    assert reading(dpt, 12).blocks == (2, 5, 8, 11)
    assert reading(dpt, 24).blocks == (5, 11, 17, 23)
    assert not reading(dpt, 12).normed
    with pytest.raises(ValueError, match="reads 4 levels, but the backbone has 3 blocks"):
        reading(dpt, 3)


@pytest.mark.parametrize(("head", "normed"), [("linear", True), ("attentive", True), ("convnext", False)])
def test_heads_are_given_what_they_read(head: str, normed: bool):
    net = network("semantic-segmentation", head).eval()
    torch.nn.init.normal_(net.backbone.norm.weight, mean=3.0)
    image = batch((32, 48))["image"]
    with torch.no_grad():
        for parameter in net.head.parameters():  # some start at zero
            parameter.add_(torch.randn(parameter.shape))
        with_norm, without = (
            net.head(net.backbone.forward_intermediates(image, indices=1, norm=norm, intermediates_only=True))
            for norm in (True, False)
        )
        assert not torch.allclose(with_norm, without)
        torch.testing.assert_close(net(image), with_norm if normed else without)


def test_a_probe_reads_normed_features_and_multimaes_head_raw_ones():
    assert (reading(Linear(name="linear"), 12).blocks, reading(Linear(name="linear"), 12).normed) == ((11,), True)
    assert (reading(CONVNEXT, 12).blocks, reading(CONVNEXT, 12).normed) == ((11,), False)


# ------------------------------------------------------------------------------------------- backbone: drop, freeze


def test_a_frozen_backbone_stays_as_it_is():
    objective = SemanticSegmentation(labels="nyu13", head=CONVNEXT, freeze_backbone=True)
    net = build_task_network(task_card("semantic-segmentation", objective=objective)).train()
    assert net.head.training
    assert not net.backbone.training
    loss, _ = net.loss(batch((32, 48)))
    loss.backward()
    assert all(parameter.grad is None for parameter in net.backbone.parameters())
    assert all(parameter.grad is not None for parameter in net.head.parameters())


def test_drop_path_acts_in_training_only():
    objective = SemanticSegmentation(labels="nyu13", head=CONVNEXT, drop_path=0.5)
    torch.manual_seed(0)
    net = build_task_network(task_card("semantic-segmentation", objective=objective)).train()
    image = batch((32, 48))["image"]
    with torch.no_grad():
        assert not torch.equal(net(image), net(image))
        assert torch.equal(net.eval()(image), net(image))
    plain = build_task_network(task_card("semantic-segmentation"))
    assert plain.state_dict().keys() == net.state_dict().keys()


@pytest.mark.parametrize(("task", "head"), HEADS)
def test_predicts_in_the_precision_of_its_weights(task: str, head: str):
    net = network(task, head).bfloat16()
    check_prediction(net, net.predict(pictures((37, 55))), (37, 55))


# ------------------------------------------------------------------------------------------------- what is refused


def test_labels_of_another_label_space_name_both_numbers():
    net = network("semantic-segmentation", "convnext")
    frames = batch((32, 48))
    frames["semantic"][0, 0, 0] = 39
    with pytest.raises(ValueError, match=r"labels 39 do not fit 5 classes .*the data set's label space is not the"):
        net.loss(frames)
    frames["semantic"][0, 0, 0] = IGNORE_LABEL
    net.loss(frames)


def test_cross_entropy_is_that_of_labelled_pixels_at_their_own_resolution():
    net = network("semantic-segmentation", "linear")
    odds = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    torch.nn.init.zeros_(net.head.predict.weight)
    with torch.no_grad():
        net.head.predict.bias.copy_(odds)
    labels = torch.full((1, 32, 48), IGNORE_LABEL)
    labels[0, 5, 5], labels[0, 7, 30] = 1, 4
    loss, parts = net.loss({"image": torch.zeros(1, 3, 32, 48), "semantic": labels})
    expected = odds.exp().sum().log().item() - (1 + 4) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert parts["cross_entropy"] == loss


def test_ids_of_instances_out_of_range_are_refused():
    net = network("instance-segmentation", "mask-rcnn").train()
    frames = batch((32, 48))
    frames["instance"][0, 0, 0] = -1
    with pytest.raises(ValueError, match="ids out of range"):
        net.loss(frames)
    frames = batch((32, 48))
    frames["semantic"][0, 0, 0] = 13
    with pytest.raises(ValueError, match=r"labels 13 do not fit 13 classes .*the data set's label space is not the"):
        build_task_network(task_card("instance-segmentation")).train().loss(frames)
    with pytest.raises(ValueError, match="labels and images differ in size"):
        net.loss({**batch((32, 48)), "image": torch.zeros(2, 3, 48, 48)})


def test_objects_are_found_in_evaluation_only():
    net = network("instance-segmentation", "mask-rcnn").train()
    with pytest.raises(ValueError, match=r"call eval\(\) first"):
        net(torch.zeros(1, 3, 32, 48))


@pytest.mark.parametrize(
    "images",
    [torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8, dtype=torch.uint8)],
)
def test_predict_takes_bytes_of_a_batch(images: torch.Tensor):
    with pytest.raises(ValueError, match=r"images to predict for are uint8 \(B, 3, H, W\), at least one, not"):
        network("depth-estimation", "linear").predict(images)


@pytest.mark.parametrize(("task", "head"), HEADS)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 33, 48), r"images of \(33, 48\) pixels should be multiples of 16, .*for example to \(32, 48\)"),
        ((1, 4, 32, 48), r"images should be \(B, 3, H, W\), got \(1, 4, 32, 48\)"),
        ((3, 32, 48), r"images should be \(B, 3, H, W\), got \(3, 32, 48\)"),
    ],
    ids=["size", "channels", "no batch"],
)
def test_images_that_do_not_fit(task: str, head: str, shape: tuple[int, ...], message: str):
    with pytest.raises(ValueError, match=message):
        network(task, head).eval()(torch.zeros(shape))


def test_a_size_by_an_unknown_name():
    with pytest.raises(ValueError, match=r"size should be \(height, width\), 'frame' or 'height', not 'width'"):
        network("depth-estimation", "linear").predict(pictures((8, 8)), "width")


@pytest.mark.parametrize("size", [(0, 16), (16, 17), (-16, 16)])
def test_sizes_that_the_patch_does_not_divide(size: tuple[int, int]):
    with pytest.raises(ValueError, match=r"should be a positive multiple of the patch \(16, 16\)"):
        network("depth-estimation", "linear").predict(pictures((8, 8)), size)


def test_a_card_of_pretraining_has_no_task_network():
    with pytest.raises(ValueError, match="describes a pre-trained backbone"):
        build_task_network(tiny_card())


def test_sections_know_the_names_of_the_classes():
    assert task_sections(task_card("semantic-segmentation")).classes[0] == "bed"
    assert len(task_sections(task_card("semantic-segmentation")).classes) == 13
    assert task_sections(task_card("depth-estimation")).classes == ()
    names = task_sections(task_card("semantic-segmentation")).classes
    assert task_sections(task_card("instance-segmentation")).classes == (names[0], names[3])
    beyond = InstanceSegmentation(labels="nyu13", classes=(0, 13))
    with pytest.raises(ValueError, match="class 13 does not exist: nyu13 has 13 classes"):
        task_sections(task_card("instance-segmentation", objective=beyond))
    unknown = SemanticSegmentation(labels="nyu41", head=CONVNEXT)
    with pytest.raises(ValueError, match="nyu41"):
        task_sections(task_card("semantic-segmentation", objective=unknown))


@pytest.mark.parametrize("head", ["convnext", "linear"])
def test_depth_starts_at_the_typical_one(head: str):
    """On a trained backbone, whose raw features are large: the first steps are not spent on coming back."""
    torch.manual_seed(0)
    model = rgbd3d.create_model("mask3d-vitt-synthrooms", task="depth-estimation", head=head, pretrained=True)
    metres = model.network.predict(pictures((90, 120)))
    assert (metres / model.network.objective.typical).log().abs().max() < 0.2
