"""Raw videos of NYUv2: real frames of another Kinect in files as the toolbox describes them, against its formulas."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mutations import assert_survives
from nyuv2_files import real_frames, write_labeled

from rgbd3d.data.codec import DataError, decode_color
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.netpbm import read_netpbm
from rgbd3d.data.readers.nyuv2_camera import (
    COLOR_CAMERA,
    DEPTH_CAMERA,
    depth_to_color,
    disparity_to_metres,
    register_disparity,
    undistort_color,
)
from rgbd3d.data.readers.nyuv2_raw import NyuV2RawReader, synchronised
from rgbd3d.data.readers.sens import read_sens
from rgbd3d.data.schema import encode_sample


def pgm(values: np.ndarray, order: str = "<") -> bytes:
    """16 bits, by default in the order that the toolbox swaps."""
    height, width = values.shape
    return f"P5 {width} {height} 65535\n".encode() + values.astype(f"{order}u2").tobytes()


def ppm(pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    return f"P6\n{width} {height}\n255\n".encode() + pixels.tobytes()


@pytest.fixture(scope="module")
def recorded(rgbd_frames: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Colour (480, 640, 3) and disparity (480, 640) of a Kinect; its millimetres came from such disparities."""
    frames = []
    for header, frame in read_sens(rgbd_frames / "formats/constructed/redkitchen_6frames.sens"):
        color = decode_color(frame.color, "frame").permute(1, 2, 0).numpy()
        metres = frame.decode_depth(header)[0].numpy().astype(np.float64)
        with np.errstate(divide="ignore"):
            disparity = np.where(metres > 0, np.rint(1092.5 - 351.3 / metres), 2047)
        frames.append((color, disparity.astype(np.uint16)))
    return frames


def write_scene(folder: Path, recorded: list, order: str = "<") -> Path:
    """One scene: depth each 1/30 s, colour 12 ms later."""
    folder.mkdir(parents=True)
    for index, (color, disparity) in enumerate(recorded):
        time = 1294886362.665769 + index / 30
        (folder / f"d-{time:.6f}-{3143255701 + index}.pgm").write_bytes(pgm(disparity, order))
        (folder / f"r-{time + 0.012:.6f}-{3118787619 + index}.ppm").write_bytes(ppm(color))
        (folder / f"a-{time + 0.003:.6f}-{3164794231 + index}.dump").write_bytes(bytes(40))
    (folder / "INDEX.txt").write_text("\n".join(sorted(os.listdir(folder))))
    return folder


