"""Stand-ins on our side of the border: a judge, an engine and a benchmark, all real to `CodeBenchmark`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs
import pytest

import wmtp
from wmtp.runs.store import EvaluatorFiles


class ScriptedJudge:
    """Gives the status that the program's text names. ``infrastructure*2`` is one that works at the third attempt."""

    level = "process"
    notes: tuple[str, ...] = ()
    identity: Mapping[str, str] = {"judge": "scripted"}

    def __init__(self) -> None:
        self.judged: list[str] = []

    def submit(self, code: str, tests: wmtp.CallTests | wmtp.StdioTests) -> Future[wmtp.Outcome]:
        self.judged.append(code)
        status, _, times = code.partition("*")
        if times and self.judged.count(code) > int(times):
            status = "passed"
        future: Future[wmtp.Outcome] = Future()
        detail = "the judge's own fault" if status == "infrastructure" else ""
        future.set_result(wmtp.Outcome(status=status, detail=detail))  # type: ignore[arg-type]
        return future

    def close(self) -> None: ...


@attrs.frozen
class TextSettings:
    style: str = "plain"
    hard: bool = False


class TextBenchmark(wmtp.CodeBenchmark):
    """Problems whose reference is the status that they will have."""

    pass_metric = "text_pass"
    stop = ("END",)
    judge_settings = ("hard",)

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[wmtp.Problem]:
        for row in rows:
            yield wmtp.Problem(id=row["id"], row=row, reference=row["answer"])

    def prompt(self, problem: wmtp.Problem) -> str:
        return f"{self.settings.style} {problem.id}"

    def program(self, problem: wmtp.Problem, code: str) -> wmtp.CallTests:
        return wmtp.CallTests(tests=("assert True",))

    def score(self, problem: wmtp.Problem, samples: Any, verdicts: Any) -> Mapping[str, float]:
        return {"text_length": float(len(samples[0].completion))}


class Bench:
    """A benchmark in a folder: ``bench.run(answers)`` evaluates it, and keeps what was asked of engine and judge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.judge = ScriptedJudge()
        self.requests: list[wmtp.GenerationRequest] = []
        self.events: list[Any] = []
        self.temperature = 0.0
        self.benchmark: Callable[[], wmtp.CodeBenchmark] = TextBenchmark
        self.answer: Callable[[wmtp.GenerationRequest], str] = lambda request: request.reference or ""

    def run(
        self,
        answers: list[str],
        *,
        n: int = 1,
        limit: int | None = None,
        metrics: tuple[str, ...] = ("text_pass@1",),
        settings: TextSettings | None = None,
        engine: Callable[..., Iterator[wmtp.Completion]] | None = None,
        too_long: Any = "error",
    ) -> wmtp.EvaluationResult:
        rows = [{"id": f"p{i}", "answer": answer} for i, answer in enumerate(answers)]
        files = EvaluatorFiles(
            self.folder,
            "text-v1",
            generation=lambda: {"temperature": self.temperature},
            judging=lambda: self.judge.identity,
            emit=self.events.append,
        )
        task = wmtp.EvaluationTask(
            evaluator="text-v1",
            metrics=metrics,
            settings=settings or TextSettings(),
            sampling=wmtp.Sampling(n=n),
            limit=limit,
            rows=lambda split: rows,
            store=files,
            generate=engine or self.generate,
            judge=self.judge,  # type: ignore[arg-type]
            too_long=too_long,
        )
        try:
            return self.benchmark().evaluate(task)
        finally:
            files.close()

    def generate(
        self, requests: Iterable[wmtp.GenerationRequest], sampling: wmtp.Sampling
    ) -> Iterator[wmtp.Completion]:
        for request in requests:
            self.requests.append(request)
            yield wmtp.Completion(
                key=request.key,
                text=self.answer(request),
                finish_reason="stop",
                tokens=3,
                seconds=0.1,
            )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def text_benchmark() -> type[wmtp.CodeBenchmark]:
    return TextBenchmark


@pytest.fixture
def text_settings() -> type[TextSettings]:
    return TextSettings
