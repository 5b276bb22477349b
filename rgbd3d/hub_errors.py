"""Errors of the Hub, the network and the disk, said so that the reader knows what to do next."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

LOGIN = "log in with `hf auth login`, set HF_TOKEN, or pass token="


class HubError(OSError):
    """Something could not be pushed, pulled or trusted; the message says what, where and what to do."""


@contextmanager
def explained(action: str, repo_id: str, revision: str) -> Iterator[None]:
    """Turns whatever huggingface_hub raises into a `HubError`.

    Args:
        action: What was tried, for example "pull".
        repo_id: Repository, owner/name.
        revision: Commit, branch or tag.
    """
    where = f"{repo_id}@{revision}"
    try:
        yield
    except HubError:
        raise
    # RuntimeError is how huggingface_hub wraps a failed upload; HTTPError is the root of its transport's errors.
    except (OSError, HTTPError, RuntimeError, HFValidationError, RevisionResolutionError) as error:
        raise HubError(f"cannot {action} {where}: {_explain(error, repo_id, revision)}") from error


def _explain(error: BaseException, repo_id: str, revision: str) -> str:
    """The first cause in the chain that says something useful."""
    cause: BaseException | None = error
    while cause is not None:
        explanation = _explain_hub(cause, repo_id, revision) or _explain_local(cause)
        if explanation:
            return explanation
        cause = cause.__cause__ or cause.__context__
    # When one of several uploads loses its connection, the others report only that their client is closed.
    return _explain_connection(error) if isinstance(error, RuntimeError) else str(error)


def _explain_connection(error: BaseException) -> str:
    return (
        f"the connection to {constants.ENDPOINT} failed ({type(error).__name__}: {error}); check network and proxy and "
        "run it again: files that are complete are not transferred again"
    )


def _explain_hub(error: BaseException, repo_id: str, revision: str) -> str | None:
    page = f"{constants.ENDPOINT}/{repo_id}"
    if isinstance(error, GatedRepoError):
        return f"the repository is gated; ask for access at {page}, then {LOGIN}"
    if isinstance(error, RepositoryNotFoundError):
        return f"no repository {repo_id} on {constants.ENDPOINT}; check the spelling and, if it is private, {LOGIN}"
    if isinstance(error, RevisionNotFoundError):
        return f"the repository exists but has no revision {revision!r}; its branches, tags and commits: {page}/commits"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"the repository has no such file at this revision; its files: {page}/tree/{revision}"
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error, repo_id)
    return None


def _explain_status(error: HfHubHTTPError, repo_id: str) -> str:
    status, said = error.response.status_code, error.server_message or "no reason given"
    if status == 401:
        return f"401: you may not see or change {repo_id} ({said}); check the spelling and, if it is private, {LOGIN}"
    if status == 403:
        return f"403: your token may not do this ({said}); use one with access to {repo_id}: {LOGIN}"
    if status == 412:
        return "412: someone else committed in the meantime; nothing was changed, run it again"
    if status == 429:
        return "429: the Hub asks for fewer requests; nothing was changed, wait and run it again"
    if status >= 500:
        return f"the Hub answered {status} ({said}), which is its fault; nothing was changed, run it again later"
    return f"the Hub answered {status} ({said})"


def _explain_local(error: BaseException) -> str | None:
    if isinstance(error, OfflineModeIsEnabled):
        return "offline (HF_HUB_OFFLINE is set) and it is not in the cache; unset HF_HUB_OFFLINE and run it once online"
    if isinstance(error, HTTPError | ConnectionError):
        return _explain_connection(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or constants.HF_HUB_CACHE
        return f"the disk is full ({where}); free some space or set HF_HOME, then run it again"
    if "Consistency check failed" in str(error):
        return "a file arrived truncated and was thrown away; run it again"
    return None
