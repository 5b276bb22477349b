"""Download from the Hub: some files of a commit, or the pinned weights of a card, checked before anyone reads them.

The transport is huggingface_hub's, so its settings hold: HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE. Files that are
complete stay in its cache, so a transfer that broke off goes on where it was. Every failure is a `HubError` that says
what to do.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants

from rgbd3d.cards import COMMIT, WeightFile
from rgbd3d.hub_errors import HubError, explained
from rgbd3d.pins import check_pin

DEFAULT_BRANCH = "main"

logger = logging.getLogger(__name__)


def hub_api(token: str | None) -> HfApi:
    """The client of the Hub's interface."""
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
        commit = hub_api(token).resolve_revision(repo_id, revision=revision).resolved
    logger.warning("%s@%s is commit %s; pin it with revision=%s", repo_id, revision, commit, commit)
    return commit


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
        folder = Path(hub_api(token).snapshot_download(repo_id, revision=commit, allow_patterns=sorted(patterns)))
    files = [file for pattern in patterns for file in folder.glob(pattern) if file.is_file()]
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    if damaged := [name for name in names if not _intact(folder / name)]:
        for name in damaged:
            _evict(folder / name)
        raise HubError(
            f"{', '.join(damaged)} of {repo_id}@{commit} is damaged; it was removed from the cache: run it again"
        )
    return folder, names


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
        file = Path(hub_api(token).hf_hub_download(repo_id, name, revision=revision, cache_dir=cache))
    try:
        check_pin(file, name, pin)
    except ValueError as error:
        _evict(file)
        raise HubError(
            f"{repo_id}@{revision}: {error}; it was removed from the cache. Run it again; if it stays wrong, the "
            "repository does not hold what the card pins: do not use it"
        ) from error
    return file


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
