"""WebDataset shards: tar files of real pictures, written by Python's own `tarfile` in its three formats."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from mutations import assert_survives
from pictures import bomb, noise, put

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.webdataset import WebDatasetReader
from rgbd3d.data.schema import encode_sample

FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
Members = list[tuple[str | tarfile.TarInfo, bytes]]


def shard(members: Members, kind: str = "pax") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind]) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pairs(count: int) -> Members:
    """Samples with a picture, a class and something else."""
    return [
        (f"./n0/{number:04d}.{kind}", data)
        for number in range(count)
        for kind, data in (("jpg", noise(number)), ("cls", str(number % 3).encode()), ("json", b"{}"))
    ]


def rows(raw: Path, **options: Any) -> list[Any]:
    reader = WebDatasetReader(raw, Options(**options))
    return [lazy() for unit in reader.units() for lazy in reader.read(unit)]


@pytest.mark.parametrize("kind", FORMATS)
def test_real_pictures(tmp_path: Path, rgbd_frames: Path, kind: str):
    files = sorted((rgbd_frames / "labelled/nyuv2_train795/color").glob("*.jpg"))[:6]
    long = "a" * (90 if kind == "ustar" else 300)
    members: Members = [
        member
        for index, path in enumerate(files)
        for member in ((f"{long}/{path.stem}.jpg", path.read_bytes()), (f"{long}/{path.stem}.cls", b"%d\n" % index))
    ]
    put(tmp_path / "nyu-train-0000.tar", shard(members, kind))
    found = rows(tmp_path)
    assert [row["image"] for row in found] == [path.read_bytes() for path in files]
    assert [(row["scene_id"], row["frame_id"], row["class_id"]) for row in found] == [
        ("nyu-train-0000", index, index) for index in range(6)
    ]
    assert [row["frame_id"] for row in rows(tmp_path, stride=4)] == [0, 4]
    encode_sample(found[0])


def test_splits(tmp_path: Path):
    names = [
        "imagenet1k-validation-00.tar",
        "imagenet1k-train-01.tar",
        "imagenet1k-train-00.tar",
        "test/0.tar",
        "x.tar",
    ]
    for name in names:
        put(tmp_path / name, shard(pairs(1)))
    units = WebDatasetReader(tmp_path).units()
    assert [(unit.name, unit.split) for unit in units] == [
        ("imagenet1k-train-00", "train"),
        ("imagenet1k-train-01", "train"),
        ("x", "train"),
        ("imagenet1k-validation-00", "val"),
        ("test-0", "test"),
    ]
    (unit,) = WebDatasetReader(tmp_path / "test/0.tar").units()
    assert (unit.name, unit.split) == ("0", "train")
    assert len(rows(tmp_path / "test/0.tar")) == 1


def test_groups(tmp_path: Path):
    members: Members = [
        ("a.json", b"{}"),
        ("b.seg.png", noise(1, "PNG")),  # not the picture of b: its extension is "seg.png"
        ("b.PNG", noise(2, "PNG")),
        ("c/b.jpg", noise(3)),
        ("d.cls", b"7"),
        ("d.jpg", noise(4)),
    ]
    folder = tarfile.TarInfo("c")
    folder.type = tarfile.DIRTYPE
    put(tmp_path / "x.tar", shard([(folder, b""), *members]))
    found = rows(tmp_path)
    assert [(row["image"], row.get("class_id")) for row in found] == [
        (noise(2, "PNG"), None),
        (noise(3), None),
        (noise(4), 7),
    ]


# ----------------------------------------------------------------------------------------------------------- bad input


def test_nothing_there(tmp_path: Path):
    put(tmp_path / "x.tar.gz", b"")
    with pytest.raises(DataError, match=r"no \.tar files in it; compressed shards \(\.tar\.gz\) have to be unpacked"):
        WebDatasetReader(tmp_path).units()


@pytest.mark.parametrize("name", ["../../etc/cron.d/x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a\n.jpg"])
def test_hostile_names(tmp_path: Path, name: str):
    put(tmp_path / "x.tar", shard([*pairs(1), (name, noise(0))]))
    with pytest.raises(DataError, match=r"x\.tar at byte \d+: the name '.*' of a member is not one of a data set"):
        rows(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file(tmp_path: Path, kind: bytes):
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    put(tmp_path / "x.tar", shard([(info, b""), *pairs(1)]))
    with pytest.raises(DataError, match=r"x\.tar at byte \d+: 'a\.jpg' before this is no plain file"):
        rows(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.jpg", noise(0)), ("a.cls", b"cat")], r"sample 0 \('a\.jpg'\): its class is b'cat'"),
        ([("a.jpg", noise(0)), ("a.cls", b"-1")], r"its class is b'-1'"),
        ([("a.jpg", noise(0)), ("a.cls", b"9" * 12)], r"its class is b'9+'"),
        ([("a.jpg", noise(0)), ("a.cls", b"9" * 99)], r"has 99 bytes, at most 32"),
        ([("a.jpg", noise(0)), ("a.png", noise(0))], "two members 'image' of the sample '/a'"),
        ([("a.jpg", b"GIF89a")], "neither JPEG nor PNG nor WebP"),
    ],
)
def test_bad_samples(tmp_path: Path, members: Members, message: str):
    put(tmp_path / "x.tar", shard(members))
    with pytest.raises(DataError, match=rf"x\.tar.*{message}"):
        rows(tmp_path)


def test_bomb(tmp_path: Path):
    put(tmp_path / "x.tar", shard([("a.png", bomb())]))
    with pytest.raises(DataError, match="far more than 67108864 pixels"):
        encode_sample(rows(tmp_path)[0])


def test_cut_off_anywhere(tmp_path: Path):
    data = shard(pairs(2))
    end = data.rindex(b"{}") + 512
    for length in range(0, end, 97):
        put(tmp_path / "x.tar", data[:length])
        with pytest.raises(DataError, match=r"x\.tar at byte \d+: "):
            rows(tmp_path)


def test_a_damaged_header_is_not_the_end(tmp_path: Path):
    data = bytearray(shard(pairs(3), "ustar"))
    data[data.index(b"./n0/0001.jpg")] ^= 1
    put(tmp_path / "x.tar", bytes(data))
    with pytest.raises(DataError, match="a damaged header, or the file was cut off"):
        rows(tmp_path)


def pax(**headers: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = headers
    return info


@pytest.mark.parametrize(
    "info",
    [
        pax(size="-1024"),  # would send the library back to an earlier header, for ever
        pax(size=str(2**60)),
        pax(size="9" * 5000),
        pax(comment="x" * 2**20),
        pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        pax(**{"GNU.sparse.map": "0,1" * 100, "GNU.sparse.size": "9"}),
    ],
)
def test_hostile_extended_headers(tmp_path: Path, info: tarfile.TarInfo):
    put(tmp_path / "x.tar", shard([*pairs(1), (info, noise(0)), *pairs(1)]))
    with pytest.raises(DataError, match=r"x\.tar at byte \d+: "):
        rows(tmp_path)


def test_a_chain_of_headers_of_headers(tmp_path: Path):
    block = tarfile.TarInfo("././@PaxHeader")
    block.type, block.size = tarfile.XHDTYPE, 0
    put(tmp_path / "x.tar", shard(pairs(1))[:-10240] + block.tobuf(tarfile.USTAR_FORMAT) * 5000)
    with pytest.raises(DataError, match=r"x\.tar at byte \d+: "):
        rows(tmp_path)


def survive(tmp_path: Path, count: int, kind: str) -> None:
    original = put(tmp_path / "original/x.tar", shard(pairs(4), kind))
    assert_survives(original, count, rows, tmp_path)


@pytest.mark.parametrize("kind", ["pax", "gnu"])
def test_mutations(tmp_path: Path, kind: str):
    survive(tmp_path, 100, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_many_mutations(tmp_path: Path, kind: str):
    survive(tmp_path, 2500, kind)
