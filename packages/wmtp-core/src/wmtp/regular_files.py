"""What is no file that can be read: a device, which may never end, or a pipe, which can be read once."""

from __future__ import annotations

import stat
from pathlib import Path

from wmtp.errors import ConfigError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_regular(path: Path | str, what: str) -> None:
    """Raise ConfigError where a path is neither a regular file nor a folder; one that is not there is left to who opens it.

    Args:
        path: As the user wrote it: links such as /dev/stdin lead to names that nobody knows.
        what: What it was to be, for the message: ``"the samples"``.
    """
    try:
        kind = _KINDS.get(stat.S_IFMT(Path(path).stat().st_mode))
    except OSError:
        return
    if kind:
        raise ConfigError(
            f"{path} is {kind}, no regular file. {what[0].upper()}{what[1:]} may be read more than once: write them into a "
            "file first, and name that"
        )
