"""Pull, verify and download against a real server on 127.0.0.1, also when it misbehaves."""

import errno
import shutil
from pathlib import Path

import pytest
from hub_folders import REPO, content, publish
from huggingface_hub import constants
from loopback_hub import TOKEN, Fault

from rgbd3d import hub as client
from rgbd3d.cards import WeightFile, load_card
from rgbd3d.hub_download import download

pytest_plugins = ["hub_fixtures"]
WEIGHTS = "model.safetensors"
BREAK = 10_700_000  # bytes; huggingface_hub writes chunks of 10 MiB, so that a bit less is what it can resume from


def pins(folder: Path, *names: str) -> dict[str, WeightFile]:
    pinned = load_card(folder / "card.yaml").weights.files
    return {name: pinned[name] for name in names}


def leftovers(folder: Path) -> list[str]:
    """Everything below a folder that looks like a transfer that broke off."""
    names = [path.name for path in folder.rglob("*")]
    return [name for name in names if name.endswith(".incomplete") or name.startswith(".out")]


def test_pull_by_commit_writes_exactly_the_commit(hub, hub_folder, tmp_path):
    old = publish(hub, hub_folder)
    newer = tmp_path / "newer"
    shutil.copytree(hub_folder, newer)
    (newer / "README.md").write_text("# Newer")
    publish(hub, newer)

    pulled = client.pull(REPO, revision=old.oid, output=tmp_path / "out")

    assert {path: (pulled / path).read_bytes() for path in old.tree} == {p: f.data for p, f in old.tree.items()}
    assert leftovers(tmp_path) == []


def test_floating_revision_is_resolved_and_reported(hub, hub_folder, caplog):
    commit = publish(hub, hub_folder)
    assert client.pull(REPO).name == commit.oid
    assert f"{REPO}@main is commit {commit.oid}" in caplog.text


def test_pull_takes_known_files_only(hub, hub_folder, tmp_path):
    more = shutil.copytree(hub_folder, tmp_path / "more")
    (more / "training_args.bin").write_bytes(b"pickle")
    (more / "evil.py").write_text("boom")
    commit = publish(hub, more)
    pulled = client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert not (pulled / "training_args.bin").exists()
    assert not (pulled / "evil.py").exists()


def test_pull_refuses_a_folder_with_content_before_any_request(hub, hub_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    publish(hub, hub_folder)
    with pytest.raises(client.HubError, match=r"out exists and is not an empty folder"):
        client.pull(REPO, output=tmp_path / "out")
    assert hub.log == []
    (tmp_path / "out" / "mine.txt").unlink()
    assert (client.pull(REPO, output=tmp_path / "out") / WEIGHTS).exists()


def test_broken_connection_resumes_where_it_was(hub, hub_folder, tmp_path):
    commit = publish(hub, hub_folder)
    hub.faults.append(Fault(f"GET .*{commit.oid}/{WEIGHTS}", die_after=BREAK, times=1))
    pulled = client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    ranges = [line for line in hub.log if "bytes=" in line]
    assert len(ranges) == 1
    assert 0 < int(ranges[0].split("bytes=")[1].split("-")[0]) <= BREAK
    assert (pulled / WEIGHTS).read_bytes() == (hub_folder / WEIGHTS).read_bytes()


def test_server_that_dies_half_way_leaves_nothing_and_the_next_pull_goes_on(hub, hub_folder, tmp_path):
    commit = publish(hub, hub_folder)
    hub.faults.append(Fault(f"GET .*[0-9a-f]/{WEIGHTS}", die_after=BREAK, stop_server=True, times=1, delay=0.005))
    with pytest.raises(client.HubError, match=rf"cannot pull {REPO}.*connection to http://127.0.0.1.*run it again"):
        client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert leftovers(tmp_path) == []

    hub.log.clear()
    hub.start()
    pulled = client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert (pulled / WEIGHTS).read_bytes() == (hub_folder / WEIGHTS).read_bytes()
    assert not any(line.startswith("GET") and line.endswith("card.yaml") for line in hub.log)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "card.yaml", "pretraining/model.safetensors"])
