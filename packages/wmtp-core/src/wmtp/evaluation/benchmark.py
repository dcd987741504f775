"""`CodeBenchmark`: the base of a benchmark that samples programs and judges them.

A plugin overrides five small methods and gets sampling, judging beside generation, resume, pass@k and reports.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs

from wmtp.contracts.engines import Completion, GenerationRequest, Message, SampleKey
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, FirstRows, MetricValue, Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, Outcome, StdioTests
from wmtp.errors import ConfigError, PluginError, WmtpError
from wmtp.evaluation.failures import Failures
from wmtp.evaluation.metrics import summarise
from wmtp.evaluation.taken_out import TakenOut
from wmtp.kit.extraction import Choice, Extraction, Wanted, extract
from wmtp.kit.prompts import ChatSettings, PromptForm, bare_completion, chat
from wmtp.kit.scores import pass_at_k

Key = tuple[str, int]
NOTES = 20  # of what is missing, named one by one
NO_TESTS = "the problem has no tests, so every program would pass"
log = logging.getLogger("wmtp.evaluation")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def thinking(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine said of a completion's thinking, as `extract` takes it."""
    reasoning = extra.get("reasoning")
    return {
        "thinking_opened": bool(extra.get("thinking_opened")),
        "reasoning": reasoning if isinstance(reasoning, str) else "",
    }


