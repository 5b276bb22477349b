"""Push, pull and verify Hub folders: every transfer is pinned to a commit, checked, and whole or not there at all.

What comes from the Hub is downloaded by `rgbd3d.hub_download`; the checks of a folder are in `rgbd3d.hub_verify`. Every
failure is a `HubError` that says what to do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants

from rgbd3d.cards import REPOSITORY
from rgbd3d.hub_download import DEFAULT_BRANCH, hub_api, resolve_revision, snapshot
from rgbd3d.hub_errors import HubError, explained
from rgbd3d.hub_verify import FILES, Report, check_folder, list_files

__all__ = ["HubError", "Report", "pull", "push", "verify"]

# ------------------------------------------------------------------------------------------------------------ push


def push(
    folder: str | Path, repo_id: str, *, private: bool = False, branch: str = DEFAULT_BRANCH, token: str | None = None
) -> str:
    """Uploads a Hub folder as one commit: all of it or, if anything fails, nothing.

    The folder is verified first. Only the files of a Hub folder are uploaded; files of an earlier push that this folder
    lacks are deleted in the same commit, others are left alone.

    Args:
        folder: Written by `rgbd3d.folder`.
        repo_id: Repository, owner/name; is created if it does not exist.
        private: Create it private. An existing public repository is refused, never silently published to.
        branch: Branch to commit to; is created if it does not exist.
        token: Access token with write permission; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        The commit, 40 hex digits: what others pin.

    Raises:
        HubError: The folder does not verify, or the Hub refuses or fails.
    """
    folder = _existing_folder(folder)
    names = list_files(folder)
    if links := [name for name in names if (folder / name).is_symlink()]:
        raise HubError(f"{folder} has symbolic links ({', '.join(links)}); put the files themselves there")
    check_folder(folder).require("push")
    with explained("push to", repo_id, branch):
        api = hub_api(token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        if private and not api.repo_info(repo_id).private:
            raise HubError(f"{repo_id} exists and is public; make it private in its settings or push to another name")
        if branch != DEFAULT_BRANCH:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        head = str(api.repo_info(repo_id, revision=branch).sha)
        stale = FILES.intersection(api.list_repo_files(repo_id, revision=head)).difference(names)
        additions = [CommitOperationAdd(name, folder / name) for name in sorted(FILES.intersection(names))]
        commit = api.create_commit(
            repo_id,
            [*additions, *(CommitOperationDelete(name) for name in sorted(stale))],
            commit_message="Push with rgbd3d",
            revision=branch,
            parent_commit=head,  # refuse to build on a commit that we have not seen
        )
    return str(commit.oid)


# ------------------------------------------------------------------------------------------------ pull and verify


def pull(
    repo_id: str, *, revision: str | None = None, output: str | Path | None = None, token: str | None = None
) -> Path:
    """Downloads and verifies a Hub folder (all but its features: that is `verify`).

    Args:
        repo_id: Repository, owner/name.
        revision: Commit, branch or tag; by default the branch main. A floating one is resolved first and reported.
        output: Folder to write; appears only when everything is there and verified. A folder that has something in it
            is refused. By default the folder stays in huggingface_hub's cache.
        token: Access token for private repositories; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        `output`, or the folder in the cache, which is named after the commit.

    Raises:
        HubError: Nothing was written to `output`.
    """
    output = None if output is None else Path(output).expanduser()
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise HubError(f"{output} exists and is not an empty folder; name another one or remove it")
    commit = resolve_revision(repo_id, revision, token=token)
    cached, names = snapshot(repo_id, commit, FILES, token=token)
    report = check_folder(cached, names=names, golden=False)
    replace(report, source=f"{repo_id}@{commit}").require("pull")
    if output is None:
        return cached
    with explained(f"write {output} from", repo_id, commit):
        _copy_atomically(cached, names, output)
    return output


def verify(folder_or_repo: str | Path, revision: str | None = None, *, token: str | None = None) -> Report:
    """Checks a folder or a repository: layout, limits, sha256, no foreign code, and the features of golden.safetensors.

    Args:
        folder_or_repo: A folder that exists, or owner/name.
        revision: For a repository: commit, branch or tag; by default the branch main.
        token: Access token for private repositories; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        The report; print it. Problems of the content are in the report.

    Raises:
        HubError: There is no such folder or repository, or it cannot be fetched.
    """
    repo_id = str(folder_or_repo)
    if isinstance(folder_or_repo, Path) or Path(repo_id).expanduser().is_dir() or not REPOSITORY.fullmatch(repo_id):
        return check_folder(_existing_folder(folder_or_repo))
    commit = resolve_revision(repo_id, revision, token=token)
    cached, names = snapshot(repo_id, commit, FILES, token=token)
    if not constants.is_offline_mode():
        with explained("list the files of", repo_id, commit):
            names = hub_api(token).list_repo_files(repo_id, revision=commit)
    return replace(check_folder(cached, names=names), source=f"{repo_id}@{commit}")


def _existing_folder(folder: str | Path) -> Path:
    found = Path(folder).expanduser()
    if not found.is_dir():
        raise HubError(f"there is no folder {folder}; a repository is named owner/name")
    return found


def _copy_atomically(folder: Path, names: Collection[str], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        staged = Path(temporary) / output.name  # made here: the temporary folder itself is closed to other users
        for name in names:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, staged / name)
        staged.replace(output)
