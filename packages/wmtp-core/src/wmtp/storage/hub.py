"""The end of the chain: the Hugging Face Hub, through huggingface_hub and its own cache."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Literal

from wmtp.contracts.loading import Resource
from wmtp.errors import first_line
from wmtp.storage.chain import NotHere, offline

_OUR_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


def from_hub(
    repository: str,
    kind: Literal["model", "dataset"],
    *,
    revision: str | None,
    patterns: tuple[str, ...] | None,
) -> Resource:
    """A snapshot of a hub repository, pinned to the commit it resolved to; complete snapshots are served offline.

    Raises NotHere with what is wrong and what to do: no such repository or revision, gated, offline, cut off.
    """
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(
            repository,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns) if patterns else None,
            local_files_only=offline(),
        )
    except Exception as error:
        raise _not_here(error, repository, kind, revision) from error
    folder = Path(path)
    if not any(folder.iterdir()):
        raise NotHere(f"{repository} has no file that matches {', '.join(patterns or ('*',))}")
    return Resource(folder, "hub", folder.name)


def _not_here(error: Exception, repository: str, kind: str, revision: str | None) -> NotHere:
    """What the hub's client ran into, in words, and what to do about it. More special errors come before their bases."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return NotHere(
            f"{repository} is gated: accept its conditions on its hub page, then log in with `hf auth login` (or set "
            "HF_TOKEN) with a token that may read it",
            f"Get access to {repository} on the hub, or name another model or a local copy.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotHere(f"{repository} has no revision {revision!r}")
    if isinstance(error, errors.HfHubHTTPError) and _refused_token(error):
        return NotHere(_BAD_TOKEN, _TOKEN_ADVICE)
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotHere(f"no {kind} repository {repository!r}, or it is private and no token may read it")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return NotHere(f"{_why_not_asked()}, and {repository} is not complete in the hub's cache")
    if isinstance(error, errors.HFValidationError):
        return NotHere(f"{repository!r} cannot be the name of a hub repository")
    if isinstance(error, errors.HfHubHTTPError):
        return NotHere(f"the hub answered: {first_line(error)}")
    return _broken_off(error)


def _why_not_asked() -> str:
    from huggingface_hub import constants

    off = constants.HF_HUB_OFFLINE or offline()
    return "it is offline (HF_HUB_OFFLINE or WMTP_OFFLINE)" if off else "the hub cannot be reached"


def _broken_off(error: Exception) -> NotHere:
    from huggingface_hub import constants

    what = f"{type(error).__name__}: {error}"
    if _of_this_machine(error):
        return NotHere(
            f"the hub's cache {constants.HF_HUB_CACHE} cannot be written: {error}",
            "Free space, or set HF_HOME to a folder that can be written: the hub's client keeps downloads there.",
        )
    return NotHere(f"downloading from the hub broke off ({what}); run it again, what is whole is kept")


_BAD_TOKEN = (
    "the hub refused the token that it was sent (HF_TOKEN, or the one of `hf auth login`): it is wrong or has expired"
)
_TOKEN_ADVICE = "Log in again with `hf auth login`, or unset HF_TOKEN: public repositories need none."


def _refused_token(error: Any) -> bool:
    """Whether a token was sent and not taken. The hub then answers 401 for public repositories too, and its client says that
    there is no such repository."""
    from huggingface_hub import get_token

    return get_token() is not None and getattr(getattr(error, "response", None), "status_code", None) == 401


def _of_this_machine(error: BaseException) -> bool:
    """Whether an error is the disk's or the file system's, not the network's or a server's."""
    return isinstance(error, OSError) and (
        error.errno in _OUR_DISK or (error.errno is not None and error.filename is not None)
    )
