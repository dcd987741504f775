"""The engine of a run, opened on the first request and not before; and what is known of it without opening it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from wmtp.contracts.catalog import Registered
from wmtp.contracts.engines import (
    Closes,
    Completion,
    Engine,
    GenerationRequest,
    GenerationStats,
    HasOrigin,
    HasStats,
    HeadScores,
    KnowsInvariance,
    Message,
    Refreshes,
    Replays,
    SampleKey,
    Sampling,
    ScoresHeads,
)
from wmtp.errors import ConfigError, PluginError, WmtpError
from wmtp.kit.batches import InBatches
from wmtp.kit.spreading import summed
from wmtp.loaders import ModelLoader
from wmtp.plugins.calling import CORE, called, checked_engine
from wmtp.runs.folder import read_object, write_atomically

_END = object()


class GivenModel:
    """An engine that a program opened itself, where a run expects a model to load. It stays open: it is not the run's."""

    reference = "in memory"

    def __init__(self, engine: Engine) -> None:
        self._engine = checked_engine(engine, "what was given as engine")
        if isinstance(engine, Refreshes):
            engine.refresh()

    @property
    def owned(self) -> Registered[Engine]:
        """The engine under the name of its class: an engine of ours is core's, any other whoever's program it is."""
        kind = type(self._engine)
        ours = kind.__module__.partition(".")[0] == "wmtp"
        name = CORE if ours else f"{kind.__module__}.{kind.__qualname__}"
        return Registered(spec=self._engine, distribution=name, version="", plugin=None)

    @property
    def replays(self) -> bool:
        return isinstance(self._engine, Replays)

    def load(self, threads: int | None = None, *, whole_digests: bool = False) -> Engine:
        return self._engine

    def stamp(self) -> dict[str, str]:
        return {key: str(value) for key, value in self._engine.identity.items()}


def _fault(completion: object, wanted: set[SampleKey]) -> str:
    """Why this is no completion of those that are wanted; empty where it is one."""
    if not isinstance(completion, Completion):
        return f"{completion!r:.80}, not a wmtp.Completion"
    key = completion.key
    if key not in wanted:
        return (
            f"sample {key.index} of problem {key.problem} of {key.evaluator}, which it was not asked for or has given already: "
            "a completion has the key of its request"
        )
    try:
        json.dumps(completion.extra) if completion.extra else None
    except (TypeError, ValueError) as error:
        return f"Completion.extra that is no JSON, for sample {key.index} of problem {key.problem}: {error}"
    return ""


class _Requests:
    """The requests of an evaluator on their way to an engine: what is out, and what ended them."""

    def __init__(self, requests: Iterable[GenerationRequest]) -> None:
        self._requests = requests
        self.wanted: set[SampleKey] = set()
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[GenerationRequest]:
        try:
            for request in self._requests:
                self.wanted.add(request.key)
                yield request
        except Exception as error:
            self.error = error
            raise


