"""`CodeBenchmark`: the base of a benchmark that samples programs and judges them.

A plugin overrides five small methods and gets sampling, judging beside generation, resume, pass@k and reports.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from wmtp.contracts.engines import Completion, GenerationRequest, Message, SampleKey
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, FirstRows, MetricValue, Problem, Sample, Verdict
from wmtp.contracts.judging import CallTests, Outcome, StdioTests
from wmtp.errors import ConfigError, PluginError, WmtpError
from wmtp.evaluation.asking import Asking, Prompt, TooLongCount, sha256
from wmtp.evaluation.failures import Failures
from wmtp.evaluation.metrics import summarise
from wmtp.evaluation.programs import Programs
from wmtp.evaluation.taken_out import TakenOut
from wmtp.kit.extraction import Choice, extract
from wmtp.kit.prompts import ChatSettings, PromptForm, bare_completion, chat
from wmtp.kit.scores import pass_at_k
from wmtp.kit.wanted import Extraction, Wanted

Key = tuple[str, int]
NOTES = 20  # of what is missing, named one by one
NAMED = 10  # samples of a problem
MOST_IN_ALL = 10_000_000  # samples of an evaluator: what is known of each is held in memory
log = logging.getLogger("wmtp.evaluation")


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
        own = {p.id: self._prompt(p) for p in problems.values()}
        self._asking = asking = Asking(own, lambda problem: self._prompts(problems[problem]), task.too_long)
        digests = {p.id: p.digest or sha256(json.dumps(p.row, sort_keys=True, default=str)) for p in problems.values()}
        keys = {p: sha256(judge_key + digest)[:16] for p, digest in digests.items()}
        wanted = sum(counts.values())
        have = self._stored_samples(counts, generation_key)
        judged = self._stored_verdicts(keys, have)
        task.store.expect(wanted, samples=len(have), verdicts=len(judged))
        log.info(
            "%s: %d problem%s; there already: samples %d of %d, verdicts %d of %d",
            task.evaluator, len(problems), "" if len(problems) == 1 else "s", len(have), wanted, len(judged), wanted,
        )  # fmt: skip
        work = Programs(self, keys, judged)
        for sample in task.store.samples() if len(judged) < len(have) else ():
            key = (sample.key.problem, sample.key.index)
            if key in have and key not in judged and asking.belongs(sample):
                work.submit(problems[sample.key.problem], sample)
        if self.task.available is None:
            task.store.add_prompts(asking.given)
        errors: list[Completion] = []
        too_long: list[str] = []
        reached: Counter[str] = Counter()
        for batch in self._batches(counts, keys, judged):
            reached.update(problem for problem, _ in batch)
            missing = [(problems[problem], index) for problem, index in batch if (problem, index) not in have]
            while missing:
                unfit = self._generate(missing, problems, generation_key, work, errors)
                shorter = {problem for problem in {c.key.problem for c in unfit} if asking.shorten(problem)}
                for completion in unfit:
                    if completion.key.problem not in shorter:
                        errors.append(completion)
                        too_long.append(completion.key.problem)
                task.store.add_prompts({problem: asking.given[problem] for problem in shorter})
                missing = [(problems[c.key.problem], c.key.index) for c in unfit if c.key.problem in shorter]
            work.finish()
        return self._result(list(problems.values()), reached, errors, TooLongCount(too_long))

    def _batches(
        self, counts: Mapping[str, int], rows: Mapping[str, str], passed: Mapping[Key, bool]
    ) -> Iterable[Sequence[Key]]:
        """Which samples are wanted: all at once, or as the task's `stopping` says after each batch."""
        if self.task.stopping is None:
            # A problem's samples together: the engine runs its prompt once.
            return [[(problem, index) for problem, count in counts.items() for index in range(count)]]
        return self.task.stopping.batches(rows=rows, prompts=self._asking.digests, passed=passed)

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
        problems = itertools.islice(self.problems(rows), limit if limit is None else min(limit, sys.maxsize))
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
            wanted = dict.fromkeys(problems, self.task.sampling.count)
            if (total := sum(wanted.values())) > MOST_IN_ALL:
                raise ConfigError(
                    f"eval.sampling.n: {self.task.sampling.count} samples of each of {len(wanted)} problems are {total:,}, and "
                    f"more than {MOST_IN_ALL:,} are not kept in one run; set it lower, or eval.limit"
                )
            return wanted
        counts = dict(self.task.available(list(problems)))
        fewest = min(counts, key=counts.__getitem__)
        for name in self.task.metrics:
            base, _, k = name.rpartition("@")
            if base and base == self.pass_metric and int(k) > counts[fewest]:
                raise ConfigError(
                    f"{name} needs {k} samples of every problem; of problem {fewest} there are {counts[fewest]}"
                )
        return counts

    def _prompt(self, problem: Problem) -> Prompt:
        """The prompt; none where what is judged was written elsewhere, and nobody knows what it was asked with."""
        return "" if self.task.available is not None else next(self._prompts(problem))

    def _prompts(self, problem: Problem) -> Iterator[Prompt]:
        """`prompts` in the benchmark's form."""
        with self._own("prompt", f"problem {problem.id}"):
            for prompt in self.prompts(problem):
                asked = self.form().ask(prompt)
                if not asked:
                    raise ValueError("the prompt is empty")
                yield asked

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

    def _stored_samples(self, counts: Mapping[str, int], generation_key: str) -> dict[Key, str]:
        """(problem, index) → digest of its code, for samples of this run that are wanted. Refuses others'."""
        have: dict[Key, str] = {}
        for sample in self.task.store.samples():
            problem, index = sample.key.problem, sample.key.index
            if index >= counts.get(problem, 0):
                continue
            belongs = self._asking.belongs(sample)
            if sample.generation_key != generation_key or belongs is None:
                raise ConfigError(
                    f"{self.task.evaluator}: the run's sample {index} of problem {problem} was made from "
                    "another prompt or with other settings (did the data change?). Use another run.name, or --fresh."
                )
            if belongs:
                have[problem, index] = sha256(sample.code or "")
            else:
                have.pop((problem, index), None)
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
        generation_key: str,
        work: Programs,
        errors: list[Completion],
    ) -> list[Completion]:
        """Generates what is missing; every completion is on disk before it is judged. Adds the engine's errors to `errors`.

        Returns the completions of prompts that are too long, unless these count as failed.
        """
        order = {problem: i for i, problem in enumerate(problems)}
        requests = (self._request(p, self._asking.given[p.id], i, order) for p, i in missing)
        unfit = []
        for completion in self.task.generate(requests, self.task.sampling):
            if completion.finish_reason == "error":
                errors.append(completion)
            elif completion.finish_reason == "too-long" and self.task.too_long != "fail":
                unfit.append(completion)
            else:
                problem = problems[completion.key.problem]
                sample = self._sample(problem, completion, generation_key)
                self.task.store.add_sample(sample)
                work.submit(problem, sample)
        return unfit

    def _sample(self, problem: Problem, completion: Completion, generation_key: str) -> Sample:
        if completion.finish_reason == "too-long":
            code = None
            extra: dict[str, Any] = {"rule": "prompt too long"}
        else:
            with self._own("code", f"problem {problem.id}, sample {completion.key.index}"):
                code, extra = self._taken_out(problem, completion)
        if fewer := self._asking.left_out.get(problem.id):
            extra = {**extra, "shots_left_out": fewer}
        return Sample(
            key=completion.key,
            completion=completion.text,
            code=code,
            finish_reason=completion.finish_reason,
            tokens=completion.tokens,
            seconds=round(completion.seconds, 4),
            prompt_sha256=self._asking.digest(problem.id),
            generation_key=generation_key,
            extra=extra,
        )

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

    def _reference_program(self, problem: Problem) -> str | None:
        """The program in the reference solution, taken out as one of a model's is."""
        text = self.reference(problem)
        if text is None:
            return None
        key = SampleKey(evaluator=self.task.evaluator, problem=problem.id, index=0)
        return self.code(problem, Completion(key=key, text=text, finish_reason="stop", tokens=0, seconds=0.0))

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
        self,
        problems: Sequence[Problem],
        wanted: Mapping[str, int],
        errors: Sequence[Completion],
        too_long: TooLongCount,
    ) -> EvaluationResult:
        """Metrics and counts, from the files alone. One sample short, and every metric is ``None``."""
        counts: Counter[str] = Counter()
        values: dict[str, dict[str, float]] = {name: {} for name in self.task.metrics}
        complete, present = True, 0
        unjudged: list[str] = []
        silent: list[str] = []
        failures, taken_out = Failures(), TakenOut()
        by_id = {problem.id: problem for problem in problems}
        for problem, all_samples, all_verdicts in self.task.store.by_problem(by_id):
            n = wanted[problem]
            samples = [s for s in all_samples if s.key.index < n and self._asking.belongs(s)]
            there = {s.key.index for s in samples}
            present += len(there)
            verdicts = [v for v in all_verdicts if v.key.index in there]
            for sample in samples:
                too_long.add(sample)
            counts.update(v.outcome.status for v in verdicts)
            failures.add(problem, samples, verdicts)
            if self.wanted(by_id[problem]) is not None:
                rejudge = partial(self._rejudge, by_id[problem])
                taken_out.add(samples, verdicts, partial(self._recode, by_id[problem]), rejudge)
            lost = [v for v in verdicts if v.outcome.status == "infrastructure"]
            unjudged += [f"problem {problem}, sample {v.key.index}: {v.outcome.detail}" for v in lost]
            if len(samples) < n or len(verdicts) < n or lost:
                complete = False
                told = sum(error.key.problem == problem for error in errors)
                silent += self._short(problem, n - told, len(samples), len(verdicts))
                continue
            for name, value in self._values(by_id[problem], samples, verdicts).items():
                values[name][problem] = value
        missing = [*_told(errors), *unjudged, *silent]
        notes = tuple(missing[:NOTES]) + ((f"… and {len(missing) - NOTES} more",) if len(missing) > NOTES else ())
        notes += tuple(too_long.notes())
        metrics: dict[str, MetricValue] = {
            name: summarise(list(found.values()) if complete else None, len(problems), present)
            for name, found in values.items()
        }
        return EvaluationResult(
            evaluator=self.task.evaluator,
            metrics=metrics,
            counts=dict(counts),
            notes=notes,
            report=(*self._greedy_note(wanted), *failures.markdown(), *taken_out.markdown()),
            values=values,
            too_long=too_long.counts,
        )

    @staticmethod
    def _short(problem: str, wanted: int, samples: int, verdicts: int) -> list[str]:
        """What to say of a problem that lacks samples, or verdicts of them, beyond those whose error is named."""
        if samples < wanted:
            return [
                f"problem {problem}: {wanted - samples} of {wanted} samples are missing; the engine ended without them"
            ]
        return (
            [f"problem {problem}: {samples - verdicts} of {samples} verdicts are missing"] if verdicts < samples else []
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


def _told(errors: Sequence[Completion]) -> Iterator[str]:
    """A line for each problem and what its samples ended with."""
    alike: dict[tuple[str, str], list[int]] = {}
    for completion in errors:
        alike.setdefault((completion.key.problem, completion.error), []).append(completion.key.index)
    for (problem, error), indices in alike.items():
        listed = ", ".join(map(str, indices[:NAMED])) + (", …" if len(indices) > NAMED else "")
        yield f"problem {problem}, sample{'s' if len(indices) > 1 else ''} {listed}: {error}"