class CodeBenchmark:
    """Override `problems`, `prompt`, `code`, `program`, and `score` for metrics of your own; then ``evaluate(task)``.

    Class attributes: `split`, the split to read; `stop`, strings that end a completion; `pass_metric`, the name before
    ``@k`` of the pass@k metric. While `evaluate` runs, ``self.task`` is the task and ``self.settings`` its settings.
    """

    stop: tuple[str, ...] = ()
    pass_metric = ""

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

    def form(self) -> PromptForm:
        """How it asks: by default in turns where the settings are a `ChatSettings` that says chat, else bare text that ends
        at `stop`."""
        settings = self.settings
        return chat(settings) if isinstance(settings, ChatSettings) and settings.chat else bare_completion(*self.stop)

    def wanted(self, problem: Problem) -> Wanted | None:
        """What the tests need of a program, for `code`; ``None`` takes completions as they stand."""
        return None

    def code(self, problem: Problem, completion: Completion) -> str | None:
        """The program in a completion, or ``None`` if there is none (the verdict is then ``no-code``).

        By default what `wmtp.kit.extract` finds of what is `wanted`; the rule that found it is stored with the sample.
        """
        found = self._extraction(problem, completion)
        return completion.text if found is None else found.code

    def _extraction(self, problem: Problem, completion: Completion) -> Extraction | None:
        wanted = self.wanted(problem)
        if wanted is None:
            return None
        return extract(completion.text, wanted, **thinking(completion.extra))

    def program(self, problem: Problem, code: str) -> CallTests | StdioTests:
        """How the program is judged."""
        raise NotImplementedError

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
        return {"split": self.split, **{f"setting {k}": v for k, v in values.items() if k not in self.judge_settings}}

    judge_settings: tuple[str, ...] = ()
    """Settings that decide verdicts and not prompts: part of judge_key instead of generation_key."""

    # What it does with them

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        """Brings the run to its end: missing samples, missing verdicts, then the metrics from what is on disk."""
        problems = self.begin(task)
        counts = self._counts(problems)
        generation_key = task.store.generation_key({**self.prompt_form(), "stop": list(self.form().stop)})
        judge_key = task.store.judge_key({f"setting {k}": getattr(self.settings, k) for k in self.judge_settings})
        given = {p.id: self._prompt(p) for p in problems.values()}
        prompts = {problem: _as_text(prompt) for problem, prompt in given.items()}
        digests = {p.id: p.digest or sha256(json.dumps(p.row, sort_keys=True, default=str)) for p in problems.values()}
        keys = {p: sha256(judge_key + digest)[:16] for p, digest in digests.items()}
        wanted = sum(counts.values())
        have = self._stored_samples(counts, prompts, generation_key)
        judged = self._stored_verdicts(keys, have)
        task.store.expect(wanted, samples=len(have), verdicts=len(judged))
        log.info(
            "%s: %d problem%s; there already: samples %d of %d, verdicts %d of %d",
            task.evaluator, len(problems), "" if len(problems) == 1 else "s", len(have), wanted, len(judged), wanted,
        )  # fmt: skip
        work = _Work(self, keys, judged)
        for sample in task.store.samples() if len(judged) < len(have) else ():
            key = (sample.key.problem, sample.key.index)
            if key in have and key not in judged:
                work.submit(problems[sample.key.problem], sample)
        if self.task.available is None:
            task.store.add_prompts(given)
        errors: list[str] = []
        reached: Counter[str] = Counter()
        for batch in self._batches(counts, keys, prompts, judged):
            reached.update(problem for problem, _ in batch)
            missing = [(problems[problem], index) for problem, index in batch if (problem, index) not in have]
            errors += self._generate(missing, problems, given, generation_key, work) if missing else []
            work.finish()
        return self._result(list(problems.values()), reached, errors)

    def _batches(
        self, counts: Mapping[str, int], rows: Mapping[str, str], prompts: Mapping[str, str], passed: Mapping[Key, bool]
    ) -> Iterable[Sequence[Key]]:
        """Which samples are wanted: all at once, or as the task's `stopping` says after each batch."""
        if self.task.stopping is None:
            # A problem's samples together: the engine runs its prompt once.
            return [[(problem, index) for problem, count in counts.items() for index in range(count)]]
        digests = {problem: sha256(text) for problem, text in prompts.items()}
        return self.task.stopping.batches(rows=rows, prompts=digests, passed=passed)

    def begin(self, task: EvaluationTask) -> dict[str, Problem]:
        """Takes the task on and reads its problems: id → problem, in order, as far as the task's limit."""
        self.task, self.settings = task, task.settings
        limit, rows = task.limit, task.rows
        if limit is not None and isinstance(rows, FirstRows):
            found = self._read(rows.first(self.split, limit), limit)
            if len(found) == limit:  # fewer: the split ends there, or not every row is a problem
                return found
        found = self._read(rows(self.split), limit)
        if not found:
            raise ConfigError(f"{self.task.evaluator}: the data set has no problems in split {self.split!r}")
        return found

    def _read(self, rows: Iterable[Mapping[str, Any]], limit: int | None) -> dict[str, Problem]:
        found: dict[str, Problem] = {}
        problems = itertools.islice(self.problems(rows), limit)
        while True:
            with self._own("problems", f"row {len(found)}"):
                problem = next(problems, None)
            if problem is None:
                return found
            if problem.id in found:
                raise ConfigError(f"{self.task.evaluator}: problem {problem.id} is in the data twice")
            found[problem.id] = problem

    def _counts(self, problems: Iterable[str]) -> dict[str, int]:
        """Problem → how many samples it gets: n, or as many as are stored. Raises ConfigError if too few for a metric."""
        if self.task.available is None:
            return dict.fromkeys(problems, self.task.sampling.count)
        counts = dict(self.task.available(list(problems)))
        fewest = min(counts, key=counts.__getitem__)
        for name in self.task.metrics:
            base, _, k = name.rpartition("@")
            if base and base == self.pass_metric and int(k) > counts[fewest]:
                raise ConfigError(
                    f"{name} needs {k} samples of every problem; of problem {fewest} there are {counts[fewest]}"
                )
        return counts

    def _prompt(self, problem: Problem) -> str | list[Message]:
        """The prompt; none where what is judged was written elsewhere, and nobody knows what it was asked with."""
        if self.task.available is not None:
            return ""
        with self._own("prompt", f"problem {problem.id}"):
            prompt = self.form().ask(self.prompt(problem))
            if not prompt:
                raise ValueError("the prompt is empty")
            return prompt

    @contextmanager
    def _own(self, method: str, what: str) -> Iterator[None]:
        """Names the method of the plugin that failed, and on what: its own error alone tells a user nothing."""
        try:
            yield
        except (WmtpError, OSError):
            raise
        except Exception as error:
            raise PluginError(
                f"{type(self).__name__}.{method} of {self.task.evaluator} failed on {what}: {type(error).__name__}: {error}. "
                "That is the plugin's own; its traceback is in the run's log.txt."
            ) from error

    def _stored_samples(
        self, counts: Mapping[str, int], prompts: Mapping[str, str], generation_key: str
    ) -> dict[Key, str]:
        """(problem, index) → digest of its code, for samples of this run that are wanted. Refuses others'."""
        have: dict[Key, str] = {}
        digests = {problem: sha256(text) for problem, text in prompts.items()}
        for sample in self.task.store.samples():
            problem, index = sample.key.problem, sample.key.index
            if index >= counts.get(problem, 0):
                continue
            if sample.generation_key != generation_key or sample.prompt_sha256 != digests[problem]:
                raise ConfigError(
                    f"{self.task.evaluator}: the run's sample {index} of problem {problem} was made from "
                    "another prompt or with other settings (did the data change?). Use another run.name, or --fresh."
                )
            have[problem, index] = sha256(sample.code or "")
        return have

    def _stored_verdicts(self, keys: Mapping[str, str], have: Mapping[Key, str]) -> dict[Key, bool]:
        """(problem, index) → whether it passed, for samples that are judged already. Refuses others' verdicts."""
        judged: dict[Key, bool] = {}
        for verdict in self.task.store.verdicts():
            key = (verdict.key.problem, verdict.key.index)
            if key not in have:
                continue
            if verdict.judge_key != keys[verdict.key.problem]:
                raise ConfigError(
                    f"{self.task.evaluator}: the data row of problem {verdict.key.problem} changed since it was judged. Use "
                    "another run.name, or --fresh."
                )
            if verdict.outcome.status == "infrastructure" or verdict.code_sha256 != have[key]:
                judged.pop(key, None)
            else:
                judged[key] = verdict.outcome.passed
        return judged

    def _generate(
        self,
        missing: Sequence[tuple[Problem, int]],
        problems: Mapping[str, Problem],
        given: Mapping[str, str | list[Message]],
        generation_key: str,
        work: _Work,
    ) -> list[str]:
        """Generates what is missing; every completion is on disk before it is judged. Returns the engine's errors."""
        order = {problem: i for i, problem in enumerate(problems)}
        digests: dict[str, str] = {}
        errors = []
        requests = (self._request(p, given[p.id], i, order) for p, i in missing)
        for completion in self.task.generate(requests, self.task.sampling):
            if completion.finish_reason == "error":
                errors.append(f"problem {completion.key.problem}, sample {completion.key.index}: {completion.error}")
                continue
            problem = problems[completion.key.problem]
            with self._own("code", f"problem {problem.id}, sample {completion.key.index}"):
                code, extra = self._taken_out(problem, completion)
            sample = Sample(
                key=completion.key,
                completion=completion.text,
                code=code,
                finish_reason=completion.finish_reason,
                tokens=completion.tokens,
                seconds=round(completion.seconds, 4),
                prompt_sha256=digests.get(problem.id)
                or digests.setdefault(problem.id, sha256(_as_text(given[problem.id]))),
                generation_key=generation_key,
                extra=extra,
            )
            self.task.store.add_sample(sample)
            work.submit(problem, sample)
        return errors

    def _taken_out(self, problem: Problem, completion: Completion) -> tuple[str | None, dict[str, Any]]:
        """The program, and what is stored of how it was found. What another tool took out already stands as it is."""
        extra = dict(completion.extra)
        if extra.pop("field", "") == "solution":
            return completion.text, {**extra, "rule": "stored program"}
        found = self._extraction(problem, completion) if type(self).code is CodeBenchmark.code else None
        if found is None:
            return self.code(problem, completion), extra
        extra["rule"] = found.rule
        if found.thinking:
            extra["thinking"] = found.thinking
        return found.code, extra

    def _recode(self, problem: Problem, sample: Sample, choice: Choice) -> str | None:
        """The program that a plainer rule takes out, for the audit."""
        wanted = self.wanted(problem)
        assert wanted is not None, "only samples with a rule are audited"
        return extract(sample.completion, wanted, choose=choice, **thinking(sample.extra)).code

    def _rejudge(self, problem: Problem, code: str) -> Callable[[], Outcome]:
        return self.task.judge.submit(code, self.program(problem, code)).result

    def _request(
        self, problem: Problem, prompt: str | list[Message], index: int, order: Mapping[str, int]
    ) -> GenerationRequest:
        return GenerationRequest(
            key=SampleKey(evaluator=self.task.evaluator, problem=problem.id, index=index),
            prompt=prompt if prompt and isinstance(prompt, str) else None,
            messages=None if isinstance(prompt, str) else tuple(prompt),
            template_args=self.form().template_args if not isinstance(prompt, str) else {},
            stop=self.form().stop,
            max_new_tokens=self.task.sampling.max_new_tokens,
            reference=self.reference(problem),
            ordinal=order[problem.id],
        )

    # Metrics

    def _result(
        self, problems: Sequence[Problem], wanted: Mapping[str, int], errors: Sequence[str]
    ) -> EvaluationResult:
        """Metrics and counts, from the files alone. One sample short, and every metric is ``None``."""
        counts: Counter[str] = Counter()
        values: dict[str, dict[str, float]] = {name: {} for name in self.task.metrics}
        complete = True
        unjudged: list[str] = []
        failures, taken_out = Failures(), TakenOut()
        by_id = {problem.id: problem for problem in problems}
        for problem, all_samples, all_verdicts in self.task.store.by_problem(by_id):
            n = wanted[problem]
            samples = [s for s in all_samples if s.key.index < n]
            verdicts = [v for v in all_verdicts if v.key.index < n]
            counts.update(v.outcome.status for v in verdicts)
            failures.add(problem, samples, verdicts)
            if self.wanted(by_id[problem]) is not None:
                rejudge = partial(self._rejudge, by_id[problem])
                taken_out.add(samples, verdicts, partial(self._recode, by_id[problem]), rejudge)
            lost = [v for v in verdicts if v.outcome.status == "infrastructure"]
            unjudged += [f"problem {problem}, sample {v.key.index}: {v.outcome.detail}" for v in lost]
            if len(samples) < n or len(verdicts) < n or lost:
                complete = False
                continue
            for name, value in self._values(by_id[problem], samples, verdicts).items():
                values[name][problem] = value
        missing = [*errors, *unjudged]
        notes = tuple(missing[:NOTES]) + ((f"… and {len(missing) - NOTES} more",) if len(missing) > NOTES else ())
        metrics: dict[str, MetricValue] = {
            name: summarise(list(found.values()) if complete else None, len(problems), sum(wanted.values()))
            for name, found in values.items()
        }
        return EvaluationResult(
            evaluator=self.task.evaluator,
            metrics=metrics,
            counts=dict(counts),
            notes=notes,
            report=(*self._greedy_note(wanted), *failures.markdown(), *taken_out.markdown()),
            values=values,
        )

    def _greedy_note(self, wanted: Mapping[str, int]) -> tuple[str, ...]:
        n = max(wanted.values(), default=1)
        if self.task.available is not None or self.task.sampling.temperature or n < 2:
            return ()
        note = (
            f"Temperature 0 is greedy: the {n} samples of a problem are identical, and pass@k is pass@1 for every k. Set "
            "eval.sampling.temperature above 0 for samples that can differ, or ask for pass@1 alone."
        )
        log.warning("%s: %s", self.task.evaluator, note)
        return (note, "")

    def _values(self, problem: Problem, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, float]:
        own = None
        found = {}
        for name in self.task.metrics:
            base, _, k = name.rpartition("@")
            if base == self.pass_metric and base:
                found[name] = pass_at_k(len(verdicts), sum(v.outcome.passed for v in verdicts), int(k))
                continue
            if own is None:
                with self._own("score", f"problem {problem.id}"):
                    own = self.score(problem, samples, verdicts)
            if name not in own:
                raise ConfigError(f"{type(self).__name__}.score gave no value for {name}")
            found[name] = own[name]
        return found


