"""The end of the chain: the Hugging Face Hub, through huggingface_hub and its own cache."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Literal

from wmtp.contracts.specs import Resource
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
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        path = snapshot_download(
            repository,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns) if patterns else None,
            local_files_only=offline(),
        )
    except GatedRepoError:
        raise NotHere(
            f"{repository} is gated: accept its conditions on its hub page, then log in with `hf auth login` (or set "
            "HF_TOKEN) with a token that may read it",
            f"Get access to {repository} on the hub, or name another model or a local copy.",
        ) from None
    except RevisionNotFoundError:
        raise NotHere(f"{repository} has no revision {revision!r}") from None
    except RepositoryNotFoundError as error:
        if _refused_token(error):
            raise NotHere(_BAD_TOKEN, _TOKEN_ADVICE) from None
        raise NotHere(f"no {kind} repository {repository!r}, or it is private and no token may read it") from None
    except LocalEntryNotFoundError:
        why = "the hub cannot be reached"
        if constants.HF_HUB_OFFLINE or offline():
            why = "it is offline (HF_HUB_OFFLINE or WMTP_OFFLINE)"
        raise NotHere(f"{why}, and {repository} is not complete in the hub's cache") from None
    except HFValidationError:
        raise NotHere(f"{repository!r} cannot be the name of a hub repository") from None
    except HfHubHTTPError as error:
        if _refused_token(error):
            raise NotHere(_BAD_TOKEN, _TOKEN_ADVICE) from None
        raise NotHere(f"the hub answered: {str(error).splitlines()[0]}") from None
    except Exception as error:  # a cut connection comes as whatever HTTP library this version of the client has
        what = f"{type(error).__name__}: {error}"
        if _of_this_machine(error):
            raise NotHere(
                f"the hub's cache {constants.HF_HUB_CACHE} cannot be written: {error}",
                "Free space, or set HF_HOME to a folder that can be written: the hub's client keeps downloads there.",
            ) from error
        raise NotHere(f"downloading from the hub broke off ({what}); run it again, what is whole is kept") from error
    folder = Path(path)
    if not any(folder.iterdir()):
        raise NotHere(f"{repository} has no file that matches {', '.join(patterns or ('*',))}")
    return Resource(folder, "hub", folder.name)


_BAD_TOKEN = (
    "the hub refused the token that it was sent (HF_TOKEN, or the one of `hf auth login`): it is wrong or has expired"
)
_TOKEN_ADVICE = "Log in again with `hf auth login`, or unset HF_TOKEN: public repositories need none."


def _refused_token(error: Any) -> bool:
    """Whether a token was sent and not taken. The hub then answers 401 for public repositories too, and its client says that
    there is no such repository."""
    from huggingface_hub import get_token

    return get_token() is not None and getattr(error.response, "status_code", None) == 401


def _of_this_machine(error: BaseException) -> bool:
    """Whether an error is the disk's or the file system's, not the network's or a server's."""
    return isinstance(error, OSError) and (
        error.errno in _OUR_DISK or (error.errno is not None and error.filename is not None)
    )
