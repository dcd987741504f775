"""The engine of a run, opened on the first request and not before; and what is known of it without opening it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wmtp.errors import ConfigError
from wmtp.evaluation.rundir import write_atomically
from wmtp.generation.records import Completion, Engine, GenerationRequest, GenerationStats, Sampling
from wmtp.loaders import ModelLoader


class RunEngine:
    """Opens the model when a sample is missing. A run that only adds a metric never loads it.

    The engine's identity (weights' hash and all) is kept in ``engine.json`` beside a cheap stamp of the model's files. While
    the stamp holds, the identity is taken from there; otherwise the engine is opened to say what it is now.
    """

    def __init__(self, loader: ModelLoader, folder: Path) -> None:
        self._loader = loader
        self._file = folder / "engine.json"
        self._engine: Engine | None = None
        self._identity: Mapping[str, str] | None = None

    @property
    def stats(self) -> GenerationStats | None:
        return getattr(self._engine, "stats", None)

    def identity(self) -> Mapping[str, str]:
        if self._identity is None:
            stored = self._stored()
            stamp = self._loader.stamp()
            if stored and stored["stamp"] == stamp:
                self._identity = stored["identity"]
            else:
                self._open()
        assert self._identity is not None
        return self._identity

    def _stored(self) -> dict[str, Any] | None:
        if not self._file.exists():
            return None
        stored: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        return stored

    def _open(self) -> Engine:
        """Loads the model. Raises ConfigError if the run was made with another one under the same name."""
        if self._engine is not None:
            return self._engine
        engine = self._loader.load()
        identity = {k: str(v) for k, v in engine.identity.items()}
        stored = self._stored()
        if stored and stored["identity"] != identity:
            changed = [
                f"  {k}: {stored['identity'].get(k, 'absent')} → {identity.get(k, 'absent')}"
                for k in sorted(set(identity) | set(stored["identity"]))
                if stored["identity"].get(k) != identity.get(k)
            ]
            raise ConfigError(
                f"the run directory {self._file.parent} was made with another model, and is left as it is:\n"
                + "\n".join(changed)
                + "\nUse another run.name (--set run.name=…), or --fresh to start this one again."
            )
        text = json.dumps({"identity": identity, "stamp": self._loader.stamp()}, indent=1, sort_keys=True)
        write_atomically(self._file, text + "\n")
        self._engine, self._identity = engine, identity
        return engine

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        return self._open().generate(requests, sampling)

    def close(self) -> None:
        close = getattr(self._engine, "close", None)
        if close:
            close()