def test_corrupted_file_is_refused_and_downloaded_again(hub, hub_folder, tmp_path, name):
    commit = publish(hub, hub_folder)
    hub.faults.append(Fault(f"GET .*{commit.oid}/{name}", corrupt=True, times=1))
    with pytest.raises(client.HubError, match=rf"{name} of {REPO}@{commit.oid} is damaged.*run it again"):
        client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (client.pull(REPO, revision=commit.oid, output=tmp_path / "out") / name).exists()


def test_truncated_file_is_refused(hub, hub_folder, tmp_path):
    commit = publish(hub, hub_folder)
    hub.faults.append(Fault(f"GET .*{commit.oid}/{WEIGHTS}", truncate=1_000_000))
    with pytest.raises(client.HubError, match=r"truncated.*run it again"):
        client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert leftovers(tmp_path) == []


def test_disk_full_while_writing(hub, hub_folder, tmp_path, monkeypatch):
    commit = publish(hub, hub_folder)

    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(client.HubError, match=r"disk is full \(.*\); free some space"):
        client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert leftovers(tmp_path) == []


# ----------------------------------------------------------------------------------------- what the Hub can answer


def test_missing_repository(hub):
    with pytest.raises(client.HubError, match=r"me/none.*check the spelling and, if it is private, log in with"):
        client.pull("me/none")
    with pytest.raises(client.HubError, match=r"no repository me/none on http://127"):
        client.pull("me/none", token=TOKEN)


def test_private_repository_needs_a_token(hub, hub_folder, tmp_path):
    publish(hub, hub_folder, private=True)
    with pytest.raises(client.HubError, match=r"may not see.*hf auth login"):
        client.pull(REPO)
    assert client.pull(REPO, token=TOKEN).is_dir()


def test_wrong_token(hub, hub_folder):
    publish(hub, hub_folder)
    with pytest.raises(client.HubError, match=r"401.*Invalid credentials.*hf auth login"):
        client.pull(REPO, token="hf_expired")


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_missing_revision(hub, hub_folder, revision):
    publish(hub, hub_folder)
    with pytest.raises(client.HubError, match=rf"exists but has no revision '{revision}'"):
        client.pull(REPO, revision=revision)


