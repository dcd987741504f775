"""Which commands there are: core's own from a table, plugins' from a list that is kept between runs.

``wmtp --help`` names the commands of plugins and must load none of them. So what their hooks said is written down in the
user's cache, with the times of every folder that distributions are installed in and of every file that was imported to hear
it; where one of these has changed, the plugins are loaded and asked again. See docs/decisions/0002-commands-of-plugins.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from wmtp import __version__
from wmtp._commands import COMMANDS

if TYPE_CHECKING:
    from wmtp.plugins import Plugins

_FORM = "1"
_PRIME = 4294967291  # below 2 ** 32


class Command:
    """What is known of a command without importing it. A plain class: a named tuple takes a millisecond to make."""

    __slots__ = ("name", "resumable", "summary", "target")

    def __init__(self, name: str, target: str, summary: str, resumable: bool) -> None:
        self.name, self.target, self.summary, self.resumable = name, target, summary, resumable


CORE = {name: Command(name, target, summary, resumable) for name, target, summary, resumable in COMMANDS}


def of_plugins(blocked: Sequence[str], load: Callable[[], Plugins]) -> dict[str, Command]:
    """The commands of the plugins in use, less core's own. load: makes the plugin manager, where it must be asked."""
    head = _head(blocked)
    path = _path(head)
    if (kept := _read(path, head)) is not None:
        return kept
    plugins = load()
    found = {
        name: Command(name, r.spec.target, r.spec.summary, r.spec.resumable)
        for name, r in plugins.commands.items()
        if name not in CORE
    }
    if all(info.exception is None for info in plugins.listing()):  # a broken one is told again each time, until mended
        _write(path, head, _files(plugins), found.values())
    return found


def _head(blocked: Sequence[str]) -> str:
    """What the answer depends on beside files."""
    places = [p for p in sys.path if p not in ("", os.getcwd())]
    parts = (_FORM, __version__, sys.prefix, repr(os.environ.get("WMTP_PLUGINS")), ",".join(sorted(blocked)), *places)
    return "\t".join(parts).replace("\n", " ")


def _path(head: str) -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A remainder tells the files apart, and needs no module; `_read` holds the whole head against the file's first line.
    number = int.from_bytes(head.encode("utf-8", "surrogateescape"), "big") % _PRIME
    return os.path.join(base, "wmtp", f"commands-{number:08x}.txt")


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "-"
    return f"{status.st_mtime_ns}-{status.st_size}"


def _files(plugins: Plugins) -> list[str]:
    """Where distributions are installed, and every file of plugins' packages that is in memory now."""
    packages = {getattr(p, "__name__", "").partition(".")[0] for p in plugins.manager.get_plugins()} - {"wmtp", ""}
    modules = [m for n, m in sorted(sys.modules.items()) if n.partition(".")[0] in packages]
    files = [file for m in modules if isinstance(file := getattr(m, "__file__", None), str)]
    return [*(p for p in sys.path if p not in ("", os.getcwd())), *files]


def _read(path: str, head: str) -> dict[str, Command] | None:
    """The list as it was kept, or ``None`` where there is none or it may have changed."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            first, *lines = file.read().splitlines()
        if first != head:
            return None
        commands = {}
        for line in lines:
            what, *fields = line.split("\t")
            if what == "command":
                name, target, summary, resumable = fields
                commands[name] = Command(name, target, summary, resumable == "1")
            elif _stamp(fields[0]) != fields[1]:
                return None
    except (OSError, ValueError, IndexError):
        return None  # not there, or damaged: asked again
    return commands


def _write(path: str, head: str, files: Iterable[str], commands: Iterable[Command]) -> None:
    lines = [head, *(f"file\t{f}\t{_stamp(f)}" for f in files)]
    lines += [f"command\t{c.name}\t{c.target}\t{c.summary}\t{int(c.resumable)}" for c in commands]
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(temporary, path)
    except OSError:
        return  # nothing to keep it in: the plugins are loaded each time


def named_in(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The command in an argument list (or ``""``), and the distributions of ``--no-plugin`` anywhere in it."""
    name, blocked = "", []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            break
        if argument == "--no-plugin":
            blocked.append(next(rest, ""))
        elif argument.startswith("--no-plugin="):
            blocked.append(argument.partition("=")[2])
        elif not name and not argument.startswith("-"):
            name = argument
    return name, [b for b in blocked if b]
