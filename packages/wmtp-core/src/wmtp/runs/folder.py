"""A run folder as a whole: held by one process, and the small files in it that are replaced at once.

``samples/<evaluator>.jsonl`` and ``verdicts/<evaluator>.jsonl`` are only ever appended to (`wmtp.runs.lines`). A killed process
loses at most the lines it was writing, and verdicts that waited a twentieth of a second to be written together: they are judged
again. A machine that loses power may lose the last seconds, which are done again.
``keys.json`` says what samples and verdicts were made with.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from wmtp import json_text
from wmtp.errors import ConfigError, PluginError, WmtpError


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the whole new one, also after a loss of power. For the holder of the lock only."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()  # on a full disk half a file takes what the next try needs
        error.filename = str(path)
        raise


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object that `write_atomically` wrote; ``None`` if there is none. Raises ConfigError if it is damaged."""
    try:
        found = json_text.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        error: Exception = TypeError("not an object")
    except FileNotFoundError:
        return None
    except ValueError as wrong:
        error = wrong
    raise ConfigError(f"{path}: damaged: {error}. {_without(path)}")


def _without(path: Path) -> str:
    """What can be done about a damaged file: what is lost if it is removed, and how the run can go on."""
    if path.name == "keys.json":
        return (
            "It says what the samples and verdicts beside it were made with. Put it back, or remove it: each line carries its "
            "own key, and what was made with other settings is refused line by line. Or use --fresh to start the run again, or "
            "another run.name."
        )
    if path.name == "engine.json":
        return (
            f"Remove {path}: the model is then opened once to say what it is, and earlier sessions' speed is forgotten. "
            "Or use --fresh to start the run again, or another run.name."
        )
    return f"Remove {path}: the same command writes it anew."


@contextmanager
def locked(folder: Path, *, fresh: bool) -> Iterator[Path]:
    """The run directory, made if need be and held by this process alone. ``fresh`` removes what a run made, first.

    A folder that was made here is taken away again where what was asked for is refused before anything was done in it.
    Raises ConfigError if another process is working in it, or if something there is not a run directory.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is in the way: a run directory cannot be made there")
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    foreign = [name for p in folder.iterdir() if _own_name(name := p.name) not in OWN_FILES]
    if foreign and not (folder / "keys.json").exists():
        raise ConfigError(f"{folder} is no run directory (it holds {foreign[0]!r}); use another run.name")
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        with _writable(folder):
            lock.acquire()
    except filelock.Timeout:
        raise ConfigError(f"another process is working in {folder}; wait for it, or use another run.name") from None
    try:
        if fresh:
            for entry in folder.iterdir():
                if entry.name != ".lock" and _own_name(entry.name) in OWN_FILES:  # the user's notes stay
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        yield folder
    except WmtpError as error:
        if new and not isinstance(error, PluginError) and not _has_work(folder):  # a plugin's traceback is in log.txt
            _remove(new)
        raise
    finally:
        lock.release()


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Within, a place where nobody may write is the user's to mend. Raises ConfigError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ConfigError(
            f"{folder}: a run cannot be made there: {error.strerror}. Name a folder that you may write in with --runs"
        ) from None


def _has_work(folder: Path) -> bool:
    """Whether anything was made that a second start would not make at once, or somebody else reads it now."""
    kept = [*folder.glob("samples/*"), *folder.glob("verdicts/*"), *folder.glob("values/*"), *folder.glob("results*")]
    return any(path.stat().st_size for path in kept) or (folder / "tracking").exists()


def _remove(new: Sequence[Path]) -> None:
    """Takes away a run folder that was made for nothing, and the folders that were made for it; not what else lies there."""
    for entry in new[0].iterdir():
        if _own_name(entry.name) in OWN_FILES:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    for place in new:
        with suppress(OSError):
            place.rmdir()


def is_held(folder: Path) -> bool:
    """Whether a process is working in a run directory; a folder that may not be written has nobody working in it."""
    if not (folder / ".lock").exists():
        return False
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def _own_name(name: str) -> str:
    """The file that a temporary one, left behind by a kill, was to become."""
    name = name.removesuffix(TEMPORARY)[1:] if name.endswith(TEMPORARY) else name
    return re.sub(r"\.limit-\d+(?=\.(json|md)$)", "", name)  # a look at the first N problems


TEMPORARY = ".tmp"
OWN_FILES = frozenset(
    {".lock", "config.yaml", "recipe.yaml", "samples", "verdicts", "values", "prompts", "tests", "keys.json", "engine.json",
     "results.json", "results.json.damaged", "details", "report.md", "report.html", "compared.html", "log.txt", "tracking"}
)  # fmt: skip