@pytest.fixture(scope="module")
def raw(recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_scene(folder / "bedroom_0004", recorded[:3])
    write_scene(folder / "office_0011", recorded[3:5])
    return folder


def rows_of(reader: NyuV2RawReader) -> list[dict]:
    return [row() for unit in reader.units() for row in reader.read(unit)]


def test_rows(raw: Path) -> None:
    reader = NyuV2RawReader(raw, Options(stride=1))
    assert [(unit.name, unit.split, unit.rows) for unit in reader.units()] == [
        ("bedroom_0004", "train", 3),
        ("office_0011", "train", 2),
    ]
    rows = rows_of(reader)
    assert [(row["scene_id"], row["frame_id"]) for row in rows] == [
        ("bedroom_0004", 0), ("bedroom_0004", 1), ("bedroom_0004", 2), ("office_0011", 0), ("office_0011", 1),
    ]  # fmt: skip
    for row in rows:
        encode_sample(row)
        assert row["image"].shape == (3, 480, 640)
        assert row["depth"].shape == (1, 480, 640)
        assert 0.6 < (row["depth"] > 0).float().mean() < 0.9
        torch.testing.assert_close(row["intrinsics"], COLOR_CAMERA.matrix)


def test_one_scene_and_the_default_stride(raw: Path) -> None:
    rows = rows_of(NyuV2RawReader(raw / "bedroom_0004"))
    assert [(row["scene_id"], row["frame_id"]) for row in rows] == [("bedroom_0004", 0)]


def test_both_byte_orders_are_read(recorded, raw: Path, tmp_path: Path) -> None:
    write_scene(tmp_path / "bedroom_0004", recorded[:3], order=">")
    for row, expected in zip(rows_of(NyuV2RawReader(tmp_path)), rows_of(NyuV2RawReader(raw)), strict=False):
        assert torch.equal(row["depth"], expected["depth"])


# ----------------------------------------------------------------------------------------------------------- geometry


def test_disparity_formula() -> None:
    raw_values = torch.tensor([0.0, 599, 600, 800, 1000, 1057, 1058, 1092, 1093, 2047])
    expected = [0, 0, 351.3 / 492.5, 351.3 / 292.5, 351.3 / 92.5, 351.3 / 35.5, 0, 0, 0, 0]
    torch.testing.assert_close(disparity_to_metres(raw_values), torch.tensor(expected))


def toolbox_projection(disparity: np.ndarray) -> np.ndarray:
    """project_depth_map.m step by step in double precision, after an undistortion by OpenCV."""
    cv2 = pytest.importorskip("cv2")
    matrix, coefficients = DEPTH_CAMERA.matrix.double().numpy(), np.array(DEPTH_CAMERA.distortion)
    maps = cv2.initUndistortRectifyMap(matrix, coefficients, None, matrix, (640, 480), cv2.CV_32FC1)
    undistorted = cv2.remap(disparity.astype(np.float32), *maps, cv2.INTER_NEAREST, borderValue=2047).astype(float)
    undistorted[undistorted < 600] = 2047
    z = 351.3 / (1092.5 - undistorted)
    z[(z < 0) | (z >= 10)] = 0
    column, row = np.meshgrid(np.arange(1, 641), np.arange(1, 481))
    points = np.stack([(column - matrix[0, 2]) * z / matrix[0, 0], (row - matrix[1, 2]) * z / matrix[1, 1], z])
    flat = -np.array([
        9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03,
        -5.0359919480810989e-03, 9.9998051861143999e-01, -3.6879781309514218e-03,
        -4.3196624923060242e-03, 3.6662365748484798e-03, 9.9998394948385538e-01,
    ])  # fmt: skip
    rotation = np.linalg.inv(flat.reshape(3, 3, order="F").T)
    shift = np.array([2.5031875059141302e-02, -2.9342312935846411e-04, 6.6238747008330102e-04])
    x, y, behind = rotation @ points.reshape(3, -1) + shift[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.round(x * 518.85790117450188 / behind + 325.58244941119034)
        y = np.round(y * 519.46961112127485 / behind + 253.73616633400465)
    good = np.flatnonzero((x > 0) & (x <= 640) & (y > 0) & (y <= 480) & (z.ravel() > 0))
    good = good[np.argsort(-z.ravel()[good], kind="stable")]
    result = np.zeros((480, 640))
    result[y[good].astype(int) - 1, x[good].astype(int) - 1] = z.ravel()[good]
    return result


def test_depth_is_registered_as_by_the_toolbox(recorded) -> None:
    """But for its pixels, which are counted from 1, and its depth, which is that of the other camera."""
    for _, disparity in recorded[::3]:
        ours, theirs = register_disparity(disparity)[0].numpy(), toolbox_projection(disparity)
        assert ((ours > 0) == (theirs > 0)).mean() > 0.97
        both = (ours > 0) & (theirs > 0)
        assert np.quantile(np.abs(ours - theirs)[both], 0.97) < 0.02
        shifted = np.roll(theirs, 2, axis=1)
        assert (np.abs(ours - theirs) < 0.02).mean() > (np.abs(ours - shifted) < 0.02).mean() + 0.02


def test_a_point_lands_where_the_matrices_say() -> None:
    point = np.array([0.3, -0.2, 2.0])
    x, y, z = depth_to_color().double().numpy()[:3] @ [*point, 1]
    k1, k2, p1, p2, k3 = DEPTH_CAMERA.distortion
    a, b = point[:2] / point[2]
    r2 = a * a + b * b
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    column = DEPTH_CAMERA.fx * (a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)) + DEPTH_CAMERA.cx
    row = DEPTH_CAMERA.fy * (b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b) + DEPTH_CAMERA.cy
    disparity = np.full((480, 640), 2047, np.uint16)
    disparity[round(row) - 1 : round(row) + 2, round(column) - 1 : round(column) + 2] = 1092.5 - 351.3 / 2
    seen = torch.nonzero(register_disparity(disparity)[0]).float().mean(0)
    expected = torch.tensor([COLOR_CAMERA.fy * y / z + COLOR_CAMERA.cy, COLOR_CAMERA.fx * x / z + COLOR_CAMERA.cx])
    assert (seen - expected).abs().max() < 1
    assert x < point[0]  # the colour camera is on the right of the depth camera


def test_colour_is_undistorted_as_by_opencv(recorded) -> None:
    cv2 = pytest.importorskip("cv2")
    color = recorded[0][0]
    matrix, coefficients = COLOR_CAMERA.matrix.double().numpy(), np.array(COLOR_CAMERA.distortion)
    maps = cv2.initUndistortRectifyMap(matrix, coefficients, None, matrix, (640, 480), cv2.CV_32FC1)
    expected = cv2.remap(color, *maps, cv2.INTER_LINEAR, borderValue=(255, 255, 255)).astype(int)
    ours = undistort_color(torch.from_numpy(color).permute(2, 0, 1)).permute(1, 2, 0).numpy().astype(int)
    apart = np.abs(ours - expected).max(-1)
    assert (apart <= 2).mean() > 0.99
    assert (apart[20:-20, 20:-20] <= 4).all()
    assert (ours[0, 0] == 255).all()
    assert np.abs(color.astype(int) - expected).max(-1)[20:-20, 20:-20].max() > 50  # there is something to undo


# ---------------------------------------------------------------------------------------------------- synchronisation


def test_pairs_are_those_of_the_nearest_times() -> None:
    rng = np.random.default_rng(0)
    depths = [(float(time), Path(f"d{time}")) for time in np.sort(rng.uniform(0, 20, 400))]
    colors = [(float(time), Path(f"r{time}")) for time in np.sort(rng.uniform(0, 20, 300))]
    colors = [(time, path) for time, path in colors if not 5 < time < 6]
    expected = []
    for time, path in depths:
        nearest, color = min(colors, key=lambda item: abs(item[0] - time))
        if abs(nearest - time) <= 0.1:
            expected.append((path, color))
    assert synchronised(depths[::-1], colors[::-1]) == expected
    assert 300 < len(expected) < 400
    assert synchronised(depths, []) == synchronised([], colors) == []


# -------------------------------------------------------------------------------------------------------------- split


def test_scenes_of_labelled_test_frames_are_for_testing(
    rgbd_frames: Path, recorded, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("nyuv2_files.SCENES", ("office_0011", "living_room_0001a", "bedroom_0004b"))
    write_labeled(tmp_path, {"images": real_frames(rgbd_frames)["images"][:, :, :8, :6]})
    for scene in ("bedroom_0004a", "bedroom_0005", "living_room_0001a", "office_0011"):
        write_scene(tmp_path / scene, recorded[:1])
    assert [(unit.name, unit.split) for unit in NyuV2RawReader(tmp_path).units()] == [
        ("bedroom_0005", "train"),
        ("living_room_0001a", "train"),
        ("office_0011", "train"),
        ("bedroom_0004a", "test"),
    ]
    (tmp_path / "splits.mat").unlink()
    with pytest.raises(DataError, match=r"splits\.mat: missing"):
        NyuV2RawReader(tmp_path).units()


# ---------------------------------------------------------------------------------------------------------- bad input


def test_folders_without_frames(tmp_path: Path, recorded) -> None:
    with pytest.raises(DataError, match=r"no d-\*\.pgm files"):
        NyuV2RawReader(tmp_path).units()
    scene = write_scene(tmp_path / "bedroom_0004", recorded[:1])
    for path in scene.glob("r-*"):
        path.unlink()
    with pytest.raises(DataError, match=r"bedroom_0004: no r-\*\.ppm within 0\.1 s"):
        NyuV2RawReader(tmp_path).units()
    (scene / "d-today-1.pgm").touch()
    with pytest.raises(DataError, match=r"d-today-1\.pgm: the name should be d-SECONDS-COUNT\.pgm"):
        NyuV2RawReader(tmp_path).units()


@pytest.mark.parametrize(
    ("which", "content", "message"),
    [
        ("d", b"", "not a binary PGM"),
        ("d", b"P2 640 480 65535\n1 2 3", "not a binary PGM"),
        ("d", b"P5 640 480 65535\n" + bytes(100), "100 bytes of pixels instead of 614400"),
        ("d", b"P5 640 480 65535\n" + bytes(614401), "614401 bytes of pixels instead of 614400"),
        ("d", b"P5 999999 999999 65535\n", "999999 x 999999 pixels"),
        ("d", b"P5 0 480 65535\n", "0 x 480 pixels"),
        ("d", b"P5 640 480 0\n" + bytes(614400), "pixels up to 0"),
        ("d", b"P5 640 480 255\n" + bytes(640 * 480), "uint8 .*; 16 bits of 640 x 480"),
        ("d", b"P5 320 240 65535\n" + bytes(2 * 320 * 240), r"\(240, 320\); 16 bits of 640 x 480"),
        ("d", b"P5 640 480 65535\n" + b"\xff" * 614400, "beyond 11 bits"),
        ("r", b"P5 640 480 255\n" + bytes(640 * 480), "8-bit colour of 640 x 480"),
        ("r", b"P6 640 480 65535\n" + bytes(6 * 640 * 480), "8-bit colour of 640 x 480"),
        ("r", None, "no such file"),
    ],
)
def test_unusable_files_are_refused(recorded, tmp_path: Path, which: str, content: bytes | None, message: str) -> None:
    scene = write_scene(tmp_path / "bedroom_0004", recorded[:1])
    reader = NyuV2RawReader(tmp_path)
    (unit,) = reader.units()
    (path,) = scene.glob(f"{which}-*")
    path.unlink() if content is None else path.write_bytes(content)
    for row in reader.read(unit):
        with pytest.raises(DataError, match=rf"bedroom_0004/{which}-.*{message}"):
            row()


def test_headers_with_comments_and_odd_largest_values(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 170
    (tmp_path / "a.pgm").write_bytes(b"P5\n# by a Kinect\n4 3\n#\n2047\n" + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_netpbm(tmp_path / "a.pgm"), pixels)


def small_scene(folder: Path) -> Path:
    (folder / "d.pgm").write_bytes(pgm(np.random.default_rng(0).integers(500, 2048, (30, 40))))
    return folder / "d.pgm"


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert_survives(small_scene(tmp_path), 100, read_netpbm, tmp_path / "work")


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert_survives(small_scene(tmp_path), 4000, read_netpbm, tmp_path / "work", seed=1)
