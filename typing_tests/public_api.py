"""Code as a plugin's author and a library user write it. Type checkers read it; nothing runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import wmtp


def rows(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    path = request.fetch(("*.jsonl",)).path
    yield {"path": str(path), "split": request.split}


@wmtp.hookimpl
def wmtp_datasets() -> list[wmtp.DatasetSpec]:
    return [wmtp.DatasetSpec(name="puzzles", summary="our own puzzles", load=rows)]


class Echo:
    """An engine as the protocol asks for it."""

    def __init__(self) -> None:
        self.identity: Mapping[str, str] = {"model": "echo"}

    def generate(
        self, requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling
    ) -> Iterator[wmtp.Completion]:
        for request in requests:
            yield wmtp.Completion(
                key=request.key, text=request.prompt or "", finish_reason="stop", tokens=0, seconds=0.0
            )


engine: wmtp.Engine = Echo()


def load(request: wmtp.LoadRequest) -> wmtp.Engine:
    return engine


@wmtp.hookimpl
def wmtp_loaders() -> list[wmtp.LoaderSpec]:
    return [wmtp.LoaderSpec(name="echo", summary="repeats", matches=lambda ref: ref.startswith("echo:"), load=load)]


class Puzzles(wmtp.CodeBenchmark):
    """The least a benchmark says."""

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        for row in rows:
            yield wmtp.Problem(id=str(row["id"]), row=row)


def tests() -> Sequence[wmtp.CallTests | wmtp.StdioTests]:
    return [wmtp.CallTests(tests=("assert f(1) == 2",)), wmtp.StdioTests(cases=[wmtp.StdioCase(input="", expected="")])]


def use(results: wmtp.Results) -> float | None:
    value: wmtp.MetricValue = results.metrics["puzzles_pass@1"]
    return value.value
