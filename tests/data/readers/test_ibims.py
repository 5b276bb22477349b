"""iBims-1: real pixels in structs as the authors' evaluation reads them; its plane metric must come out of the rows."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from mutations import assert_survives
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.ibims import IbimsReader, split_planes
from rgbd3d.data.schema import decode_row, encode_sample
from rgbd3d.evaluation.metrics import IbimsMeter

CALIB = np.array([[560.0, 0, 0], [0, 558.0, 0], [321.0, 242.0, 1]])
"""Transposed, pixels from 1."""
# Columns 5 to 7 are the normal: right, forward, up.
WALLS = np.array([[9, 9, 9, 9, 0.6, -0.8, 0, 2], [9, 9, 9, 9, 0, -1, 0, 3]])
FLOOR = np.array([[9, 9, 9, 9, 0, -0.28, 0.96, 1]])
TABLE = np.array([[9, 9, 9, 9, 0, 0, 1, 0.5]])


def real_fields(rgbd: Path, number: int) -> dict[str, np.ndarray]:
    """Colour and depth of a real room; masks, planes and edges are made up of its labels."""
    folder = rgbd / "labelled/nyuv2_train795"
    rgb = np.array(Image.open(folder / f"color/{number:04d}.jpg").convert("RGB").resize((640, 480)))
    depth, labels = (
        np.array(Image.open(folder / f"{name}/{number:04d}.png")).repeat(2, 0).repeat(2, 1)
        for name in ("depth", "label40")
    )
    left = np.arange(640) < 320
    wall, floor = (labels == 1) * np.where(left, 1, 2), (labels == 2) * 1
    edges = np.zeros((480, 640), "u1")
    edges[1:] = labels[1:] != labels[:-1]
    invalid, transparent = np.ones((480, 640), "u1"), np.ones((480, 640), "u1")
    invalid[:40], transparent[:, :30] = 0, 0
    return {
        "rgb": rgb,
        "depth": depth / 1000.0,
        "calib": CALIB,
        "edges": edges,
        "mask_invalid": invalid,
        "mask_transp": transparent,
        "mask_wall": wall.astype("u1"),
        "mask_wall_paras": WALLS,
        "mask_floor": floor.astype("u1"),
        "mask_floor_paras": FLOOR,
        "mask_table": np.isin(labels, (7, 14)).astype("u1"),
        "mask_table_paras": TABLE if np.isin(labels, (7, 14)).any() else np.zeros((0, 0)),
    }


def write_image(path: Path, fields: dict[str, np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"data": fields}, do_compression=True)
    return path


@pytest.fixture(scope="module")
def fields(rgbd_frames: Path) -> dict[str, np.ndarray]:
    return real_fields(rgbd_frames, 19)


@pytest.fixture(scope="module")
def raw(rgbd_frames: Path, fields, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ibims")
    write_image(folder / "ibims1_core_mat/livingroom_02.mat", fields)
    write_image(folder / "ibims1_core_mat/corridor_01.mat", real_fields(rgbd_frames, 494))
    (folder / "imagelist.txt").write_text("livingroom_02\ncorridor_01\n")
    return folder


def rows_of(reader: IbimsReader) -> list[dict]:
    return [row() for unit in reader.units() for row in reader.read(unit)]


def test_rows(raw: Path, fields) -> None:
    reader = IbimsReader(raw)
    (unit,) = reader.units()
    assert (unit.name, unit.split, unit.rows, unit.source) == ("images-0000000", "test", 2, "ibims1_core_mat")
    rows = rows_of(reader)
    assert [(row["scene_id"], row["frame_id"]) for row in rows] == [("livingroom_02", 0), ("corridor_01", 1)]
    row = rows[0]
    encode_sample(row)
    np.testing.assert_array_equal(row["image"].permute(1, 2, 0), fields["rgb"])
    np.testing.assert_array_equal(row["depth_edges"], fields["edges"])
    measured = fields["depth"] * fields["mask_invalid"] * fields["mask_transp"]
    np.testing.assert_allclose(row["depth"][0], measured, rtol=1e-6)
    assert not row["depth"][0, :40].any()
    assert not row["depth"][0, :, :30].any()
    np.testing.assert_array_equal(row["intrinsics"], [[560, 0, 320], [0, 558, 241], [0, 0, 1]])


def test_planes(raw: Path, fields) -> None:
    planes = split_planes(rows_of(IbimsReader(raw))[0]["planes"])
    assert list(planes) == [("wall", 1), ("wall", 2), ("floor", 1), ("table", 1)]
    for (kind, number), mask in planes.items():
        np.testing.assert_array_equal(mask, fields[f"mask_{kind}"] == number)


def test_normals_are_turned_to_the_axes_of_samples(raw: Path) -> None:
    """Right, forward and up become right, down and forward."""
    row = rows_of(IbimsReader(raw))[0]
    expected = [[1, 0.6, 0, -0.8], [2, 0, 0, -1], [65, 0, -0.96, -0.28], [129, 0, -1, 0]]
    np.testing.assert_allclose(row["plane_normals"], expected, atol=1e-6)
    assert row["plane_normals"][:, 0].tolist() == [code for code in row["planes"].unique().tolist() if code]


def test_frames_without_planes_and_planes_without_pixels(fields, tmp_path: Path) -> None:
    none = np.zeros((480, 640), "u1")
    bare = {**fields, "mask_wall": none, "mask_floor": none, "mask_table": none, "mask_table_paras": np.zeros((0, 0))}
    write_image(tmp_path / "a.mat", bare)
    (tmp_path / "imagelist.txt").write_text("a")
    (row,) = rows_of(IbimsReader(tmp_path))
    assert row["plane_normals"].shape == (0, 4)
    assert decode_row(encode_sample(row))["plane_normals"].shape == (0, 4)


def test_where_masks_overlap_the_table_wins(fields, tmp_path: Path) -> None:
    overlapping = {
        **fields,
        "mask_table": np.eye(480, 640, dtype="u1") * 3,
        "mask_table_paras": TABLE.repeat(3, 0),
    }
    write_image(tmp_path / "a.mat", overlapping)
    (tmp_path / "imagelist.txt").write_text("a")
    (row,) = rows_of(IbimsReader(tmp_path))
    assert (row["planes"].diagonal() == 64 * 2 + 3).all()


def test_logical_masks_and_other_number_types(fields, tmp_path: Path) -> None:
    """MATLAB's masks may be logical or double, its depth single."""
    other = {
        **fields,
        "mask_invalid": fields["mask_invalid"].astype(bool),
        "mask_wall": fields["mask_wall"].astype(float),
    }
    write_image(tmp_path / "a.mat", {**other, "depth": fields["depth"].astype("f4")})
    write_image(tmp_path / "b.mat", fields)
    (tmp_path / "imagelist.txt").write_text("a.mat\nb.mat\n")
    first, second = rows_of(IbimsReader(tmp_path))
    for name in ("image", "depth", "depth_edges", "planes", "plane_normals", "intrinsics"):
        assert torch.equal(first[name], second[name])