def _as_text(prompt: str | list[Message]) -> str:
    """The prompt as one text, for its digest."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


class _Work:
    """Programs on their way through the judge. Verdicts are written here, in the thread that owns the run."""

    def __init__(self, benchmark: CodeBenchmark, keys: Mapping[str, str], judged: dict[Key, bool]) -> None:
        self._benchmark, self._task, self._keys, self._judged = benchmark, benchmark.task, keys, judged
        self._waiting: list[tuple[Sample, Future[Outcome]]] = []

    def submit(self, problem: Problem, sample: Sample) -> None:
        if not sample.code:
            why = sample.extra.get("rule", "")
            detail = f"the completion holds no program ({why})" if why else "the completion holds no program"
            self._write(sample, Outcome(status="no-code", detail=detail))
            return
        with self._benchmark._own("program", f"problem {problem.id}, sample {sample.key.index}"):
            tests = self._benchmark.program(problem, sample.code)
        if isinstance(tests, CallTests) and not any(test.strip() for test in tests.tests):
            self._write(sample, Outcome(status="infrastructure", detail=NO_TESTS))
            return
        future = self._task.judge.submit(sample.code, tests)
        self._waiting.append((sample, future))
        # Whatever has ended is written at once, in whatever order: what is not on disk is lost to a kill.
        waiting, self._waiting = self._waiting, []
        for pair in waiting:
            if pair[1].done():
                self._write(pair[0], pair[1].result())
            else:
                self._waiting.append(pair)

    def finish(self) -> None:
        for sample, future in self._waiting:
            self._write(sample, future.result())
        self._waiting = []

    def _write(self, sample: Sample, outcome: Outcome) -> None:
        verdict = Verdict(
            key=sample.key,
            code_sha256=sha256(sample.code or ""),
            outcome=attrs.evolve(
                outcome,
                cpu_seconds=round(outcome.cpu_seconds, 4),
                wall_seconds=round(outcome.wall_seconds, 4),
                peak_mib=round(outcome.peak_mib, 1),
            ),
            judge_key=self._keys[sample.key.problem],
        )
        self._task.store.add_verdict(verdict)
        if outcome.status != "infrastructure":
            self._judged[sample.key.problem, sample.key.index] = outcome.passed
        self._task.judged(sample, verdict)