@pytest.mark.parametrize(
    ("status", "message"), [(403, "403: your token may not"), (500, "answered 500"), (503, "answered 503")]
)
def test_refusals_and_server_errors(hub, hub_folder, tmp_path, status, message):
    commit = publish(hub, hub_folder)
    hub.faults.append(Fault("/resolve/|/tree/", status=status))
    with pytest.raises(client.HubError, match=message):
        client.pull(REPO, revision=commit.oid, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_server_error_that_passes_is_waited_for(hub, hub_folder):
    publish(hub, hub_folder)
    hub.faults.append(Fault("HEAD .*config.json", status=500, times=2))
    assert client.pull(REPO).is_dir()


def test_network_down(hub, hub_folder):
    hub.stop()
    with pytest.raises(client.HubError, match=r"connection to http://127.*check network"):
        client.pull(REPO)


# ---------------------------------------------------------------------------------------------------------- verify


def test_verify_of_a_repository_looks_at_all_its_files(hub, hub_folder, tmp_path):
    commit = publish(hub, hub_folder)
    report = client.verify(REPO, commit.oid)
    assert report.ok, report.problems
    assert str(report).startswith(f"{REPO}@{commit.oid}\n")

    more = shutil.copytree(hub_folder, tmp_path / "more")
    (more / "pytorch_model.bin").write_bytes(b"pickle")
    publish(hub, more)
    report = client.verify(REPO)
    assert "not part of a Hub folder: 'pytorch_model.bin'" in report.problems
    assert "do not use it" in str(report)


# --------------------------------------------------------------------------------------------- offline, from cache


def test_offline_gives_what_was_pulled_before(hub, hub_folder, tmp_path, monkeypatch):
    commit = publish(hub, hub_folder)
    client.pull(REPO)
    hub.stop()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for revision in (commit.oid, "main"):
        assert content(client.pull(REPO, revision=revision, output=tmp_path / revision)) == content(hub_folder)
    assert client.verify(REPO, commit.oid).ok
    with pytest.raises(client.HubError, match=r"offline \(HF_HUB_OFFLINE is set\) and it is not in the cache"):
        client.pull("me/other", revision=commit.oid)
    with pytest.raises(client.HubError, match=r"offline \(HF_HUB_OFFLINE is set\) and it is not in the cache"):
        client.pull("me/other")


def test_pinned_commit_in_the_cache_needs_no_server(hub, hub_folder):
    commit = publish(hub, hub_folder)
    first = client.pull(REPO, revision=commit.oid)
    hub.stop()
    assert client.pull(REPO, revision=commit.oid) == first


def test_offline_after_an_interrupted_pull_is_an_error_not_half_a_folder(hub, hub_folder, monkeypatch):
    commit = publish(hub, hub_folder)
    hub.faults.append(Fault(f"GET .*{commit.oid}/{WEIGHTS}", die_after=1_000_000, stop_server=True, delay=0.005))
    with pytest.raises(client.HubError):
        client.pull(REPO, revision=commit.oid)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(client.HubError, match=r"HF_HUB_OFFLINE is set"):
        client.pull(REPO, revision=commit.oid)


# -------------------------------------------------------------------------------------------------------- download


def test_download_checks_pins_and_then_works_offline(hub, hub_folder, monkeypatch):
    commit = publish(hub, hub_folder)
    files = download(REPO, commit.oid, pins(hub_folder, WEIGHTS, "golden.safetensors"))
    assert files[WEIGHTS].read_bytes() == (hub_folder / WEIGHTS).read_bytes()
    assert set(files) == {WEIGHTS, "golden.safetensors"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download(REPO, commit.oid, pins(hub_folder, WEIGHTS)) == {WEIGHTS: files[WEIGHTS]}


def test_download_of_other_content_is_refused_and_removed(hub, hub_folder, tmp_path):
    commit = publish(hub, hub_folder)
    pin = pins(hub_folder, WEIGHTS)
    hub.faults.append(Fault(f"GET .*/{WEIGHTS}", corrupt=True, times=1))
    with pytest.raises(
        client.HubError, match=rf"{REPO}@{commit.oid}: {WEIGHTS} has sha256 .* instead of .*Run it again"
    ):
        download(REPO, commit.oid, pin)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]
    assert download(REPO, commit.oid, pin)[WEIGHTS].exists()

    other = {WEIGHTS: WeightFile(sha256="0" * 64, bytes=pin[WEIGHTS].bytes)}
    with pytest.raises(client.HubError, match=r"instead of 0000.*do not use it"):
        download(REPO, commit.oid, other)


def test_damage_in_the_cache_is_found_offline_too(hub, hub_folder, monkeypatch):
    commit = publish(hub, hub_folder)
    file = download(REPO, commit.oid, pins(hub_folder, WEIGHTS))[WEIGHTS]
    with file.open("r+b") as damaged:
        damaged.truncate(1000)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(client.HubError, match=r"has 1000 bytes instead of"):
        download(REPO, commit.oid, pins(hub_folder, WEIGHTS))


def test_download_of_a_missing_file(hub, hub_folder):
    commit = publish(hub, hub_folder)
    pin = {"decoder.safetensors": WeightFile(sha256="0" * 64, bytes=1)}
    with pytest.raises(client.HubError, match=r"cannot download decoder.safetensors of.*no such file at this revision"):
        download(REPO, commit.oid, pin)


@pytest.mark.parametrize("name", ["../../x.safetensors", "/etc/x.safetensors", "a\\..\\x.safetensors", "model.bin"])
def test_download_refuses_unsafe_names_before_any_request(hub, name):
    with pytest.raises(client.HubError, match=r"refused to download"):
        download(REPO, "0" * 40, {name: WeightFile(sha256="0" * 64, bytes=1)})
    assert hub.log == []


@pytest.mark.parametrize("revision", ["main", "v1.0", "abc1234"])
def test_download_wants_a_commit(hub, revision):
    with pytest.raises(client.HubError, match=r"not pinned; a revision here is a commit of 40 hex digits"):
        download(REPO, revision, {})
