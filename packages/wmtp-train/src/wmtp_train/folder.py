"""The folder of a training, ``runs/<name>/train``: its plan, its journal, its checkpoints and its exports.

A checkpoint is written into a folder of its own that nobody reads, and gets its name when it is whole: a kill at any moment
leaves whole checkpoints and, at most, one folder that the next start removes. Its mark ``COMPLETE`` holds the sha256 of
state.json, and that the sha256 of every other file: what was changed since is seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import filelock

import wmtp

COMPLETE = "COMPLETE"
STATE = "state.json"
EXPORTED = ".complete"
"""The mark of an export that is finished; it says of what."""
_PARTIAL = ".partial-"
log = logging.getLogger("wmtp.train")


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A whole checkpoint. state: what state.json says of it."""

    step: int
    path: Path
    state: dict[str, Any]

    @property
    def loss(self) -> float | None:
        """Its validation loss, where there was one."""
        found = self.state.get("eval_loss")
        return None if found is None else float(found)

    @property
    def passing(self) -> bool:
        """Whether it was saved because the session was stopped: to go on from, and no result of the recipe."""
        return bool(self.state.get("passing"))


class TrainingFolder:
    """Where a training lives."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / "train"
        self.plan = self.path / "plan.json"
        self.journal = self.path / "metrics.jsonl"
        self.weights = self.path / "weights.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.exports = self.path / "export"
        self._told = set[Path]()  # damaged checkpoints that were warned of

    @contextmanager
    def held(self) -> Iterator[None]:
        """Held by this process alone. Raises ConfigError if another trains in it."""
        with held_alone(self.path, ".lock", "another process is training"):
            yield

    def whole(self) -> list[Checkpoint]:
        """The whole checkpoints, the oldest first. One whose state.json is damaged is left out, which is said once."""
        found = []
        for path, state in self._marked():
            if isinstance(state, str):
                if path not in self._told:
                    log.warning("checkpoint %s is left out: %s", path, state)
                self._told.add(path)
            else:
                found.append(Checkpoint(step=state["step"], path=path, state=state))
        return sorted(found, key=lambda one: one.step)

    def damaged(self) -> list[str]:
        """What is wrong with checkpoints that have the mark of a whole one and say nothing of themselves."""
        return [state for _, state in self._marked() if isinstance(state, str)]

    def _marked(self) -> Iterator[tuple[Path, dict[str, Any] | str]]:
        """Each folder with the mark, and its state; or what is wrong with that."""
        for path in sorted(self.checkpoints.glob("step-*")):
            if (path / COMPLETE).is_file():
                yield path, _state_of(path)

    def at(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.checkpoints / f"step-{step:08d}"

    def partial(self, step: int) -> Path:
        """Where it is while it is written."""
        return self.checkpoints / f"{_PARTIAL}step-{step:08d}"

    def clear_partial(self) -> None:
        """Removes what a kill left of a checkpoint or an export."""
        for folder in (self.checkpoints, self.exports):
            for left in folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left)

    def export(self, step: int) -> Path:
        """Where the export of a step is."""
        return self.exports / f"step-{step:08d}"

    def publish(self, step: int, state: dict[str, Any]) -> Checkpoint:
        """Gives a checkpoint that is written its name: sizes and digests, then the mark, then the rename."""
        partial, path = self.partial(step), self.at(step)
        files = {one.name: described(one) for one in sorted(partial.iterdir()) if one.name not in (STATE, COMPLETE)}
        state = {**state, "step": step, "files": files}
        write_json(partial / STATE, state)
        write_text(partial / COMPLETE, f"{described(partial / STATE)['sha256']}\n")
        _sync_folder(partial)
        if path.exists():  # the same step, saved by a session before this one
            shutil.rmtree(path)
        partial.rename(path)
        _sync_folder(self.checkpoints)
        return Checkpoint(step=step, path=path, state=state)

    def keep(self, last: int | None, best: int, spared: Collection[int] = ()) -> list[Path]:
        """Removes checkpoints that are neither among the last nor among the best, nor spared. Returns what was removed.

        What was saved because a session was stopped stays until there is a newer one, and takes nobody's place.
        """
        found = self.whole()
        wished = [one for one in found if not one.passing]
        kept = {one.step for one in (wished if last is None else wished[-last:])} | {one.step for one in found[-1:]}
        judged = sorted((one for one in wished if one.loss is not None), key=lambda one: (one.loss, one.step))
        kept |= {one.step for one in judged[:best]}
        gone = [one.path for one in found if one.step not in {*kept, *spared}]
        for path in gone:
            (path / COMPLETE).unlink()  # so that a kill in between leaves nothing that looks whole
            shutil.rmtree(path)
        return gone

    def set_aside(self) -> Path | None:
        """Moves what is here out of the way, for a training that begins anew. Returns where it is now."""
        if not any(one.name != ".lock" for one in self.path.iterdir()):
            return None
        number = next(n for n in range(1, 10**6) if not (self.run / f"train.before-{n}").exists())
        aside = self.run / f"train.before-{number}"
        aside.mkdir()
        for one in list(self.path.iterdir()):
            if one.name != ".lock":
                one.rename(aside / one.name)
        return aside


@contextmanager
def held_alone(path: Path, lock_name: str, busy: str) -> Iterator[None]:
    """A folder, made where it is not there yet, held by this process alone.

    Raises:
        ConfigError: It cannot be made or written to, or another process holds it; busy: what that one does.
    """
    lock = filelock.FileLock(path / lock_name, timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise wmtp.ConfigError(f"{busy} in {path}; wait for it, or use another run.name") from None
    except OSError as error:
        raise wmtp.ConfigError(
            f"{path} cannot be made or written to: {error.strerror}; use another run.name or --runs"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _state_of(path: Path) -> dict[str, Any] | str:
    """What a checkpoint with the mark says of itself; or what is wrong with that."""
    try:
        mark, found = (path / COMPLETE).read_bytes().strip(), (path / STATE).read_bytes()
    except OSError as error:
        return f"{path / STATE}: damaged: {error.strerror}"
    if hashlib.sha256(found).hexdigest().encode() != mark:
        return f"{path / STATE}: damaged: it is not what was written (its sha256 is not that in {COMPLETE})"
    state: dict[str, Any] = json.loads(found)
    if path.name != f"step-{state['step']:08d}":
        return f"{path}: damaged: it holds the checkpoint of step {state['step']}"
    return state


def faults_of(checkpoint: Checkpoint) -> list[str]:
    """What is wrong with a checkpoint's files; nothing, if all is well. Reads all of it."""
    return faults_in(checkpoint.path, checkpoint.state["files"])


def faults_in(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with a folder's files, by name → size and sha256 as `described` had them."""
    found = []
    for name, wanted in files.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path} is missing")
        elif path.stat().st_size != wanted["size"]:
            found.append(f"{path} has {path.stat().st_size} bytes, not {wanted['size']}")
        elif described(path) != wanted:
            found.append(f"{path} is damaged: its sha256 is another")
    return found


def described(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file."""
    with path.open("rb") as stream:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConfigError where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise wmtp.ConfigError(f"{path}: damaged: {error}") from None
    if not isinstance(found, dict):
        raise wmtp.ConfigError(f"{path}: damaged: not an object")
    return found


def write_json(path: Path, value: Any) -> None:
    """Writes it whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all, and onto the disk. Raises OSError with its name."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def written(what: str, place: Path) -> Iterator[None]:
    """Says in a sentence that a model could not be written to a place.

    Raises:
        WmtpError: For what the system, the format of weights, or torch says of it.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "StreamWriter" not in str(
            error
        ):  # torch's own writer has no class for it
            raise
        said = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise wmtp.WmtpError(
            f"{what} cannot be written to {place}: {said}. Nothing is left of it; make room, and run the same command again."
        ) from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
