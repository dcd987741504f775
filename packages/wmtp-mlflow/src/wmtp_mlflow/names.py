"""Names that MLflow takes, for names that it does not.

MLflow takes letters, digits, ``_ - . : /`` and spaces, 250 characters, and no name that a file system would read as another
(``a//b``, ``/a``, ``a/..``).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import MutableMapping

_LONGEST = 250
_REFUSED = re.compile(r"[^/A-Za-z0-9_.\- :]")


def taken(name: str) -> bool:
    """Whether MLflow takes this name as it is. Letters are ASCII's: what else a server takes differs."""
    return (
        0 < len(name) <= _LONGEST
        and not _REFUSED.search(name)
        and name == posixpath.normpath(name)
        and name.strip() == name
        and not name.startswith(("/", ".."))
        and name != "."
    )


def mapped(name: str, known: MutableMapping[str, str]) -> str:
    """The name under which a number is kept: its own, or one for it alone.

    Args:
        name: WMTP's.
        known: Names that were mapped, MLflow's → WMTP's. What is mapped here is added.

    Returns:
        ``mbpp_pass_at_1`` for ``mbpp_pass@1``; where that is somebody else's, or where more was replaced, a short hash of
        the name stands behind it.
    """
    close = name.replace("@", "_at_")
    for made in (name, close, _hashed(close, name)):
        if taken(made) and known.get(made, name) == name:
            known[made] = name
            return made
    raise AssertionError(f"no name for {name!r}")


def _hashed(close: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    parts = [part.strip() for part in _REFUSED.sub("_", close).split("/")]
    kept = "/".join(part for part in parts if part not in ("", ".", ".."))[: _LONGEST - 13]
    kept = kept.lstrip(".").strip("/ ")  # what begins with two dots would lead out of a folder
    return f"{kept}-{digest}" if kept else digest