def test_errors_come_out_as_by_the_evaluation_script(golden: Path, tmp_path: Path) -> None:
    """Reference errors, from what the rows carry: nothing that they need is lost on the way."""
    pytest.importorskip("skimage")
    given = np.load(golden / "ibims_metrics/inputs.npz")
    expected = json.loads((golden / "ibims_metrics/meta.json").read_text())["expected"]
    fields = {
        "rgb": np.zeros((480, 640, 3), "u1"),
        "depth": given["gt"],
        "edges": given["edges"],
        "calib": given["calib"],
    }
    fields |= {"mask_invalid": given["mask_invalid"], "mask_transp": np.ones((480, 640), "u1")}
    for kind in ("wall", "floor", "table"):
        fields |= {f"mask_{kind}": given[f"mask_{kind}"], f"mask_{kind}_paras": given[f"paras_{kind}"]}
    write_image(tmp_path / "a.mat", fields)
    (tmp_path / "imagelist.txt").write_text("a")
    (row,) = rows_of(IbimsReader(tmp_path))

    meter = IbimsMeter()
    meter.update(torch.from_numpy(given["pred"])[None], row)
    for ours, theirs in (("pe_plan", "fla"), ("pe_orie", "ori")):
        planes = [value for kind in ("wall", "floor", "table") for value in expected[f"pe_{theirs}_{kind}"]]
        np.testing.assert_allclose(meter.values[ours], planes, rtol=1e-3)
    for ours, theirs in (("abs_rel", "abs_rel"), ("dbe_acc", "dbe_acc_thr0.15_0.30")):
        np.testing.assert_allclose(meter.values[ours], expected[theirs], rtol=1e-4)


