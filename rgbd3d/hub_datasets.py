"""Push a prepared data set to the user's own, private repository on the Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

from rgbd3d.data.manifest import CARD, MANIFEST, verify
from rgbd3d.hub_errors import HubError, explained


def push_dataset(folder: Path, repo_id: str, *, token: str | None = None) -> str:
    """Uploads a prepared data set as one commit: all of it or, if anything fails, nothing.

    Files that reached the Hub before a failure are not sent again. The repository is created private, and a public one
    is refused: the terms of the sources don't allow redistribution.

    Args:
        folder: Finished by `rgbd3d data prepare` or `rgbd3d data merge`.
        repo_id: Repository of data sets, owner/name; is created if it does not exist.
        token: Access token with write permission; by default the one of `hf auth login` or HF_TOKEN.

    Returns:
        The commit, 40 hex digits: what to pin.

    Raises:
        DataError: The folder is not finished or damaged.
        HubError: The Hub refuses or fails.
    """
    names = [*(file["file"] for file in verify(folder)["files"]), MANIFEST, CARD]
    api = _api(token)
    head = open_repository(repo_id, token=token)
    with explained("push to", repo_id, "main"):
        stale = {file for file in api.list_repo_files(repo_id, repo_type="dataset") if file.endswith(".parquet")} - set(
            names
        )
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, folder / name) for name in names),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message="Push with rgbd3d",
            repo_type="dataset",
            parent_commit=head,
        )
    return str(commit.oid)


def open_repository(repo_id: str, *, token: str | None = None) -> str:
    """Makes the private repository if it does not exist, which shows early whether a push can succeed.

    Returns:
        Its newest commit.

    Raises:
        HubError: It is public, or the Hub refuses or fails.
    """
    with explained("push to", repo_id, "main"):
        api = _api(token)
        api.create_repo(repo_id, repo_type="dataset", private=True, exist_ok=True)
        info = api.dataset_info(repo_id)
        if not info.private:
            raise HubError(f"{repo_id} exists and is public; make it private in its settings or push to another name")
    return str(info.sha)


def _api(token: str | None) -> HfApi:
    return HfApi(endpoint=constants.ENDPOINT, token=token, library_name="rgbd3d")
