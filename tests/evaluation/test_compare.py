"""Comparisons: what may stand side by side, what differs, and how it looks."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from results import result, semantic_result

from rgbd3d.evaluation.compare import compare
from rgbd3d.evaluation.comparison import Comparison, difference
from rgbd3d.evaluation.comparison_plot import draw
from rgbd3d.evaluation.metrics.names import NAMES
from rgbd3d.evaluation.result import Data, ResultError


@pytest.fixture
def save(tmp_path):
    def write(found, name):
        found.save(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def files(save):
    first = save(semantic_result(10.0, 11.0, 12.0, model="random-model", pretrained=False), "a.json")
    return [first, save(semantic_result(13.0, 14.0, 15.0, model="trained-model"), "b.json")]


# ------------------------------------------------------------------------------------------------------- the numbers


def test_difference_by_hand():
    # Variances 1 (of 3 runs) and 4 (of 2 runs: 20 ± 2): pooled sqrt((2 * 1 + 1 * 8) / 3).
    found = difference(semantic_result(10.0, 11.0, 12.0), semantic_result(18.0, 22.0), "miou")
    assert found.value == 9.0
    assert found.deviations == pytest.approx(9 / math.sqrt(10 / 3))
    assert found.clear


@pytest.mark.parametrize(("shift", "clear"), [(2.9, False), (-2.9, False), (3.1, True), (-3.1, True)])
def test_three_standard_deviations_are_clear(shift, clear):
    found = difference(semantic_result(10.0, 11.0, 12.0), semantic_result(10 + shift, 11 + shift, 12 + shift), "miou")
    assert found.deviations == pytest.approx(shift)
    assert found.clear is clear


def test_single_runs_have_no_spread():
    found = difference(semantic_result(10.0), semantic_result(20.0, 20.1), "miou")
    assert found.deviations is None
    assert not found.clear


def test_runs_that_never_differ():
    same, other = semantic_result(1.0, 1.0), semantic_result(2.0, 2.0)
    assert difference(same, other, "miou").deviations == math.inf
    assert difference(other, same, "miou").deviations == -math.inf
    assert difference(same, same, "miou").deviations == 0.0


# -------------------------------------------------------------------------------------------------------- the tables


def test_text(files):
    headline, _, *lines = compare(files).text().splitlines()
    assert headline == "nyuv2-semseg/40 on made-up (val, 3 frames, digest 000000000000)"
    assert lines[0].split() == ["model", "seeds", "mIoU", "(%)", "↑", "pixel", "acc.", "(%)", "↑"]
    first, second, _, _, _, difference = (" ".join(line.split()) for line in lines[2:8])
    assert first == "random-model (random initialisation) 3 11.0 ± 1.0 22.0 ± 2.0"
    assert second == "trained-model 3 14.0 ± 1.0 * 28.0 ± 2.0 *"
    assert lines[2].index("11.0") == lines[3].index("14.0")
    assert difference == "trained-model − random-model (random initialisation) +3.0 (3.0 σ) ! +6.0 (3.0 σ) !"


def test_the_headline_counts_what_is_scored(save):
    some = save(semantic_result(1.0, facts={"labels": "nyu40", "frames": "2"}), "some.json")
    assert "on made-up (val, 2 of 3 frames, digest" in compare([some]).text()
    every = save(semantic_result(1.0, facts={"labels": "nyu40", "frames": "3"}), "every.json")
    assert "on made-up (val, 3 frames, digest" in compare([every]).text()


def test_markdown(files):
    text = compare(files).markdown()
    assert "| trained-model | 3 | **14.0 ± 1.0** | **28.0 ± 2.0** |" in text
    assert "| --- | ---: | ---: | ---: |" in text
    assert "| trained-model − random-model (random initialisation) | +3.0 (3.0 σ) ! | +6.0 (3.0 σ) ! |" in text


def test_lower_is_better_where_it_is():
    both = (result(0.5, 0.6), result(0.4, 0.5))
    comparison = Comparison(("a", "b"), both)
    assert comparison.best("loss") == 0.45
    assert comparison.best("mean_predictor") is None
    assert comparison.text().count("*: ") == 1


def test_one_result_has_no_differences(files):
    text = compare(files[:1]).text()
    assert "11.0 ± 1.0" in text
    assert "σ" not in text


def test_models_of_one_name_are_told_apart_by_their_files(save):
    paths = [save(semantic_result(1.0), "a.json"), save(semantic_result(2.0), "b.json")]
    assert compare(paths).labels == tuple(f"mask3d-vitt-tiny [{path}]" for path in paths)


def test_every_metric_of_a_protocol_has_a_name():
    from rgbd3d.evaluation.metrics import depth, ibims

    known = {"miou", "pixel_accuracy", "mean_accuracy", "box_ap", "box_ap50", "mask_ap75", "loss", "mean_predictor"}
    assert known | set(depth.METRICS) | set(ibims.IbimsMeter().values) <= NAMES.keys()


# ------------------------------------------------------------------------------------------------- what is refused


def test_protocols_are_not_mixed(files, save):
    other = save(semantic_result(1.0, protocol="nyuv2-semseg/13"), "c.json")
    with pytest.raises(ValueError, match=r"a\.json is of nyuv2-semseg/40, .*c\.json of nyuv2-semseg/13"):
        compare([*files, other])


def test_one_protocol_in_two_versions_is_not_mixed(files, save):
    other = save(semantic_result(1.0, facts={"labels": "nyu40", "view": "squeezed"}), "c.json")
    with pytest.raises(ValueError, match="its view differs: 'not stated' and 'squeezed'"):
        compare([*files, other])


def test_data_is_not_mixed(files, save):
    elsewhere = Data(source="elsewhere", split="val", frames=3, digest="f" * 64)
    other = save(semantic_result(1.0, data=elsewhere), "c.json")
    with pytest.raises(
        ValueError, match=r"on made-up \(val, 3 frames, digest 0{12}\) and .*c\.json on elsewhere .*f{12}"
    ):
        compare([*files, other])


def test_the_same_data_elsewhere_is_the_same_data(files, save):
    moved = replace(semantic_result(1.0).data, source="/mnt/copy")
    assert len(compare([*files, save(semantic_result(1.0, data=moved), "c.json")]).results) == 3


def test_other_metrics_are_refused(files, save):
    other = save(semantic_result(1.0, runs=({"miou": 1.0},)), "c.json")
    with pytest.raises(ValueError, match=r"has miou, pixel_accuracy, but .*c\.json has miou"):
        compare([*files, other])


def test_a_file_is_given_once(files):
    with pytest.raises(ValueError, match=r"a\.json is given twice"):
        compare([files[0], files[1], files[0].parent / "." / "a.json"])


def test_wrong_files(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        compare([*files, tmp_path / "nothing.json"])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ResultError, match=r"other\.json:1"):
        compare([*files, tmp_path / "other.json"])
    with pytest.raises(ValueError, match=r"written as FILE\.png"):
        compare(files, tmp_path / "plot.pdf")


# ---------------------------------------------------------------------------------------------------------- the plot


def test_files_are_written(files, tmp_path):
    comparison = compare(files, tmp_path / "new" / "plot.png")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"plot.png", "plot.md"}
    assert (tmp_path / "new" / "plot.md").read_text() == comparison.markdown()
    assert (tmp_path / "new" / "plot.png").read_bytes() == draw(comparison)


def test_the_plot_shows_every_model_and_metric():
    def picture(*results):
        labels = tuple(f"model {number}" for number in range(len(results)))
        return np.asarray(Image.open(io.BytesIO(draw(Comparison(labels, results)))).convert("RGB"))

    one, two = picture(semantic_result(1.0, 2.0)), picture(semantic_result(1.0, 2.0), semantic_result(3.0, 4.0))
    orange = np.array([255, 127, 14])  # of the second model
    assert not (one == orange).all(-1).any()
    assert (two == orange).all(-1).sum() > 20
    assert two.shape[0] > one.shape[0]
    single = picture(semantic_result(1.0))
    assert (single == np.array([31, 119, 180])).all(-1).any()  # a mark without a bar