def test_stride(raw: Path) -> None:
    assert [row["frame_id"] for row in rows_of(IbimsReader(raw, Options(stride=2)))] == [0]


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("", "0 different names in 0 lines"),
        ("corridor_01\ncorridor_01\n", "1 different names in 2 lines"),
        ("corridor_01\nkitchen_01\n", r"kitchen_01\.mat: missing, but .*imagelist\.txt lists it"),
        ("../../secret\n", "not a plain name"),
        (None, r"imagelist\.txt: no such file"),
    ],
)
def test_lists_that_do_not_fit(raw: Path, tmp_path: Path, listed: str | None, message: str) -> None:
    (tmp_path / "ibims1_core_mat").symlink_to(raw / "ibims1_core_mat")
    if listed is not None:
        (tmp_path / "imagelist.txt").write_text(listed)
    with pytest.raises(DataError, match=message):
        IbimsReader(tmp_path).units()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", None, "no field 'depth'"),
        ("mask_table", None, "no field 'mask_table'"),
        ("depth", np.full((480, 640), 2000.0), "metres are expected"),
        ("depth", np.full((480, 640), -1.0), "metres are expected"),
        ("depth", np.full((480, 640), np.nan), "finite"),
        ("depth", np.ones((480, 320)), r"\(480, 320\); finite \(480, 640\)"),
        ("rgb", np.zeros((480, 640, 3)), "float64 instead of uint8"),
        ("edges", np.full((480, 640), 255, "u1"), "other than 0 and 1"),
        ("calib", CALIB.T, "not a transposed camera matrix"),
        ("calib", np.zeros((3, 3)) + np.diag([0, 0, 1]), "not a pinhole camera"),
        ("mask_wall", np.full((480, 640), 64, "u1"), "no numbers of up to 63 planes"),
        ("mask_wall", np.full((480, 640), 0.5), "no numbers of up to 63 planes"),
        ("mask_wall_paras", None, "no field 'mask_wall_paras'"),
        ("mask_wall_paras", WALLS[:1], r"\(1, 8\); 8 numbers are expected for each plane, and there is a plane 2"),
        ("mask_wall_paras", WALLS[:, :4], r"\(2, 4\); 8 numbers are expected for each plane"),
        ("mask_floor_paras", 2 * FLOOR, "the normal of plane 1 has length 2"),
        ("mask_floor_paras", np.nan * FLOOR, "the normal of plane 1 has length nan"),
        ("mask_floor_paras", "a plane", "numbers are expected"),
        ("rgb", "a picture", "field 'rgb'"),
    ],
)
def test_fields_that_do_not_fit(fields, tmp_path: Path, name: str, value: object, message: str) -> None:
    changed = {key: other for key, other in fields.items() if key != name} | ({} if value is None else {name: value})
    write_image(tmp_path / "a.mat", changed)
    (tmp_path / "imagelist.txt").write_text("a")
    (unit,) = IbimsReader(tmp_path).units()
    (row,) = IbimsReader(tmp_path).read(unit)
    with pytest.raises(DataError, match=rf"a\.mat.*{message}"):
        row()


def test_files_without_the_struct(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"data": np.eye(3)})
    scipy.io.savemat(tmp_path / "b.mat", {"other": np.eye(3)})
    (tmp_path / "imagelist.txt").write_text("a\nb\n")
    reader = IbimsReader(tmp_path)
    (unit,) = reader.units()
    for row, message in zip(
        reader.read(unit), (r"a\.mat: `data` is no struct", r"b\.mat: no variable 'data'"), strict=True
    ):
        with pytest.raises(DataError, match=message):
            row()


def read_copy(path: Path) -> None:
    (path.parent / "imagelist.txt").write_text(path.stem)
    rows_of(IbimsReader(path.parent))


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(fields, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    original = write_image(tmp_path / "livingroom_02.mat", fields)
    assert_survives(original, 2000, read_copy, tmp_path / "work", seed=1)
