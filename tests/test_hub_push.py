"""Push against a real server on 127.0.0.1: one commit with everything, or none."""

import shutil

import pytest
from hub_folders import CARD, REPO, content, publish
from loopback_hub import TOKEN, Fault, File

from rgbd3d import hub as client
from rgbd3d.backbones.vit import build_vit
from rgbd3d.folder import save_pretrained_folder

pytest_plugins = ["hub_fixtures"]


def test_push_then_pull_gives_the_same_folder(hub, hub_folder, tmp_path):
    commit = client.push(hub_folder, REPO, private=True, token=TOKEN)
    assert sum(path.stat().st_size for path in hub_folder.rglob("*.safetensors")) > 20_000_000
    assert hub.repositories["models", REPO].private
    pulled = client.pull(REPO, revision=commit, output=tmp_path / "out", token=TOKEN)
    assert content(pulled) == content(hub_folder)


def test_push_again_changes_nothing(hub, hub_folder):
    assert client.push(hub_folder, REPO, token=TOKEN) == client.push(hub_folder, REPO, token=TOKEN)


def test_push_to_a_branch_leaves_main_alone(hub, hub_folder):
    commit = client.push(hub_folder, REPO, branch="next", token=TOKEN)
    repository = hub.repositories["models", REPO]
    assert repository.branches["next"] == commit
    assert repository.resolve("main").tree == {}


def test_push_replaces_the_whole_folder_in_one_commit(hub, hub_folder, tmp_path):
    client.push(hub_folder, REPO, token=TOKEN)
    repository = hub.repositories["models", REPO]
    repository.commit("main", {**repository.resolve("main").tree, "notes.txt": File(b"mine", lfs=False)})
    backbone = save_pretrained_folder(build_vit(CARD.backbone), CARD, tmp_path / "backbone")

    before = len(repository.commits)
    commit = client.push(backbone, REPO, token=TOKEN)

    assert len(repository.commits) == before + 1
    assert set(repository.resolve(commit).tree) == {*content(backbone), "notes.txt"}


def test_push_refuses_what_does_not_verify_before_any_request(hub, hub_folder, tmp_path):
    broken = shutil.copytree(hub_folder, tmp_path / "broken")
    (broken / "training_args.bin").write_bytes(b"pickle")
    with pytest.raises(client.HubError, match=r"cannot push(?s:.)*not part of a Hub folder: 'training_args.bin'"):
        client.push(broken, REPO, token=TOKEN)
    (broken / "training_args.bin").unlink()
    (broken / "README.md").unlink()
    (broken / "README.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(client.HubError, match=r"symbolic links \(README.md\)"):
        client.push(broken, REPO, token=TOKEN)
    assert hub.log == []


def test_private_push_never_goes_to_a_public_repository(hub, hub_folder):
    publish(hub, hub_folder)
    before = set(hub.repositories["models", REPO].commits)
    with pytest.raises(client.HubError, match=r"is public; make it private"):
        client.push(hub_folder, REPO, private=True, token=TOKEN)
    assert set(hub.repositories["models", REPO].commits) == before


def test_push_without_login(hub, hub_folder):
    with pytest.raises(client.HubError, match=r"cannot push to me/tiny.*401.*hf auth login"):
        client.push(hub_folder, REPO)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("PUT /lfs/", die_after=5_000_000), r"connection to http://127.*run it again"),
        (Fault("PUT /lfs/", die_after=5_000_000, stop_server=True), r"connection to http://127.*run it again"),
        (Fault("PUT /lfs/", status=500), r"answered 500"),
        (Fault("POST .*/commit/", status=500), r"answered 500.*nothing was changed"),
        (Fault("POST .*/commit/", status=403), r"403: your token may not"),
        (Fault("POST .*/commit/", die_after=100), r"connection to http://127"),
    ],
)
def test_push_that_breaks_off_leaves_no_half_commit(hub, hub_folder, fault, message):
    hub.faults.append(fault)
    with pytest.raises(client.HubError, match=message):
        client.push(hub_folder, REPO, token=TOKEN)
    repository = hub.repositories["models", REPO]
    assert [commit.tree for commit in repository.commits.values()] == [{}]

    hub.faults.clear()
    hub.stop()
    hub.start()
    commit = client.push(hub_folder, REPO, token=TOKEN)
    assert set(repository.resolve(commit).tree) == set(content(hub_folder))


def test_push_does_not_overwrite_a_commit_it_has_not_seen(hub, hub_folder, monkeypatch):
    client.push(hub_folder, REPO, token=TOKEN)
    repository = hub.repositories["models", REPO]
    repository.commit("main", {})
    upload = hub.fault

    def commit_meanwhile(request):
        if "/preupload/" in request:
            repository.commit("main", {"theirs.txt": File(b"theirs", lfs=False)})
        return upload(request)

    monkeypatch.setattr(hub, "fault", commit_meanwhile)
    with pytest.raises(client.HubError, match=r"412: someone else committed"):
        client.push(hub_folder, REPO, token=TOKEN)
    assert set(repository.resolve("main").tree) == {"theirs.txt"}
