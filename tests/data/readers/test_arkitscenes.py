"""ARKitScenes' layout filled with real frames and poses of another sensor."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation
from torch import Tensor

from rgbd3d.data.codec import DataError, decode_color, decode_depth
from rgbd3d.data.readers.arkitscenes import ARKitScenesReader
from rgbd3d.data.readers.base import Options, Row
from rgbd3d.geometry import crop_intrinsics, relative_pose, reproject, sample
from tests.data.readers.mutations import assert_survives

VIDEO = "41048190"
TOP, LEFT = 24, 32
SOURCE_STEP = 15
FRAMES = 5
START = 3414.799


@pytest.fixture(scope="session")
def segment(rgbd_frames: Path) -> Path:
    return rgbd_frames / "frames7" / "7scenes_redkitchen_c"


def source_poses(segment: Path) -> tuple[list[str], np.ndarray]:
    lines = [line.split() for line in (segment / "poses_color.txt").read_text().splitlines()]
    lines = lines[::SOURCE_STEP][:FRAMES]
    return [line[0] for line in lines], np.array([line[1:] for line in lines], float).reshape(-1, 4, 4)


def source_intrinsics(segment: Path) -> Tensor:
    return crop_intrinsics(torch.from_numpy(np.loadtxt(segment / "intrinsics_color.txt")).float(), TOP, LEFT)


def write_video(video: Path, frames: Path, segment: Path) -> None:
    """Ten frames per second with poses, three milliseconds off, and one between each two that has none."""
    for folder in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (frames / folder).mkdir(parents=True)
    names, poses = source_poses(segment)
    k = source_intrinsics(segment)
    lines = []
    for number, (name, pose) in enumerate(zip(names, poses, strict=True)):
        inverse = np.linalg.inv(pose)
        rotation = Rotation.from_matrix(inverse[:3, :3]).as_rotvec()
        time = START + 0.1 * number
        lines.append(" ".join(f"{value:.9f}" for value in (time + 0.003, *rotation, *inverse[:3, 3])))
        for shift in (0, 0.05):
            stem = f"{video.name}_{time + shift:.3f}"
            for source, target in ((f"color/{name}.jpg", "lowres_wide"), (f"depth_reg/{name}.png", "lowres_depth")):
                with Image.open(segment / source) as picture:
                    picture.crop((LEFT, TOP, LEFT + 256, TOP + 192)).save(
                        frames / target / f"{stem}.png", compress_level=1
                    )
            # The clocks of the published files differ by a millisecond now and then.
            clock = f"{time + shift + 0.001 * (number % 2):.3f}"
            pincam = frames / "lowres_wide_intrinsics" / f"{video.name}_{clock}.pincam"
            pincam.write_text(f"256 192 {k[0, 0]:.4f} {k[1, 1]:.4f} {k[0, 2]:.4f} {k[1, 2]:.4f}")
    (frames / "lowres_wide.traj").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, segment: Path) -> Path:
    root = tmp_path_factory.mktemp("arkitscenes")
    video = root / "Training" / VIDEO
    write_video(video, video, segment)
    return root


@pytest.fixture
def raw(tmp_path: Path, original: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "raw"))


def read(raw: Path, stride: int = 1) -> list[Row]:
    reader = ARKitScenesReader(raw, Options(stride=stride))
    return [row() for unit in reader.units() for row in reader.read(unit)]


def depth_disagreement(rows: list[Row], poses: list[Tensor]) -> float:
    """Median relative difference between the depth of each frame and that of its predecessor seen from there."""
    differences = []
    for (before, pose), (after, other) in itertools.pairwise(zip(rows, poses, strict=True)):
        depth, target = (decode_depth(row["depth"], "depth")[None] for row in (before, after))
        pixels, z = reproject(depth, before["intrinsics"][None], relative_pose(pose, other)[None])
        seen, inside = sample(target, pixels, mode="nearest")
        both = inside & (seen > 0)
        differences.append(((z - seen).abs() / seen)[both].median() if both.any() else torch.tensor(torch.inf))
    return float(torch.stack(differences).median())


# ------------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("nested", [False, True], ids=["raw", "3dod"])
def test_files_are_handed_on_untouched_with_their_cameras(raw: Path, segment: Path, nested: bool) -> None:
    frames = raw / "Training" / VIDEO
    if nested:
        frames.rename(raw / "aside")
        frames = frames / f"{VIDEO}_frames"
        frames.parent.mkdir()
        (raw / "aside").rename(frames)

    rows = read(raw)

    assert [row["frame_id"] for row in rows] == [3414799 + 100 * number for number in range(FRAMES)]
    for row, name, pose in zip(rows, *source_poses(segment), strict=True):
        expected = np.array(Image.open(segment / "depth_reg" / f"{name}.png"))[TOP : TOP + 192, LEFT : LEFT + 256]
        np.testing.assert_array_equal(decode_depth(row["depth"], "")[0], expected.astype(np.float32) / 1000)
        assert row["image"] == (frames / "lowres_wide" / f"{VIDEO}_{row['frame_id'] / 1000:.3f}.png").read_bytes()
        assert decode_color(row["image"], "").shape == (3, 192, 256)
        torch.testing.assert_close(row["intrinsics"], source_intrinsics(segment), atol=1e-3, rtol=0)
        np.testing.assert_allclose(row["pose"], pose, atol=2e-4)  # its rotation has that much rounding in the source
        assert row["scene_id"] == VIDEO


def test_poses_carry_one_frame_onto_the_next_and_inverted_ones_do_not(raw: Path) -> None:
    rows = read(raw)
    poses = [row["pose"] for row in rows]
    assert depth_disagreement(rows, poses) < 0.01
    assert depth_disagreement(rows, [torch.linalg.inv(pose) for pose in poses]) > 0.05


def test_every_kth_posed_frame_is_kept(raw: Path) -> None:
    assert [row["frame_id"] for row in read(raw, stride=4)] == [3414799, 3415199]
    assert len(ARKitScenesReader(raw).units()) == 1
    assert ARKitScenesReader(raw, Options(stride=2)).units()[0].rows == len(read(raw, stride=2)) == 3


def test_folders_are_the_official_split_and_videos_without_trajectory_are_left_out(raw: Path) -> None:
    for split, name in (("Validation", "41069021"), ("Training", "40753679"), ("Training", "47334522")):
        folder = raw / split / name
        folder.mkdir(parents=True)
        if name != "47334522":
            (folder / "lowres_wide.traj").write_text("0 0 0 0 0 0 0\n")
    units = ARKitScenesReader(raw).units()
    assert [(unit.split, unit.name) for unit in units] == [
        ("train", "40753679"),
        ("train", VIDEO),
        ("val", "41069021"),
    ]


def test_timestamps_are_ordered_as_numbers(raw: Path) -> None:
    video = raw / "Training" / VIDEO
    for folder in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        for path in sorted((video / folder).iterdir()):
            suffix = path.suffix
            time = float(path.stem.partition("_")[2]) - 3414.999 + 1000.099  # 999.899 and 1000.099, for example
            path.rename(path.with_name(f"{VIDEO}_{time:.3f}{suffix}"))
    table = np.loadtxt(video / "lowres_wide.traj")
    table[:, 0] += 1000.099 - 3414.999
    np.savetxt(video / "lowres_wide.traj", table[::-1])
    times = [row["frame_id"] for row in read(raw)]
    assert times == sorted(times)
    assert times[0] < 1000000 < times[-1]


# ----------------------------------------------------------------------------------------------------------- bad input


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}: no folder 'Training' or 'Validation'"):
        ARKitScenesReader(tmp_path).units()


def test_an_unreadable_trajectory_costs_one_video(raw: Path) -> None:
    bad = raw / "Training" / "40753679" / "lowres_wide.traj"
    bad.parent.mkdir()
    bad.write_bytes(b"\xff")
    reader = ARKitScenesReader(raw, Options(stride=1))
    first, second = reader.units()
    assert (first.name, first.rows) == ("40753679", 1)
    with pytest.raises(DataError, match=rf"{bad} at byte 0: not a text file"):
        next(reader.read(first))
    assert len(list(reader.read(second))) == FRAMES


def test_no_trajectory_at_all_is_refused(raw: Path) -> None:
    (raw / "Training" / VIDEO / "lowres_wide.traj").unlink()
    with pytest.raises(DataError, match=r"no video has a lowres_wide\.traj; download"):
        ARKitScenesReader(raw).units()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "7 numbers per line"),
        ("1 2 3 4 5 6\n", "7 numbers per line"),
        ("1 2 3 4 5 6 7\n1 2 3\n", "not a trajectory"),
        ("1 2 3 4 five 6 7\n", "not a trajectory"),
        ("1 0 0 0 0 0 0\nnan 0 0 0 0 0 0\n", "line 2 has no finite time"),
        ("1 0 0 0 0 0 0\n", "no timestamp has colour, depth and a pose within"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_damaged_trajectory_is_refused(raw: Path, text: str, message: str) -> None:
    (raw / "Training" / VIDEO / "lowres_wide.traj").write_text(text)
    with pytest.raises(DataError, match=f"{VIDEO}.*{message}"):
        read(raw)


@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
def test_a_bad_pose_costs_one_frame(raw: Path, value: str) -> None:
    path = raw / "Training" / VIDEO / "lowres_wide.traj"
    lines = path.read_text().splitlines()
    lines[1] = f"{lines[1].split()[0]} {value} 0 0 0 0 0"
    path.write_text("\n".join(lines))
    reader = ARKitScenesReader(raw, Options(stride=1))
    rows = list(reader.read(reader.units()[0]))
    with pytest.raises(DataError, match=r"lowres_wide\.traj, near 3414\.899 s: "):
        rows[1]()
    assert rows[0]()["frame_id"] == 3414799
    assert len(rows) == FRAMES


def test_missing_and_wrong_intrinsics_are_refused(raw: Path) -> None:
    pincam = raw / "Training" / VIDEO / "lowres_wide_intrinsics" / f"{VIDEO}_{START:.3f}.pincam"
    for text, message in (
        ("640 480 530 530 320 240", "640 x 480 pixels for images of 256 x 192"),
        ("256 192 212", "6 numbers are expected"),
        ("256 192 -212 212 128 96", "not a pinhole camera"),
        ("256 192 nan 212 128 96", "not a pinhole camera"),
    ):
        pincam.write_text(text)
        with pytest.raises(DataError, match=rf"{pincam.name}: .*{message}"):
            read(raw)
    pincam.unlink()
    with pytest.raises(DataError, match=rf"{pincam.name}: no such file"):
        read(raw)


def test_depth_pictures_for_looking_at_are_refused(raw: Path) -> None:
    path = raw / "Training" / VIDEO / "lowres_depth" / f"{VIDEO}_{START:.3f}.png"
    Image.new("L", (256, 192), 7).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: depth must be a 16-bit"):
        read(raw)


def test_a_missing_asset_is_named(raw: Path) -> None:
    (raw / "Training" / VIDEO / "lowres_depth").rename(raw / "elsewhere")
    with pytest.raises(DataError, match=r"lowres_depth: cannot be listed .*download this asset too"):
        read(raw)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["lowres_wide.traj", f"lowres_wide_intrinsics/{VIDEO}_{START:.3f}.pincam"])
def test_damaged_text_is_refused_or_read(raw: Path, tmp_path: Path, name: str, count: int) -> None:
    target = raw / "Training" / VIDEO / name
    undamaged = tmp_path / target.name
    target.rename(undamaged)
    assert_survives(undamaged, count, lambda _: read(raw, stride=FRAMES), target.parent)
