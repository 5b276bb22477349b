"""ScanNet's scenes: real vertices, labels and instances, with faces between neighbours in place of the real ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull, cKDTree

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.mesh import vertex_normals
from rgbd3d.data.readers.ply import read_ply
from rgbd3d.data.readers.scannet_scenes import ScanNetScenesReader
from tests.data.readers.frame_files import rows_of
from tests.data.readers.mutations import assert_survives
from tests.data.readers.scannet_files import TSV, write_lists, write_ply, write_scene, write_tsv

TRAIN, VAL, TEST = "scene0000_00", "scene0000_01", "scene0707_00"
EVERY = 9
pytestmark = pytest.mark.filterwarnings("ignore:.*all scenes of `scans` count as train")


def thinned(path: Path) -> dict[str, np.ndarray]:
    return {name: values[::EVERY] for name, values in read_ply(path)["vertex"].items()}


def triangles(vertex: dict[str, np.ndarray]) -> np.ndarray:
    """A face of each vertex and its two nearest neighbours, all seen from the same side."""
    points = np.stack([vertex[axis] for axis in "xyz"], -1)
    faces = cKDTree(points).query(points, 3)[1].astype(np.int32)
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    away = np.cross(b - a, c - a) @ [1, 2, 3] < 0
    faces[away] = faces[away, ::-1]
    return faces


@pytest.fixture(scope="module")
def vertices(rgbd_frames: Path) -> dict[str, dict[str, np.ndarray]]:
    clouds = rgbd_frames / "clouds"
    return {name: thinned(clouds / f"scannet_{name}_vh_clean_2_vertices.ply") for name in (TRAIN, VAL)}


@pytest.fixture(scope="module")
def whole_release(vertices: dict[str, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("scannet")
    for name, vertex in vertices.items():
        write_scene(raw / "scans" / name, vertex, triangles(vertex))
    vertex = vertices[VAL]
    write_scene(raw / "scans_test" / TEST, vertex, triangles(vertex), labelled=False)
    write_tsv(raw)
    write_lists(raw, [TRAIN], [VAL])
    return raw


@pytest.fixture
def release(whole_release: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(whole_release, tmp_path / "raw")
    return tmp_path / "raw"


def read_scene(raw: Path, index: int = 0, space: str | None = None) -> dict:
    reader = ScanNetScenesReader(raw, Options(label_space=space))
    (row,) = rows_of(reader, reader.units()[index])
    return dict(row)


def reference_ids(label: np.ndarray, golden: Path) -> np.ndarray:
    maps = json.loads((golden / "label_maps.json").read_text())
    return np.array(maps["nyu40_to_scannet20_train_id_with_void0"])[label].astype(int)


def test_units_are_the_scenes_of_the_official_splits(whole_release: Path) -> None:
    units = ScanNetScenesReader(whole_release).units()
    assert [(unit.name, unit.split, unit.rows) for unit in units] == [
        (TRAIN, "train", 1),
        (VAL, "val", 1),
        (TEST, "test", 1),
    ]


@pytest.mark.parametrize("index", [0, 1])
def test_points_are_those_of_the_mesh(
    whole_release: Path, vertices: dict[str, dict[str, np.ndarray]], golden: Path, index: int
) -> None:
    name = (TRAIN, VAL)[index]
    row, vertex = read_scene(whole_release, index), vertices[name]
    assert row["scene_id"] == name
    for column, axis in enumerate("xyz"):
        np.testing.assert_array_equal(row["position"][:, column].numpy(), vertex[axis])
    for column, channel in enumerate(("red", "green", "blue")):
        np.testing.assert_array_equal(row["color"][:, column].numpy(), vertex[channel])
    with_void = reference_ids(vertex["label"], golden)
    np.testing.assert_array_equal(row["semantic"].numpy(), np.where(with_void == 0, 255, with_void - 1))
    np.testing.assert_array_equal(row["instance"].numpy(), vertex["instance"])


def test_labels_may_be_nyu40(whole_release: Path, vertices: dict[str, dict[str, np.ndarray]]) -> None:
    label = vertices[TRAIN]["label"].astype(int)
    np.testing.assert_array_equal(
        read_scene(whole_release, space="nyu40")["semantic"].numpy(), np.where(label == 0, 255, label - 1)
    )


def test_labels_may_be_scannet200(release: Path, vertices: dict[str, dict[str, np.ndarray]]) -> None:
    """Ids of the official list of 200: 3 floor, 11 bed, its 3rd and 11th; the 2000 is none of them."""
    text = "id\traw_category\tnyu40id\n3\tfloor\t2\n11\tbed\t4\n2000\twall\t1\n"
    (release / TSV).write_text(text)
    label = vertices[TRAIN]["label"]
    row = read_scene(release, space="scannet200")
    np.testing.assert_array_equal(row["semantic"].numpy(), np.select([label == 2, label == 4], [2, 10], 255))
    np.testing.assert_array_equal(row["instance"].numpy(), vertices[TRAIN]["instance"])


def test_the_first_line_of_a_category_counts(release: Path, vertices: dict[str, dict[str, np.ndarray]]) -> None:
    (release / TSV).write_text("id\traw_category\tnyu40id\n11\tbed\t4\n12\tbed\t2\n")
    bed = vertices[TRAIN]["label"] == 4
    assert set(read_scene(release)["semantic"].numpy()[bed].tolist()) == {3}


def test_test_scenes_have_no_labels(whole_release: Path) -> None:
    assert set(read_scene(whole_release, 2)) == {"position", "color", "normal", "scene_id"}


def test_labels_that_are_not_there_cannot_be_asked_for(release: Path) -> None:
    shutil.rmtree(release / "scans")
    assert ScanNetScenesReader(release).label_space is None
    with pytest.raises(DataError, match="nyu40 labels were asked for, but no scene has any"):
        ScanNetScenesReader(release, Options(label_space="nyu40"))


def without_json(release: Path, labels: np.ndarray, vertex: dict[str, np.ndarray]) -> Path:
    for folder in (release / "scans").iterdir():
        for path in folder.glob("*.json"):
            path.unlink()
        mesh = {axis: vertex[axis] for axis in "xyz"} | {"label": labels}
        write_ply(folder / f"{folder.name}_vh_clean_2.labels.ply", mesh, triangles(vertex))
    return release


def test_labels_of_a_mesh_do_in_place_of_objects(release: Path, vertices: dict[str, dict[str, np.ndarray]]) -> None:
    vertex = vertices[TRAIN]
    expected = read_scene(release)["semantic"]
    (release / TSV).unlink()
    row = read_scene(without_json(release, vertex["label"].astype(np.uint16), vertex))
    np.testing.assert_array_equal(row["semantic"].numpy(), expected.numpy())
    assert "instance" not in row
    with pytest.raises(DataError, match=r"scannet200 needs .*segs.json"):
        ScanNetScenesReader(release, Options(label_space="scannet200"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda label: label[:-1], "no integer property 'label' for"),
        (lambda label: label.astype(np.float32), "no integer property 'label' for"),
        (lambda label: label + np.uint8(100), "labels from 100 to 140"),
    ],
)
def test_unusable_labels_of_a_mesh_are_refused(release: Path, vertices: dict, labels, message: str) -> None:
    vertex = vertices[TRAIN]
    changed = labels(vertex["label"])
    shortened = {name: values[: len(changed)] for name, values in vertex.items()}
    with pytest.raises(DataError, match=f"scene0000_00_vh_clean_2.labels.ply: {message}"):
        read_scene(without_json(release, changed, shortened))


# ----------------------------------------------------------------------------------------------------------- normals


def test_normals_are_of_unit_length_and_on_the_side_of_the_faces(whole_release: Path) -> None:
    normal = read_scene(whole_release)["normal"].numpy()
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
    assert (normal @ [1, 2, 3]).min() > 0


def test_normals_weigh_faces_by_area() -> None:
    """One vertex between a face of area 1/2 that looks along z and one of area 1 that looks along x."""
    position = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2], [9, 9, 9]], np.float32)
    normals = vertex_normals(position, np.array([[0, 1, 2], [0, 2, 3]]))
    np.testing.assert_allclose(normals[0], np.array([2, 0, 1]) / np.sqrt(5), atol=1e-6)
    np.testing.assert_allclose(normals[[1, 3]], [[0, 0, 1], [1, 0, 0]], atol=1e-6)
    assert normals[4].tolist() == [0, 0, 0], "no face"


def test_normals_of_a_sphere_point_outwards() -> None:
    rng = np.random.default_rng(0)
    sphere = rng.normal(size=(4000, 3))
    sphere /= np.linalg.norm(sphere, axis=-1, keepdims=True)
    faces = ConvexHull(sphere).simplices.astype(np.int64)
    a, b, c = (sphere[faces[:, corner]] for corner in range(3))
    inwards = (np.cross(b - a, c - a) * a).sum(-1) < 0
    faces[inwards] = faces[inwards, ::-1]
    normals = vertex_normals(sphere.astype(np.float32), faces)
    assert (normals * sphere).sum(-1).min() > 0.99


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        ("_vh_clean_2.0.010000.segs.json", "{", "not a JSON file"),
        ("_vh_clean_2.0.010000.segs.json", "[" * 100_000, "not a JSON file"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": ' + "9" * 5000 + "}", "integer"),
        ("_vh_clean_2.0.010000.segs.json", "{}", "no list 'segIndices'"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, 2]}', r"2 entries, \d+ integers are expected"),
        ("_vh_clean_2.0.010000.segs.json", None, "no such file"),
        (".aggregation.json", "[]", "no list 'segGroups'"),
        (".aggregation.json", '{"segGroups": [1]}', "entry 0 of segGroups has no valid objectId"),
        (".aggregation.json", '{"segGroups": [{"objectId": -1, "label": "wall", "segments": []}]}', "entry 0"),
        (".aggregation.json", '{"segGroups": [{"objectId": 1, "label": "wall", "segments": [0.5]}]}', "entry 0"),
        (".aggregation.json", '{"segGroups": [{"objectId": 1, "label": 7, "segments": [5]}]}', "entry 0"),
        ("_vh_clean_2.ply", "ply", "not a PLY file"),
    ],
)
def test_unusable_files_are_refused(release: Path, ending: str, content: str | None, message: str) -> None:
    path = release / "scans" / TRAIN / f"{TRAIN}{ending}"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=f"(?s){path.name}.*{message}"):
        read_scene(release)


def test_segments_of_another_type_are_refused(release: Path) -> None:
    path = release / "scans" / TRAIN / f"{TRAIN}_vh_clean_2.0.010000.segs.json"
    content = json.loads(path.read_text())
    content["segIndices"][7] = 2**70
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"segs.json: segIndices has \d+ entries, \d+ integers are expected"):
        read_scene(release)


@pytest.mark.parametrize(
    ("changes", "faces", "message"),
    [
        ({"x": np.array([np.nan] * 3, np.float32)}, [[0, 1, 2]], "NaN or infinite"),
        ({"red": np.zeros(3, np.float32)}, [[0, 1, 2]], "colours that are float32"),
        ({}, [[0, 1, 3]], "faces name vertices 0 to 3, there are 3"),
        ({}, [[0, 1, -1]], "faces name vertices -1 to 1, there are 3"),
        ({}, None, "no faces to compute normals from"),
    ],
)
def test_unusable_meshes_are_refused(tmp_path: Path, changes: dict, faces: list | None, message: str) -> None:
    vertex = {axis: np.zeros(3, np.float32) for axis in "xyz"}
    vertex |= {channel: np.zeros(3, np.uint8) for channel in ("red", "green", "blue")}
    path = tmp_path / TRAIN / f"{TRAIN}_vh_clean_2.ply"
    write_ply(path, vertex | changes, None if faces is None else np.array(faces, np.int32))
    with pytest.raises(DataError, match=f"{path.name}: .*{message}"):
        read_scene(tmp_path)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no scene with a mesh sceneNNNN_NN_vh_clean_2.ply"):
        ScanNetScenesReader(tmp_path)


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_meshes_are_read_or_refused(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    vertex = {axis: rng.random(100, np.float32) for axis in "xyz"}
    vertex |= {channel: rng.integers(0, 256, 100, np.uint8) for channel in ("red", "green", "blue")}
    original = tmp_path / f"{TRAIN}_vh_clean_2.ply"
    write_ply(original, vertex, rng.integers(0, 100, (150, 3)).astype(np.int32))
    work = tmp_path / "scans" / TRAIN
    work.mkdir(parents=True)
    assert_survives(original, count, lambda path: read_scene(path.parents[1]), work, seed=count)


@pytest.mark.parametrize("ending", ["_vh_clean_2.0.010000.segs.json", ".aggregation.json"])
@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_annotations_are_read_or_refused(
    vertices: dict[str, dict[str, np.ndarray]], tmp_path: Path, ending: str, count: int
) -> None:
    vertex = {name: values[::100] for name, values in vertices[TRAIN].items()}
    work = tmp_path / "scans" / TRAIN
    write_scene(work, vertex, triangles(vertex))
    write_tsv(tmp_path)
    original = tmp_path / f"{TRAIN}{ending}"
    shutil.move(work / original.name, original)
    (work / f"{TRAIN}.aggregation.json").touch()
    assert_survives(original, count, lambda path: read_scene(path.parents[2]), work, seed=count)
