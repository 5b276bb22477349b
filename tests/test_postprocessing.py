from types import SimpleNamespace

import pytest
import torch
from tiny import tiny_card

from rgbd3d.postprocessing import segments
from rgbd3d.processing import RgbdImageProcessor


@pytest.fixture(scope="module")
def processor():
    return RgbdImageProcessor.for_backbone(tiny_card().backbone, "instance-segmentation")


def test_semantic_maps_have_the_size_of_the_photographs(processor):
    logits = torch.zeros(2, 3, 2, 2)
    logits[0, 1, :, 0] = logits[0, 2, :, 1] = 5
    outputs = SimpleNamespace(logits=logits)
    left, right = processor.post_process_semantic_segmentation(outputs, target_sizes=[(4, 6), (3, 3)])
    assert left.tolist() == [[1, 1, 1, 2, 2, 2]] * 4
    assert right.tolist() == [[0, 0, 0]] * 3
    assert [tuple(ids.shape) for ids in processor.post_process_semantic_segmentation(outputs)] == [(2, 2), (2, 2)]
    with pytest.raises(ValueError, match="for 2 images, but target_sizes for 1"):
        processor.post_process_semantic_segmentation(outputs, target_sizes=[(4, 6)])


def test_depth_is_in_metres_and_positive(processor):
    outputs = SimpleNamespace(predicted_depth=torch.tensor([[[2.0, 4.0]], [[-1.0, 1.0]]]).bfloat16())
    first, second = processor.post_process_depth_estimation(outputs, target_sizes=[(1, 4), (1, 2)])
    assert first["predicted_depth"].tolist() == [[2.0, 2.5, 3.5, 4.0]]
    assert second["predicted_depth"].dtype == torch.float32
    assert second["predicted_depth"][0].tolist() == pytest.approx([1e-3, 1.0])
    assert processor.post_process_depth_estimation(outputs)[0]["predicted_depth"].shape == (1, 2)


def found(*objects):
    """Objects as (label, score, columns) in images of 1 x 8 pixels."""
    masks = torch.zeros(len(objects), 1, 1, 8)
    for mask, (_, _, columns) in zip(masks, objects, strict=True):
        mask[..., columns] = 0.9
    labels, scores = torch.tensor([o[0] for o in objects], dtype=torch.int64), torch.tensor([o[1] for o in objects])
    return SimpleNamespace(objects=[{"labels": labels, "scores": scores, "masks": masks, "boxes": None}])


def test_the_object_with_the_higher_score_is_in_front():
    result = segments(found((3, 0.9, slice(0, 4)), (1, 0.8, slice(2, 8)), (2, 0.6, slice(0, 5))))[0]
    assert result["segmentation"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    info = result["segments_info"]
    assert [(segment["id"], segment["label_id"]) for segment in info] == [(0, 2), (1, 0)]  # the third is hidden
    assert [segment["score"] for segment in info] == pytest.approx([0.9, 0.8])


def test_thresholds():
    outputs = found((1, 0.9, slice(0, 4)), (2, 0.3, slice(5, 8)))
    assert segments(outputs)[0]["segmentation"].tolist() == [[0, 0, 0, 0, -1, -1, -1, -1]]
    assert len(segments(outputs, threshold=0.2)[0]["segments_info"]) == 2
    assert segments(outputs, mask_threshold=0.95)[0]["segments_info"] == []
    assert segments(found())[0]["segmentation"].tolist() == [[-1] * 8]
    enlarged = segments(outputs, target_sizes=[(2, 16)])[0]["segmentation"]
    assert enlarged.shape == (2, 16)
    assert (enlarged[:, :7] == 0).all()
    assert (enlarged[:, 9:] == -1).all()


def test_an_image_without_objects_has_an_empty_map_of_its_size():
    result = segments(found(), target_sizes=[(2, 3)])[0]
    assert result["segmentation"].tolist() == [[-1] * 3] * 2
    assert result["segments_info"] == []


def test_only_instance_models_have_instances(processor):
    assert processor.post_process_instance_segmentation is segments
    for task in (None, "semantic-segmentation", "depth-estimation"):
        other = RgbdImageProcessor.for_backbone(tiny_card().backbone, task)
        assert not hasattr(other, "post_process_instance_segmentation")


def test_task_survives_saving(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    assert RgbdImageProcessor.from_pretrained(tmp_path).task == "instance-segmentation"
