"""Push, pull, verify and download: every transfer is pinned to a commit, checked, and whole or not there at all.

The transport is huggingface_hub's, so its settings hold: HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE. Files that are
complete stay in its cache, so a transfer that broke off goes on where it was. Every failure is a `HubError` that says
what to do. The checks of a folder themselves are in `rgbd3d.hub_verify`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

from rgbd3d.cards import COMMIT, REPOSITORY, WeightFile
from rgbd3d.hub_errors import HubError, explained
from rgbd3d.hub_verify import FILES, Report, check_folder, check_pin, list_files

__all__ = ["HubError", "Report", "download", "pull", "push", "resolve_revision", "snapshot", "verify"]

DEFAULT_BRANCH = "main"

logger = logging.getLogger(__name__)


def _api(token: str | None) -> HfApi:
    # The endpoint is looked up at each call, so that HF_ENDPOINT and a test's server count alike.
    return HfApi(endpoint=constants.ENDPOINT, token=token, library_name="rgbd3d")


def resolve_revision(repo_id: str, revision: str | None = None, *, token: str | None = None) -> str:
    """The commit that a revision stands for now; a floating one is reported as a warning with the commit to pin.

    Args:
        repo_id: Repository, owner/name.
        revision: Commit (40 hex digits), branch or tag; by default the branch main. Offline, a branch or tag is what
            it was when it was last resolved online.
        token: Access token; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        40 hex digits.

    Raises:
        HubError: There is no such repository or revision, or the Hub cannot be asked.
    """
    revision = revision or DEFAULT_BRANCH
    if COMMIT.fullmatch(revision):
        return revision
    with explained("resolve", repo_id, revision):
        commit = _api(token).resolve_revision(repo_id, revision=revision).resolved
    logger.warning("%s@%s is commit %s; pin it with revision=%s", repo_id, revision, commit, commit)
    return commit


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
        api = _api(token)
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
            names = _api(token).list_repo_files(repo_id, revision=commit)
    return replace(check_folder(cached, names=names), source=f"{repo_id}@{commit}")


def _existing_folder(folder: str | Path) -> Path:
    found = Path(folder).expanduser()
    if not found.is_dir():
        raise HubError(f"there is no folder {folder}; a repository is named owner/name")
    return found


def snapshot(
    repo_id: str, commit: str, patterns: Collection[str], *, token: str | None = None
) -> tuple[Path, list[str]]:
    """Downloads some files of a commit to the cache; they are byte for byte those of the commit.

    Args:
        repo_id: Repository, owner/name.
        commit: 40 hex digits.
        patterns: Names within the repository, or shell-style patterns of them; what isn't there is left out.
        token: Access token for private repositories; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        The folder in the cache, and the names that were found.

    Raises:
        HubError: They cannot be fetched, or the cache is damaged: what is wrong was removed from it.
    """
    with explained("pull", repo_id, commit):
        folder = Path(_api(token).snapshot_download(repo_id, revision=commit, allow_patterns=sorted(patterns)))
    files = [file for pattern in patterns for file in folder.glob(pattern) if file.is_file()]
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    if damaged := [name for name in names if not _intact(folder / name)]:
        for name in damaged:
            _evict(folder / name)
        raise HubError(
            f"{', '.join(damaged)} of {repo_id}@{commit} is damaged; it was removed from the cache: run it again"
        )
    return folder, names


def _intact(file: Path) -> bool:
    """Whether a cached file still is what the Hub has: the cache names content by git's SHA-1 or, for LFS, SHA-256."""
    if not file.is_symlink():  # a cache without links does not know
        return True
    expected = Path(os.readlink(file)).name
    if len(expected) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as data:
        return hashlib.file_digest(data, lambda: digest).hexdigest() == expected


def _evict(file: Path) -> None:
    """Removes a file from the cache with everything it links to, so that the next try downloads it again."""
    while file.is_symlink():
        target = file.parent / os.readlink(file)
        file.unlink()
        file = target
    file.unlink(missing_ok=True)


def _copy_atomically(folder: Path, names: Collection[str], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        staged = Path(temporary) / output.name  # made here: the temporary folder itself is closed to other users
        for name in names:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, staged / name)
        staged.replace(output)


# -------------------------------------------------------------------------------------------------------- download


def download(
    repo_id: str,
    revision: str,
    files: Mapping[str, WeightFile],
    *,
    cache: str | Path | None = None,
    token: str | None = None,
) -> dict[str, Path]:
    """Downloads the pinned weights of a card (`card.weights`), or takes them from the cache; checks them either way.

    Args:
        repo_id: Repository, owner/name.
        revision: Commit, 40 hex digits; anything that can move is refused.
        files: Path in the repository -> size and sha256.
        cache: Cache folder; by default huggingface_hub's.
        token: Access token for private repositories; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        Where each file lies.

    Raises:
        HubError: Not all files could be had as pinned. A wrong one is removed from the cache.
    """
    if not COMMIT.fullmatch(revision):
        raise HubError(f"{repo_id}@{revision} is not pinned; a revision here is a commit of 40 hex digits")
    for name in files:
        _require_safe(name)
    return {name: _download_file(repo_id, revision, name, pin, cache, token) for name, pin in files.items()}


def _require_safe(name: str) -> None:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    if not inside or path.suffix != ".safetensors":
        raise HubError(f"refused to download {name!r}: only *.safetensors within the repository")


def _download_file(
    repo_id: str, revision: str, name: str, pin: WeightFile, cache: str | Path | None, token: str | None
) -> Path:
    with explained(f"download {name} of", repo_id, revision):
        file = Path(_api(token).hf_hub_download(repo_id, name, revision=revision, cache_dir=cache))
    try:
        check_pin(file, name, pin)
    except ValueError as error:
        _evict(file)
        raise HubError(
            f"{repo_id}@{revision}: {error}; it was removed from the cache. Run it again; if it stays wrong, the "
            "repository does not hold what the card pins: do not use it"
        ) from error
    return file
