"""`CodeBenchmark`: the base of a benchmark that samples programs and judges them.

A plugin overrides five small methods and gets sampling, judging beside generation, resume, pass@k and reports.
"""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs

from wmtp.contracts.engines import Completion, Message, SampleKey
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, FirstRows, Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, Outcome, StdioTests
from wmtp.contracts.values import ALONE, any_text, as_tuple, mapping, stop_texts, turns
from wmtp.errors import ConfigError, PluginError, WmtpError
from wmtp.evaluation.asking import Prompt
from wmtp.evaluation.benchmark_run import BenchmarkRun
from wmtp.kit.extraction import Choice, extract, extract_plainly
from wmtp.kit.presumed import presumed
from wmtp.kit.prompts import ChatSettings, PromptForm, bare_completion, chat
from wmtp.kit.scores import PartialCredit, without_known_bad
from wmtp.kit.wanted import Extraction, Wanted

MOST_KEPT_TESTS = 8


def thinking(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine said of a completion's thinking, as `extract` takes it."""
    reasoning = extra.get("reasoning")
    return {
        "thinking_opened": bool(extra.get("thinking_opened")),
        "reasoning": reasoning if isinstance(reasoning, str) else "",
    }


_ATTRIBUTES = {
    "stop": stop_texts,
    "pass_metric": any_text,
    "first_metric": any_text,
    "tests_metric": any_text,
    "known_bad": mapping,
}


def _told(extra: Mapping[str, Any], found: Extraction) -> dict[str, Any]:
    return {**extra, "rule": found.rule, **({"thinking": found.thinking} if found.thinking else {})}


class _End:
    """Behind the last problem."""


_END = _End()


class _Own:
    """A part of a plugin that runs. Not made of a generator: there are several for each sample."""

    __slots__ = ("_benchmark", "_method", "_what")

    def __init__(self, benchmark: CodeBenchmark, method: str, what: str) -> None:
        self._benchmark, self._method, self._what = benchmark, method, what

    def __enter__(self) -> None:
        """Nothing is held."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, WmtpError | OSError):
            benchmark = self._benchmark
            raise PluginError(
                f"{type(benchmark).__name__}.{self._method} of {benchmark.task.evaluator} failed on {self._what}: "
                f"{type(error).__name__}: {error}. That is the plugin's own; its traceback is in the run's log.txt."
            ) from error


class CodeBenchmark:
    """Override `problems`, `prompt`, `wanted` or `code`, `tests`, and `score` for metrics of your own; then ``evaluate(task)``.

    Class attributes: `split`, the split to read; `stop`, strings that end a completion; `pass_metric`, the name before
    ``@k`` of the pass@k metric; `first_metric`, the same of pass@k on the first test alone, where it is a benchmark of its own
    (EvalPlus' base inputs); `tests_metric`, the name of the mean share of tests passed, where the settings are a
    `wmtp.kit.PartialCredit`; `known_bad`, problems that are known to be bad and why: they stay in the score, and the report
    gives the one without them. While `evaluate` runs, ``self.task`` is the task and ``self.settings`` its settings.
    """

    stop: tuple[str, ...] = ()
    pass_metric = ""
    first_metric = ""
    tests_metric = ""
    known_bad: Mapping[str, str] = types.MappingProxyType({})

    task: EvaluationTask
    settings: Any = None

    # What a plugin overrides

    @property
    def split(self) -> str:
        """The split to read; a class attribute may stand here as well."""
        return "test"

    def problems(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
        """Rows of the split → problems, in order, with ids that are unique in it."""
        raise NotImplementedError

    def prompt(self, problem: Problem) -> str | list[Message]:
        """What the model is given: text, or turns for a model with a chat template."""
        raise NotImplementedError

    def prompts(self, problem: Problem) -> Iterator[Prompt]:
        """The prompt; then, of a benchmark that shows solved examples, the same with fewer and fewer of them, for
        ``eval.too_long: fewer-shots``."""
        yield self.prompt(problem)

    def form(self) -> PromptForm:
        """How it asks: by default in turns where the settings are a `ChatSettings` that says chat, else bare text that ends
        at `stop`."""
        settings = self.settings
        return chat(settings) if isinstance(settings, ChatSettings) and settings.chat else bare_completion(*self.stop)

    def wanted(self, problem: Problem) -> Wanted | None:
        """What the tests need of a program, for `code`; ``None`` takes completions as they stand."""
        return None

    def _wanted(self, problem: Problem) -> Wanted | None:
        """The same; every sample of a problem asks again."""
        if self._last_wanted is None or self._last_wanted[0] is not problem:
            self._last_wanted = (problem, self.wanted(problem))
        return self._last_wanted[1]

    _last_wanted: tuple[Problem, Wanted | None] | None = None

    def code(self, problem: Problem, completion: Completion) -> str | None:
        """The program in a completion, or ``None`` if there is none (the verdict is then ``no-code``).

        By default what `wmtp.kit.extract` finds of what is `wanted`; the rule that found it is stored with the sample.
        """
        found = self._extraction(problem, completion)
        return completion.text if found is None else found.code

    def _extraction(self, problem: Problem, completion: Completion) -> Extraction | None:
        wanted = self._wanted(problem)
        if wanted is None:
            return None
        return extract(completion.text, wanted, **thinking(completion.extra))

    def tests(self, problem: Problem) -> CallTests | StdioTests:
        """How every program of a problem is judged. Asked once while the problem's samples are judged together."""
        raise NotImplementedError

    def program(self, problem: Problem, code: str) -> CallTests | StdioTests:
        """How one program is judged; by default by its problem's `tests`."""
        if problem.id not in self._kept_tests:
            if len(self._kept_tests) >= MOST_KEPT_TESTS:
                self._kept_tests.pop(next(iter(self._kept_tests)), None)
            self._kept_tests[problem.id] = self.tests(problem)
        return self._kept_tests[problem.id]

    @cached_property
    def _kept_tests(self) -> dict[str, CallTests | StdioTests]:
        return {}

    def score(self, problem: Problem, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> Mapping[str, float]:
        """Per-problem values of metrics other than pass@k. Samples and verdicts are all of the problem's."""
        return {}

    def reference(self, problem: Problem) -> str | None:
        """The completion that ``reference:`` replays; by default the reference solution itself."""
        return problem.reference

    def prompt_form(self) -> Mapping[str, Any]:
        """What decides the prompts, for generation_key: by default the split and every setting."""
        settings = self.settings
        fields = getattr(type(settings), "__attrs_attrs__", ())
        values = {
            a.name: getattr(settings, a.name)
            for a in fields
            if a.metadata.get("keyed") != "if set" or getattr(settings, a.name)
        }
        return {"split": self.split, **{f"setting {k}": v for k, v in values.items() if k not in self._of_verdicts}}

    judge_settings: tuple[str, ...] = ()
    """Settings that decide verdicts and not prompts: part of judge_key instead of generation_key."""

    @property
    def all_tests(self) -> bool:
        """Whether tests behind one that fails are run as well."""
        return isinstance(self.settings, PartialCredit) and self.settings.all_tests

    @property
    def _of_verdicts(self) -> tuple[str, ...]:
        return (*self.judge_settings, "all_tests") if isinstance(self.settings, PartialCredit) else self.judge_settings

    def _judge_form(self) -> Mapping[str, Any]:
        """What decides verdicts, for judge_key. A run that was judged without all tests does not say how many pass; one that
        was not asked for them keeps the key it had."""
        parts = {f"setting {k}": getattr(self.settings, k) for k in self._of_verdicts}
        return {k: v for k, v in parts.items() if k != "setting all_tests" or v}

    # What it does with them

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        """Brings the run to its end: missing samples, missing verdicts, then the metrics from what is on disk."""
        return without_known_bad(BenchmarkRun(self, task).run(), self.known_bad)

    def begin(self, task: EvaluationTask) -> dict[str, Problem]:
        """Takes the task on and reads its problems: id → problem, in order, as far as the task's limit."""
        self.task, self.settings = task, task.settings
        self._check_attributes()
        self._kept_tests.clear()
        if self.tests_metric in task.metrics and not self.all_tests:
            raise ConfigError(
                f"{self.tests_metric} counts all tests of every program, and one that fails a test is not run on the others; "
                f"set eval.evaluators.{task.evaluator}.all_tests: true"
            )
        limit, rows = task.limit, task.rows
        if limit is not None and isinstance(rows, FirstRows):
            found = self._read(rows.first(self.split, limit), limit)
            if len(found) == limit:  # fewer: the split ends there, or not every row is a problem
                return found
        found = self._read(rows(self.split), limit)
        if not found:
            raise ConfigError(f"{self.task.evaluator}: the data set has no problems in split {self.split!r}")
        return found

    def _check_attributes(self) -> None:
        """Refuses class attributes of another type than is meant: a text as `stop` would end completions at each letter."""
        for name, check in _ATTRIBUTES.items():
            with self._own(name, "this task"):
                value = getattr(self, name)
            try:
                check(None, ALONE, as_tuple(value))
            except (TypeError, ValueError) as error:
                raise PluginError(f"{type(self).__name__}.{name} of {self.task.evaluator} {error}") from None

    def _read(self, rows: Iterable[Mapping[str, Any]], limit: int | None) -> dict[str, Problem]:
        found: dict[str, Problem] = {}
        with self._own("problems", "the rows"):
            problems = itertools.islice(self.problems(rows), limit if limit is None else min(limit, sys.maxsize))
        while True:
            with self._own("problems", f"row {len(found)}"):
                problem = next(problems, _END)
                if not isinstance(problem, Problem | _End):
                    raise TypeError(f"it gave {problem!r:.80}, not a wmtp.Problem")
            if isinstance(problem, _End):
                return found
            if problem.id in found:
                raise ConfigError(f"{self.task.evaluator}: problem {problem.id} is in the data twice")
            found[problem.id] = problem

    def _prompts(self, problem: Problem) -> Iterator[Prompt]:
        """`prompts` in the benchmark's form."""
        with self._own("prompt", f"problem {problem.id}"):
            for prompt in self.prompts(problem):
                if not prompt and isinstance(prompt, str | list | tuple):
                    raise ValueError("the prompt is empty")
                if not isinstance(prompt, str):
                    turns(None, ALONE, as_tuple(prompt))
                yield self.form().ask(prompt)

    def _own(self, method: str, what: str) -> _Own:
        """Names the method of the plugin that failed, and on what: its own error alone tells a user nothing."""
        return _Own(self, method, what)

    def _taken_out(
        self, problem: Problem, completion: Completion, *, presume: bool = False
    ) -> tuple[str | None, dict[str, Any]]:
        """The program, and what is stored of how it was found. What another tool took out already stands as it is.

        presume: Parse no answer that looks like a program. `_parsed` does, where it does not pass.
        """
        extra = dict(completion.extra)
        if extra.pop("field", "") == "solution":
            return completion.text, {**extra, "rule": "stored program"}
        found = self._presumed(problem, completion) if presume else None
        if found is None and type(self).code is CodeBenchmark.code:
            found = self._extraction(problem, completion)
        if found is None:
            code = self.code(problem, completion)
            if not isinstance(code, str | None):
                raise TypeError(f"it returned {code!r:.80}, not the program as text, or None")
            return code, extra
        return found.code, _told(extra, found)

    def _presumed(self, problem: Problem, answer: Completion | Sample) -> Extraction | None:
        if type(self).code is not CodeBenchmark.code or answer.finish_reason == "length":
            return None
        if any(thinking(answer.extra).values()):
            return None
        text = answer.text if isinstance(answer, Completion) else answer.completion
        wanted = self._wanted(problem)
        return None if wanted is None else presumed(text, wanted)

    def _parsed(self, problem: Problem, sample: Sample) -> Sample:
        """The sample with the program that is found in it, where that was presumed; else as it is."""
        with self._own("wanted", f"problem {problem.id}"):
            taken, wanted = self._presumed(problem, sample), self._wanted(problem)
        if taken is None or (taken.code, taken.rule) != (sample.code, sample.extra.get("rule")):
            return sample
        assert wanted is not None, "something was presumed"
        found = extract(sample.completion, wanted)
        if found == taken:
            return sample
        return attrs.evolve(sample, code=found.code, extra=_told(sample.extra, found))

    def _recode(self, problem: Problem, sample: Sample) -> Mapping[Choice, str | None]:
        """The programs that plainer rules take out, for the audit."""
        wanted = self._wanted(problem)
        assert wanted is not None, "only samples with a rule are audited"
        whole = sample.code if sample.extra.get("rule") == "whole" else None
        return extract_plainly(sample.completion, wanted, whole=whole, **thinking(sample.extra))

    def _rejudge(self, problem: Problem, code: str) -> Callable[[], Outcome]:
        return self.task.judge.submit(code, self.program(problem, code)).result

    def _reference_program(self, problem: Problem) -> str | None:
        """The program in the reference solution, taken out as one of a model's is."""
        text = self.reference(problem)
        if text is None:
            return None
        key = SampleKey(evaluator=self.task.evaluator, problem=problem.id, index=0)
        return self.code(problem, Completion(key=key, text=text, finish_reason="stop", tokens=0, seconds=0.0))
