import json

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from PIL import Image
from transformers import AutoImageProcessor

from rgbd3d.cards import Augment, load_card
from rgbd3d.data.batch import prepare, standardise_depth
from rgbd3d.processing import RgbdImageProcessor, to_metres, values_per_metre

HEIGHT, WIDTH = 60, 80


@pytest.fixture(scope="module")
def image():
    """A smooth picture, uint8 (H, W, 3)."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 3, y * 4, (x + y) * 1.5], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def metres():
    """A slope from 1 to 4 metres with a hole, float32 (H, W)."""
    depth = np.linspace(1, 4, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    depth[10:25, 30:55] = 0
    return depth


@pytest.fixture(scope="module")
def processor():
    return RgbdImageProcessor(size={"height": 32, "width": 48}, patch_size=16)


def millimetres(metres):
    return np.round(metres * 1000).astype(np.uint16)


def test_gives_what_pretraining_was_fed(processor, image, metres):
    sample = {"image": torch.from_numpy(image).permute(2, 0, 1), "depth": torch.from_numpy(metres)[None]}
    batch = prepare([sample], Augment(), (32, 48), torch.Generator())
    out = processor(image, depth=metres, return_tensors="pt")
    assert torch.equal(out["depth_metres"], batch["depth_metres"])
    assert torch.equal(out["depth_values"], batch["depth"])
    half_a_grey_level = 0.51 / 255 / 0.224  # uint8 is rounded after resizing
    torch.testing.assert_close(out["pixel_values"], batch["image"], rtol=0, atol=half_a_grey_level)


@pytest.mark.parametrize(
    "convert",
    [
        lambda rgb: rgb,
        Image.fromarray,
        torch.from_numpy,
        lambda rgb: torch.from_numpy(rgb).permute(2, 0, 1),
        lambda rgb: [Image.fromarray(rgb)],
        lambda rgb: rgb[None],
        lambda rgb: rgb.astype(np.float32),
    ],
    ids=["numpy", "PIL", "torch HWC", "torch CHW", "list", "batch", "float in 0..255"],
)
def test_takes_images_of_all_kinds(processor, image, convert):
    expected = processor(image, return_tensors="pt")["pixel_values"]
    assert expected.shape == (1, 3, 32, 48)
    found = processor(convert(image), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_takes_images_in_the_unit_range_when_told(processor, image):
    unit = image.astype(np.float32) / 255
    with pytest.raises(ValueError, match="do_rescale=False"):
        processor(unit)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    found = processor(unit, do_rescale=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
    with pytest.raises(ValueError, match=r"values up to 255, but pixels are expected in \[0, 1\], because of do_resc"):
        processor(np.full_like(image, 255), do_rescale=False)


def test_other_ranges_are_refused(processor, image):
    with pytest.raises(ValueError, match=r"values up to 30000, but pixels are expected in \[0, 255\]"):
        processor(np.full(image.shape, 30000, np.uint16))
    black = processor(np.zeros_like(image, np.float32), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(black, processor(np.zeros_like(image), return_tensors="pt")["pixel_values"])


@pytest.mark.parametrize(
    ("convert", "unit"),
    [
        (lambda d: d, "m"),
        (lambda d: torch.from_numpy(d), "m"),
        (lambda d: d[None], "m"),
        (lambda d: d[..., None].astype(np.float64), "m"),
        (lambda d: Image.fromarray(d), "m"),
        (lambda d: millimetres(d), "mm"),
        (lambda d: millimetres(d).astype(">u2"), "mm"),
        (lambda d: Image.fromarray(millimetres(d)), "mm"),
        (lambda d: torch.from_numpy(millimetres(d)), "mm"),
        (lambda d: torch.from_numpy(millimetres(d).astype(np.int32)), 1000),
        (lambda d: d * 1000, "mm"),
        (lambda d: np.round(d * 5000).astype(np.uint16), 5000),
        (lambda d: d / 4, 0.25),
        (lambda d: np.where(d > 0, d, np.nan), "m"),
        (lambda d: np.where(d > 0, d, np.inf), "m"),
    ],
)
def test_takes_depth_of_all_kinds_and_units(metres, convert, unit):
    found = to_metres(convert(metres), unit)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.from_numpy(metres)[None], rtol=0, atol=6e-4)
    assert torch.equal(found[0] == 0, torch.from_numpy(metres == 0))


def test_a_batch_of_frames(processor, image, metres):
    single = processor(image, depth=metres, return_tensors="pt")
    for depth in ([metres, metres], np.stack([metres, metres]), np.stack([metres, metres])[:, None]):
        both = processor([image, image], depth=depth, return_tensors="pt")
        assert both["depth_values"].shape == (2, 1, 32, 48)
        for key, value in single.items():
            assert torch.equal(both[key], value.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="2 images but 1 depth maps"):
        processor([image, image], depth=metres)


def test_no_pixel_is_mixed_with_an_invalid_one(processor, image, metres):
    out = processor(image, depth=metres, return_tensors="pt")
    values = out["depth_metres"]
    assert torch.isin(values, torch.from_numpy(metres)).all()  # nothing between the hole and the wall
    assert (values == 0).any()
    assert torch.equal(out["depth_values"] == 0, values == 0)
    assert torch.equal(out["depth_values"], standardise_depth(values))


def test_a_frame_without_any_measurement_stays_empty(processor, image):
    out = processor(image, depth=np.zeros((HEIGHT, WIDTH), np.float32), return_tensors="pt")
    assert not out["depth_metres"].any()
    assert not out["depth_values"].any()


@pytest.mark.parametrize(
    ("convert", "unit", "message"),
    [
        (millimetres, "m", r"integer depth \(int32\) is not in metres; state it with depth_unit"),
        (lambda d: d * 1000, "m", r"median depth is 2\d\d\d m when read as 'm'"),
        (lambda d: d, "mm", r"median depth is 0\.002\d* m when read as 'mm'"),
        (lambda d: d, 5000, r"when read as 5000 values per metre"),
        (lambda d: d - 2, "m", "negative"),
        (lambda d: d, "cm", "unknown depth unit 'cm'"),
        (lambda d: d, 0, "positive number"),
        (lambda d: np.stack([d, d]), "m", r"should be \(H, W\)"),
        (lambda d: d.astype(str), "m", "should be numbers"),
    ],
)
def test_refuses_what_looks_like_another_unit(metres, convert, unit, message):
    with pytest.raises(ValueError, match=message):
        to_metres(convert(metres), unit)


def test_a_stated_unit_is_used_and_a_wrong_one_is_refused_by_the_processor(processor, image, metres):
    expected = processor(image, depth=metres, return_tensors="pt")
    for unit in ("mm", 1000, 1000.0):
        found = processor(image, depth=millimetres(metres), depth_unit=unit, return_tensors="pt")
        torch.testing.assert_close(found["depth_metres"], expected["depth_metres"], rtol=0, atol=6e-4)
    with pytest.raises(ValueError, match="state it with depth_unit"):
        processor(image, depth=millimetres(metres))


@pytest.mark.parametrize("size", [(16, 16), (48, 32), (64, 208)])
def test_any_multiple_of_the_patch(processor, image, metres, size):
    height, width = size
    out = processor(image, depth=metres, size={"height": height, "width": width}, return_tensors="pt")
    assert {tuple(value.shape[-2:]) for value in out.values()} == {size}


def test_other_sizes_are_refused_with_the_nearest_one(processor, image):
    with pytest.raises(ValueError, match=r"40x48 .* 16 pixels; pass size=\{'height': (32|48), 'width': 48\}"):
        processor(image, size={"height": 40, "width": 48})
    with pytest.raises(ValueError, match=r"60x80 .*; crop it, or leave do_resize on"):
        processor(image, do_resize=False)
    with pytest.raises(ValueError, match="height and a width"):
        processor(image, size={"shortest_edge": 32})


def test_without_resizing_pixels_stay_where_they_are(processor, image, metres):
    out = processor(image[:48], depth=metres[:48], do_resize=False, return_tensors="pt")
    assert torch.equal(out["depth_metres"][0, 0], torch.from_numpy(metres[:48]))
    pixels = out["pixel_values"][0].permute(1, 2, 0) * torch.tensor([0.229, 0.224, 0.225])
    found = (pixels + torch.tensor([0.485, 0.456, 0.406])) * 255
    torch.testing.assert_close(found, torch.from_numpy(image[:48]).float(), rtol=0, atol=1e-3)


def test_depth_of_a_coarser_sensor_is_brought_to_the_size_of_the_image(processor, image, metres):
    coarse = metres[::2, ::2]
    out = processor(image[:48], depth=coarse[:24], do_resize=False, return_tensors="pt")
    assert torch.equal(out["depth_metres"][0, 0, ::2, ::2], torch.from_numpy(coarse[:24].copy()))


def test_depth_of_another_shape_is_refused(processor, image, metres):
    processor(image, depth=metres[:, :-1])  # 1.25 %, a rounding of sensors
    for depth in (metres[:, :-2], metres[:-2], metres.T.copy()):
        with pytest.raises(ValueError, match=r"the image is 80 x 60 pixels: another shape"):
            processor(image, depth=depth)
    with pytest.raises(ValueError, match="depth is 78 x 60"):
        processor([image, image], depth=[metres, metres[:, :-2]])


def test_survives_saving(image, metres, tmp_path):
    processor = RgbdImageProcessor(size={"height": 32, "width": 48}, patch_size=16, depth_unit="mm")
    processor.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert stored["depth_unit"] == "mm"
    assert stored["depth_normalization"] == "truncated-standardization"
    assert stored["patch_size"] == 16
    expected = processor(image, depth=millimetres(metres), return_tensors="pt")
    for loaded in (RgbdImageProcessor.from_pretrained(tmp_path), AutoImageProcessor.from_pretrained(tmp_path)):
        assert isinstance(loaded, RgbdImageProcessor)
        found = loaded(image, depth=millimetres(metres), return_tensors="pt")
        assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("wrong", [{"patch_size": "16"}, {"depth_unit": ["mm"]}, {"depth_scale": 1000}])
def test_arguments_of_another_type_or_name_are_refused(processor, image, wrong):
    with pytest.raises((StrictDataclassFieldValidationError, TypeError, ValueError), match=next(iter(wrong))):
        processor(image, **wrong)


def test_unknown_depth_normalization_is_refused(processor, image):
    with pytest.raises(ValueError, match="truncated-standardization"):
        processor(image, depth_normalization="min-max")


def test_size_comes_from_the_card(request):
    card = load_card(request.config.rootpath / "hub_configs" / "mask3d-vitb-scannet.yaml")
    processor = RgbdImageProcessor.for_backbone(card.backbone)
    assert (processor.size.height, processor.size.width, processor.patch_size) == (240, 320, 16)


def test_units():
    assert [values_per_metre(unit) for unit in ("m", "mm", 5000)] == [1.0, 1000.0, 5000.0]


@pytest.mark.parametrize(("segment", "folder"), [("7scenes_redkitchen_a", "depth_reg"), ("sun3d_lounge_a", "depth")])
def test_real_frames(rgbd_frames, processor, segment, folder):
    """16-bit PNG in millimetres with holes, as sensors write it."""
    file = next((rgbd_frames / "frames7" / segment / folder).glob("*.png"))
    image = Image.open(next((rgbd_frames / "frames7" / segment / "color").glob(f"{file.stem}.jpg")))
    out = processor(image, depth=Image.open(file), depth_unit="mm", return_tensors="pt")
    valid = out["depth_metres"] > 0
    assert 0.5 < valid.float().mean() < 1
    assert 0.3 < out["depth_metres"][valid].median() < 10
    with pytest.raises(ValueError, match="not in metres"):
        processor(image, depth=Image.open(file))
