"""Decoding of clips, against OpenCV and against videos whose frames tell their number."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers import clips
from rgbd3d.data.readers.clips import Stretch, read_clips
from tests.data.readers.mutations import assert_survives
from tests.data.readers.videos import packets, shown_numbers, write_video

REAL = [
    "carphone_qcif.mp4",
    "kinetics400_arm_wrestling.mp4",
    "kinetics_pool_32f.mp4",
    "ucf101_ApplyEyeMakeup.avi",
    "ucf101_v_CricketShot_g04_c01_224.mp4",
]
FORMATS = ["small.avi", "small.mp4", "small.mkv", "small.mov", "small.webm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def avi(folder: Path) -> Path:
    return write_video(folder / "forty.avi", 40)


@pytest.fixture(scope="module")
def mp4(folder: Path) -> Path:
    return write_video(folder / "forty.mp4", 40)


def decode_all(path: Path) -> None:
    for clip in read_clips(path, 4, 2):
        clip.rgb()


# -------------------------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize("name", REAL)
def test_real_videos_are_decoded_as_by_opencv(rgbd_frames: Path, name: str):
    cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
    path = rgbd_frames / "video" / name
    capture = cv2.VideoCapture(str(path))
    reference = []
    while (read := capture.read())[0]:
        reference.append(read[1][:, :, ::-1])
    counted = 0
    for clip in read_clips(path, 16, 4):
        for number, frame in zip(clip.numbers, clip.rgb(), strict=True):
            difference = np.abs(frame.permute(1, 2, 0).numpy().astype(int) - reference[number])
            assert difference.mean() < 0.5
            assert difference.max() < 8
            counted += 1
    assert counted == 16 * max(1, (len(reference) + 3) // 64)


# ----------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("name", FORMATS)
def test_frames_of_a_clip(folder: Path, name: str):
    path = write_video(folder / name, 40, codec="libvpx-vp9" if name.endswith("webm") else None)
    found = list(read_clips(path, 4, 3))
    assert [clip.numbers for clip in found] == [(0, 3, 6, 9), (12, 15, 18, 21), (24, 27, 30, 33)]
    for clip in found:
        frames = clip.rgb()
        assert frames.shape == (4, 3, 48, 64)
        assert frames.dtype == torch.uint8
        assert shown_numbers(frames) == list(clip.numbers)


def test_a_last_window_needs_no_frames_behind_its_last_kept_one(avi: Path):
    assert [clip.numbers for clip in read_clips(avi, 4, 13)] == [(0, 13, 26, 39)]


def test_a_short_video_is_filled_up_with_its_last_kept_frame(avi: Path):
    (clip,) = read_clips(avi, 16, 4)
    assert clip.numbers == (0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 36, 36, 36, 36, 36, 36)
    assert shown_numbers(clip.rgb()) == list(clip.numbers)


def test_clips_stay_within_stretches(mp4: Path):
    stretches = (Stretch(2, 15, class_id=5), Stretch(15, 18, class_id=6), Stretch(30, 40, class_id=7))
    found = list(read_clips(mp4, 3, 2, stretches))
    assert [clip.numbers for clip in found] == [(2, 4, 6), (8, 10, 12), (15, 17, 17), (30, 32, 34)]
    assert [clip.stretch.class_id for clip in found] == [5, 5, 6, 7]
    assert all(shown_numbers(clip.rgb()) == list(clip.numbers) for clip in found)


def test_a_video_that_ends_between_two_stretches(mp4: Path):
    with pytest.raises(DataError, match=r"forty\.mp4 ends after frame 39, but frames 40 to 47 are wanted"):
        list(read_clips(mp4, 4, 1, (Stretch(0, 40), Stretch(40, 48))))


def test_a_stretch_that_the_video_does_not_have(mp4: Path):
    found = read_clips(mp4, 4, 1, (Stretch(32, 48),))
    assert next(found).numbers == (32, 33, 34, 35)
    assert next(found).numbers == (36, 37, 38, 39)
    with pytest.raises(DataError, match=r"forty\.mp4 ends after frame 39, but frames 32 to 47 are wanted"):
        next(found)


@pytest.mark.parametrize("stretches", [(Stretch(5, 5),), (Stretch(0, 9), Stretch(8, 12)), (Stretch(), Stretch(3, 4))])
def test_stretches_that_make_no_sense(mp4: Path, stretches):
    with pytest.raises(DataError, match="is empty, or begins before"):
        list(read_clips(mp4, 2, 1, stretches))


# ------------------------------------------------------------------------------------------------- colour and rotation


def test_full_range_video_keeps_its_contrast(folder: Path):
    """Motion JPEG stores 0-255; as a limited range 16-235 it would come out 16 % too contrasty."""
    (clip, *_) = read_clips(write_video(folder / "jpeg.avi", 40, codec="mjpeg"), 40, 1)
    assert shown_numbers(clip.rgb()) == list(range(40))


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_rotated_video_is_turned_upright(folder: Path, mp4: Path, matrix, turns):
    """Telephones write the rotation into the track header of an MP4 file, as a matrix of 16.16 fixed point numbers."""
    data = bytearray(mp4.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    assert data[start : start + 4] == (1 << 16).to_bytes(4, "big")
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[start + place : start + place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path = folder / f"rotated{turns}.mp4"
    path.write_bytes(data)
    upright, stored = next(read_clips(path, 2, 1)).rgb(), next(read_clips(mp4, 2, 1)).rgb()
    assert torch.equal(upright, torch.rot90(stored, turns, (2, 3)))
    cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
    reference = cv2.VideoCapture(str(path)).read()[1][:, :, ::-1].astype(int)
    assert np.abs(upright[0].permute(1, 2, 0).numpy() - reference).max() < 8


# --------------------------------------------------------------------------------------------------------- bad input


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_all(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0" * 5000, b"RIFF\xff\xff\xff\xffAVI LIST"])
@pytest.mark.parametrize("name", ["bad.avi", "bad.mp4"])
def test_no_video(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "unreadable|no video|without a single frame")


def test_missing_file(tmp_path: Path):
    refused(tmp_path / "gone.mp4", "no such file")


def test_mp4_without_its_index(tmp_path: Path, mp4: Path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(mp4.read_bytes().replace(b"moov", b"lost"))
    refused(path, "unreadable from here on")


@pytest.mark.parametrize("name", ["avi", "mp4"])
def test_damage_spoils_what_is_predicted_from_it_and_nothing_else(tmp_path: Path, request, name: str):
    """Key frames are 0, 12, 24, 36; in the MP4 file, frames in front of the damaged one are predicted from it too."""
    source: Path = request.getfixturevalue(name)
    data, place_of = bytearray(source.read_bytes()), packets(source)
    damaged = max(range(15, 21), key=lambda number: place_of[number][1])
    place, size = place_of[damaged]
    for byte in range(place + size // 4, place + size):
        data[byte] ^= 0xFF
    path = tmp_path / source.name
    path.write_bytes(data)
    originals = torch.cat([clip.rgb() for clip in read_clips(source, 1, 1)])
    refused, changed = set(), set()
    for clip in read_clips(path, 1, 1):
        (number,) = clip.numbers
        if not torch.equal(clips._to_rgb(clip.pictures[0], path), originals[number]):
            changed.add(number)
        try:
            clip.rgb()
        except DataError as error:
            refused.add(number)
            message = str(error)
    assert changed <= refused
    assert refused == set(range(min(refused), 24))
    assert 12 < min(refused) <= damaged
    assert message == f"{path} at frame 23 (0.92 s): damaged, or predicted from a damaged frame"


def test_an_unreadable_packet_ends_the_video_but_not_what_was_in_front_of_it(tmp_path: Path, avi: Path):
    data = bytearray(avi.read_bytes())
    place, size = packets(avi)[24]
    data[place : place + size] = b"\xff" * size
    path = tmp_path / "hole.avi"
    path.write_bytes(data)
    numbers = []
    with pytest.raises(DataError, match=r"hole\.avi after 24 frames: unreadable"):
        numbers.extend(clip.numbers[0] for clip in read_clips(path, 4, 1))


@pytest.mark.parametrize("name", ["list.mp4", "concat:forty.mp4"])
def test_no_other_file_is_opened(tmp_path: Path, mp4: Path, name: str):
    """Playlists make libavformat read files and addresses that they name."""
    (tmp_path / "forty.mp4").write_bytes(mp4.read_bytes())
    path = tmp_path / name
    path.write_text(f"ffconcat version 1.0\nfile '{tmp_path}/forty.mp4'\n")
    refused(path, "unreadable from here on")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{tmp_path}/forty.mp4\n#EXT-X-ENDLIST\n")
    refused(path, "unreadable from here on")


def test_a_picture_bomb(tmp_path: Path, folder: Path):
    """Few bytes that claim 65500 x 65500 pixels."""
    data = bytearray(write_video(folder / "bomb.avi", 3, codec="mjpeg").read_bytes())
    start = -1
    while (start := data.find(b"\xff\xc0\x00\x11\x08", start + 1)) >= 0:
        data[start + 5 : start + 9] = (65500).to_bytes(2, "big") * 2
    path = tmp_path / "bomb.avi"
    path.write_bytes(data)
    refused(path, "after 0 frames: unreadable from here on")


def test_a_header_with_too_large_pictures(tmp_path: Path, monkeypatch, mp4: Path):
    monkeypatch.setattr(clips, "MAX_PIXELS", 64 * 48 - 1)
    refused(mp4, "64 x 48 pixels, the limit is 3071")


def test_too_large_a_clip(monkeypatch, mp4: Path):
    monkeypatch.setattr(clips, "MAX_CLIP_BYTES", 2**15)
    refused(mp4, "4 frames of 64 x 48 exceeds 0 MiB: scale the video down")


def test_too_many_frames(monkeypatch, mp4: Path):
    monkeypatch.setattr(clips, "MAX_FRAMES", 39)
    refused(mp4, "claims 40 frames")


def test_more_frames_than_the_header_says(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(clips, "MAX_FRAMES", 39)
    refused(write_video(tmp_path / "uncounted.mkv", 40), "more than 39 frames")


def test_too_long(monkeypatch, mp4: Path):
    monkeypatch.setattr(clips, "MAX_HOURS", 1 / 3600)
    refused(mp4, "claims 40 frames in .* hours")


def test_an_unusual_codec(tmp_path: Path):
    refused(write_video(tmp_path / "flash.avi", 3, codec="flv"), "codec flv; convert the video to H.264")


def test_pictures_that_change_their_size(tmp_path: Path):
    """Motion JPEG, where each picture says how large it is."""
    small, large = (write_video(tmp_path / f"{n}.avi", 12, (n, 48), "mjpeg") for n in (64, 80))
    data, other = bytearray(small.read_bytes()), large.read_bytes()
    place, size = packets(small)[6]
    start, length = packets(large)[6]
    picture = other[start : start + length]
    assert length > size
    header = data.index(b"\xff\xc0\x00\x11\x08", place)
    data[header + 5 : header + 9] = picture[picture.index(b"\xff\xc0") + 5 :][:4]
    path = tmp_path / "mixed.avi"
    path.write_bytes(data)
    refused(path, "the size changes within the clip|damaged|unreadable")


@pytest.mark.parametrize("name", ["avi", "mp4"])
def test_mutated_files(tmp_path: Path, request, name: str):
    assert_survives(request.getfixturevalue(name), 100, decode_all, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["avi", "mp4"])
def test_many_mutated_files(tmp_path: Path, request, name: str, seed: int):
    assert_survives(request.getfixturevalue(name), 2000, decode_all, tmp_path, seed)