class RunEngine:
    """Opens the model when a sample is missing. A run that only adds a metric never loads it.

    The engine's identity (weights' hash and all) is kept in ``engine.json`` beside a cheap stamp of the model's files. While
    the stamp holds, the identity is taken from there; otherwise the engine is opened to say what it is now. What engines
    counted is kept there too, over all the sessions that a run took.
    """

    def __init__(self, loader: ModelLoader | GivenModel, folder: Path) -> None:
        self._loader = loader
        self._folder = folder
        self._file = folder / "engine.json"
        self._engine: Engine | None = None
        self._identity: Mapping[str, str] | None = None
        self._whole = False
        stored = self._stored()
        self._earlier = GenerationStats(**stored["stats"]) if stored and stored.get("stats") else None

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        """Names the engine and whose it is, where a part of it fails: the evaluator that asked it has no fault in that."""
        try:
            yield
        except (WmtpError, OSError):
            raise
        except Exception:  # whose it is takes a look at all loaders: only now
            with called(f"Engine.{what} of model {self._loader.reference!r}", self._loader.owned):
                raise

    @property
    def stats(self) -> GenerationStats | None:
        """Totals over every session of the run that ended by itself; ``None`` if no engine has counted anything."""
        with self._calling("stats"):
            now = self._engine.stats if isinstance(self._engine, HasStats) else None
        return summed(self._earlier, now) if self._earlier and now else now or self._earlier

    def identity(self) -> Mapping[str, str]:
        """What decides samples. Opens the engine only where ``engine.json`` cannot answer."""
        if self._identity is None:
            stored = self._stored()
            if stored and stored["stamp"] == self._loader.stamp():
                self._identity = stored["identity"]
            else:
                self._open()
        assert self._identity is not None
        return self._identity

    def _stored(self) -> dict[str, Any] | None:
        """What the run's samples were made with; nothing, as long as there are none."""
        if not any(p.stat().st_size for p in self._folder.glob("samples/*.jsonl")):
            return None
        return read_object(self._file)

    def _open(self) -> Engine:
        """Loads the model. Raises ConfigError if the run was made with another one under the same name."""
        if self._engine is not None:
            return self._engine
        stored = self._stored()
        kept = (stored or {}).get("origin", {}).get("threads")
        self._whole = stored is not None and stored.get("digests") != "pieces"
        loaded = self._loader.load(threads=int(kept) if kept else None, whole_digests=self._whole)
        with self._calling("identity"):
            engine = checked_engine(loaded, f"what the loader of {self._loader.reference!r} made")
            identity = {k: str(v) for k, v in engine.identity.items()}
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
        self._engine, self._identity = engine, identity
        self.save()
        return engine

    def save(self) -> None:
        """Writes ``engine.json``, if this session opened the engine."""
        if self._engine is not None:
            stats = self.stats
            kept = {
                "identity": dict(self.identity()),
                "origin": dict(self._engine.origin) if isinstance(self._engine, HasOrigin) else {},
                "batch_invariant": self._engine.batch_invariant if isinstance(self._engine, KnowsInvariance) else None,
                "digests": "whole files" if self._whole else "pieces",
                "stamp": self._loader.stamp(),
                "stats": None if stats is None else attrs.asdict(stats),
            }
            write_atomically(self._file, json.dumps(kept, indent=1, sort_keys=True) + "\n")

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        """In batches, if the engine has several at a time. Raises PluginError for what is no answer to a request."""
        asked = _Requests(requests)
        with self._generating(asked):
            found: object = self._open().generate(iter(asked), sampling)
        if not isinstance(found, Iterable):
            raise PluginError(
                f"the engine of {self._loader.reference!r} returned {found!r:.80}, not an iterator of wmtp.Completion"
            )
        if isinstance(found, InBatches):
            return InBatches(self._checked_batches(found, asked))
        return (self._checked(completion, asked.wanted) for completion in self._each(found, asked))

    def _checked_batches(self, found: InBatches, asked: _Requests) -> Generator[Sequence[Completion], None, None]:
        """Each batch as far as it is right: a fault costs none of those before it."""
        try:
            for batch in self._each(found.together(), asked):
                right: list[Completion] = []
                try:
                    for completion in batch:
                        right.append(self._checked(completion, asked.wanted))
                except PluginError:
                    yield right
                    raise
                yield right
        finally:
            found.close()

    def _each(self, found: Iterable[Any], asked: _Requests) -> Iterator[Any]:
        """What an engine gives, and what keeps it from giving more told as its own."""
        with self._generating(asked):
            coming = iter(found)
        while True:
            with self._generating(asked):
                one = next(coming, _END)
            if one is _END:
                return
            yield one

    def _checked(self, completion: Any, wanted: set[SampleKey]) -> Completion:
        if fault := _fault(completion, wanted):
            raise PluginError(f"the engine of {self._loader.reference!r} gave {fault}")
        wanted.remove(completion.key)
        return completion  # type: ignore[no-any-return]

    @contextmanager
    def _generating(self, asked: _Requests) -> Iterator[None]:
        """As `_calling`, but for what the evaluator's own requests raised: that came through the engine only."""
        try:
            with self._calling("generate"):
                yield
        except PluginError as error:
            if asked.error is not None and error.__cause__ is asked.error:
                raise asked.error from None
            raise

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        """Raises ConfigError where the engine has no heads to score with: it replays what is stored."""
        engine = self._open()
        if not isinstance(engine, ScoresHeads):
            raise ConfigError(
                f"model.base_id: {self._loader.reference!r} predicts nothing; metrics of heads need a model"
            )
        with self._calling("head_scores"):
            return engine.head_scores(prompt, text)

    @property
    def replays(self) -> bool:
        """Whether the samples are written already, and how many there are is not ours to choose."""
        return self._loader.replays

    def available(self, problems: Sequence[str], *, whole: bool) -> Mapping[str, int]:
        """See `Replays.available`. Raises PluginError where the loader promised an engine that replays, and it does not."""
        engine = self._open()
        if not isinstance(engine, Replays):
            raise PluginError(
                f"the loader of {self._loader.reference!r} says that it replays; its engine has no available()"
            )
        with self._calling("available"):
            return engine.available(problems, whole=whole)

    def close(self) -> None:
        self.save()
        engine: object = self._engine
        if isinstance(engine, Closes) and not isinstance(self._loader, GivenModel):
            with self._calling("close"):
                engine.close()
