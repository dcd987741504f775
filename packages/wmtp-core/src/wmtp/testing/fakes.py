"""Stand-ins for what a plugin does not bring itself: an engine with scripted answers, a storage in memory, a data set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from wmtp.contracts.engines import Completion, FinishReason, GenerationRequest, Sampling
from wmtp.contracts.loading import DatasetRequest
from wmtp.contracts.specs import DatasetSpec, LoaderSpec
from wmtp.contracts.storage import Entry, ObjectChanged
from wmtp.plugins.hookspecs import hookimpl

Answer = str | Callable[[GenerationRequest], str]


class FakeEngine:
    """An engine whose completions are scripted: problem → its answers by sample index, or a function of the request.

    `requests` keeps what was asked. A problem without an answer finishes with ``error``, as a real engine's failure does. An
    answer ends before the first of the request's stop strings in it, and behind `GenerationRequest.max_new_tokens` words.
    """

    def __init__(self, answers: Mapping[str, Sequence[str]] | Callable[[GenerationRequest], str]) -> None:
        self._answers = answers
        self.identity: Mapping[str, str] = {"id": "fake:"}
        self.requests: list[GenerationRequest] = []

    def _answer(self, request: GenerationRequest) -> str | None:
        if callable(self._answers):
            return self._answers(request)
        answers = self._answers.get(request.key.problem, ())
        return answers[request.key.index] if request.key.index < len(answers) else None

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        for request in requests:
            self.requests.append(request)
            answer = self._answer(request)
            text, reason = _ended(answer, request)
            yield Completion(
                key=request.key,
                text=text,
                finish_reason=reason,
                tokens=len(text.split()),
                seconds=0.0,
                error="no answer is scripted" if answer is None else "",
            )


def _ended(answer: str | None, request: GenerationRequest) -> tuple[str, FinishReason]:
    """The answer as far as an engine would write it; a token is a word here."""
    if answer is None:
        return "", "error"
    found = [at for stop in request.stop if (at := answer.find(stop)) >= 0]
    text = answer[: min(found)] if found else answer
    words = list(re.finditer(r"\S+", text))
    if len(words) > request.max_new_tokens:
        return text[: words[request.max_new_tokens - 1].end()], "length"
    return text, "stop"


class MemoryStorage:
    """A storage in memory. `versions` counts writes, so that an object that changes while it is read is noticed."""

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self._objects: dict[str, tuple[bytes, int]] = {}
        for key, data in (objects or {}).items():
            self.put(key, data, sha256=hashlib.sha256(data).hexdigest())

    def _entry(self, key: str) -> Entry:
        data, version = self._objects[key]
        return Entry(key=key, size=len(data), version=str(version), sha256=hashlib.sha256(data).hexdigest())

    def list(self, prefix: str) -> Iterator[Entry]:
        return (self._entry(key) for key in sorted(self._objects) if key.startswith(prefix))

    def read(self, entry: Entry, start: int, stop: int) -> Iterator[bytes]:
        data, version = self._objects.get(entry.key, (b"", -1))
        if str(version) != entry.version:
            raise ObjectChanged(entry.key)
        yield data[start:stop]

    def put(self, key: str, source: Path | bytes, *, sha256: str) -> Entry:
        data = source if isinstance(source, bytes) else source.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{key}: the content is not what its sha256 says")
        self._objects[key] = (data, self._objects.get(key, (b"", 0))[1] + 1)
        return self._entry(key)


def dataset_plugin(name: str, rows: Sequence[Mapping[str, Any]], distribution: str | None = None) -> ModuleType:
    """A plugin that registers a data set of these rows, the same for every split."""

    def load(request: DatasetRequest) -> Iterable[Mapping[str, Any]]:
        return rows

    module = ModuleType(distribution or f"memory_{name}")
    module.wmtp_datasets = hookimpl(  # type: ignore[attr-defined]
        specname="wmtp_datasets"
    )(lambda: [DatasetSpec(name=name, summary="rows in memory", load=load)])
    return module


def engine_plugin(engine: Any, reference: str = "fake:") -> ModuleType:
    """A plugin whose loader answers a model reference (``model.base_id: "fake:"``) with this engine."""
    module = ModuleType("fake_engine")
    spec = LoaderSpec(
        name="fake", summary="a scripted engine", matches=lambda given: given == reference, load=lambda request: engine
    )
    module.wmtp_loaders = hookimpl(specname="wmtp_loaders")(lambda: [spec])  # type: ignore[attr-defined]
    return module
