"""A benchmark's way through a run: samples that are missing, verdicts that are missing, then the metrics."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wmtp.contracts.engines import Completion, GenerationRequest, SampleKey
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, Problem, Sample
from wmtp.contracts.judging import GivesWay
from wmtp.errors import ConfigError
from wmtp.evaluation.asking import Asking, Prompt, sha256
from wmtp.evaluation.counting import Counting
from wmtp.evaluation.programs import Key, Programs
from wmtp.evaluation.tally import Tally
from wmtp.kit.batches import InBatches

if TYPE_CHECKING:
    from wmtp.evaluation.benchmark import CodeBenchmark

MOST_IN_ALL = 10_000_000  # samples of an evaluator: what is known of each is held in memory
log = logging.getLogger("wmtp.evaluation")


class BenchmarkRun:
    """One evaluation of a `CodeBenchmark`, which says what is asked and how it is judged."""

    def __init__(self, benchmark: CodeBenchmark, task: EvaluationTask) -> None:
        self._benchmark, self._task = benchmark, task
        self._problems = benchmark.begin(task)
        self._order = {problem: i for i, problem in enumerate(self._problems)}
        with benchmark._own("form", "this task"):
            self._form = benchmark.form()
        self._errors: list[Completion] = []
        self._too_long: list[str] = []
        """Problems whose samples are not there because their prompt does not fit, one entry a sample."""

    def run(self) -> EvaluationResult:
        """Bring the run to its end."""
        task, benchmark, problems = self._task, self._benchmark, self._problems
        counts = Counter(self._counts(problems))
        with benchmark._own("prompt_form", "this task"):
            form = {**benchmark.prompt_form(), "stop": list(self._form.stop)}
        self._generation_key = task.store.generation_key(form)
        judge_key = task.store.judge_key(benchmark._judge_form())
        own = {p.id: self._prompt(p) for p in problems.values()}
        self._asking = Asking(own, lambda problem: benchmark._prompts(problems[problem]), task.too_long)
        digests = {p.id: p.digest or sha256(json.dumps(p.row, sort_keys=True, default=str)) for p in problems.values()}
        keys = {p: sha256(judge_key + digest)[:16] for p, digest in digests.items()}
        wanted = sum(counts.values())
        have = self._stored_samples(counts)
        judged = self._stored_verdicts(keys, have)
        task.store.expect(wanted, samples=len(have), verdicts=len(judged))
        log.info(
            "%s: %d problem%s; there already: samples %d of %d, verdicts %d of %d",
            task.evaluator, len(problems), "" if len(problems) == 1 else "s", len(have), wanted, len(judged), wanted,
        )  # fmt: skip
        reached: Counter[str] = Counter()
        replays = task.available is not None
        self._counting = self._count(counts) if replays and task.stopping is None else None
        with Programs(benchmark, problems, keys, judged, counts, waits=replays) as work:
            for key in [key for key in have if key not in judged]:
                work.submit(task.store.sample(*key))  # its last line
            if task.available is None:
                task.store.add_prompts(self._asking.given)
            for batch in self._batches(counts, keys, judged):
                reached.update(problem for problem, _ in batch)
                self._fill([key for key in batch if key not in have], work)
                work.finish()
        return (self._counting or self._count(reached)).result()

    def _fill(self, missing: Sequence[Key], work: Programs) -> None:
        """Has samples made; where a prompt is too long, from shorter ones as long as there are any."""
        while missing:
            unfit = self._generate(missing, work)
            shorter = {problem for problem in {c.key.problem for c in unfit} if self._asking.shorten(problem)}
            for completion in unfit:
                if completion.key.problem not in shorter:
                    self._errors.append(completion)
                    self._too_long.append(completion.key.problem)
            self._task.store.add_prompts({problem: self._asking.given[problem] for problem in shorter})
            missing = [(c.key.problem, c.key.index) for c in unfit if c.key.problem in shorter]

    def _count(self, wanted: Mapping[str, int]) -> Counting:
        """Metrics and counts of the samples that are wanted, from the files alone."""
        return Counting(
            lambda: Tally(self._benchmark, wanted, self._errors, self._too_long),
            self._problems,
            lambda: self._task.store.by_problem(self._problems),
            lambda sample: sample.key.index < wanted[sample.key.problem] and bool(self._asking.belongs(sample)),
        )

    def _batches(
        self, counts: Mapping[str, int], rows: Mapping[str, str], passed: Mapping[Key, bool]
    ) -> Iterable[Sequence[Key]]:
        """Which samples are wanted: all at once, or as the task's `stopping` says after each batch."""
        if self._task.stopping is None:
            # A problem's samples together: the engine runs its prompt once.
            return [[(problem, index) for problem, count in counts.items() for index in range(count)]]
        return self._task.stopping.batches(rows=rows, prompts=self._asking.digests, passed=passed)

    def _counts(self, problems: Iterable[str]) -> dict[str, int]:
        """Problem → how many samples it gets: n, or as many as are stored. Raises ConfigError if too few for a metric."""
        if self._task.available is None:
            wanted = dict.fromkeys(problems, self._task.sampling.count)
            self._check_stored(wanted)
            if (total := sum(wanted.values())) > MOST_IN_ALL:
                raise ConfigError(
                    f"eval.sampling.n: {self._task.sampling.count} samples of each of {len(wanted)} problems are {total:,}, "
                    f"and more than {MOST_IN_ALL:,} are not kept in one run; set it lower, or eval.limit"
                )
            return wanted
        counts = dict(self._task.available(list(problems)))
        fewest = min(counts, key=counts.__getitem__)
        for name in self._task.metrics:
            base, _, k = name.rpartition("@")
            if base and base in (self._benchmark.pass_metric, self._benchmark.first_metric) and int(k) > counts[fewest]:
                raise ConfigError(
                    f"{name} needs {k} samples of every problem; of problem {fewest} there are {counts[fewest]}"
                )
        return counts

    def _check_stored(self, wanted: Mapping[str, int]) -> None:
        """Raises ConfigError where more samples of a problem are asked for than are stored, and nobody can write others."""
        if self._task.stored is None:
            return
        stored = self._task.stored(list(wanted))
        fewest = min(stored, key=stored.__getitem__, default="")
        if stored and (n := wanted[fewest]) > stored[fewest]:
            raise ConfigError(
                f"eval.sampling.n is {n}, and the samples are written already: of problem {fewest} there are "
                f"{stored[fewest]}. Set it to {stored[fewest]} at most, or to auto for all of them"
            )

    def _prompt(self, problem: Problem) -> Prompt:
        """The prompt; none where what is judged was written elsewhere, and nobody knows what it was asked with."""
        return "" if self._task.available is not None else next(self._benchmark._prompts(problem))

    def _stored_samples(self, counts: Mapping[str, int]) -> dict[Key, str]:
        """(problem, index) → digest of its code, for samples of this run that are wanted. Refuses others'."""
        have: dict[Key, str] = {}
        for sample in self._task.store.samples():
            problem, index = sample.key.problem, sample.key.index
            if index >= counts.get(problem, 0):
                continue
            belongs = self._asking.belongs(sample)
            if sample.generation_key != self._generation_key or belongs is None:
                raise ConfigError(
                    f"{self._task.evaluator}: the run's sample {index} of problem {problem} was made from "
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
        for verdict in self._task.store.verdicts():
            key = (verdict.key.problem, verdict.key.index)
            if key not in have:
                continue
            if verdict.judge_key != keys[verdict.key.problem]:
                raise ConfigError(
                    f"{self._task.evaluator}: the data row of problem {verdict.key.problem} changed since it was judged. Use "
                    "another run.name, or --fresh."
                )
            if verdict.outcome.status == "infrastructure" or verdict.code_sha256 != have[key]:
                judged.pop(key, None)
            else:
                judged[key] = verdict.outcome.passed
        return judged

    def _generate(self, missing: Sequence[Key], work: Programs) -> list[Completion]:
        """Generates what is missing; every completion is on disk before it is judged. Keeps the engine's errors.

        Returns the completions of prompts that are too long, unless these count as failed.
        """
        requests = (self._request(self._problems[problem], index) for problem, index in missing)
        with self._judging_behind():
            return self._stored(self._task.generate(requests, self._task.sampling), work)

    @contextmanager
    def _judging_behind(self) -> Iterator[None]:
        """While a model is asked, judging has what that leaves of the processors. Replayed samples cost next to nothing."""
        judge = self._task.judge
        if self._task.available is not None or not isinstance(judge, GivesWay):
            yield
            return
        judge.give_way(True)
        try:
            yield
        finally:
            judge.give_way(False)

    def _stored(self, completions: Iterable[Completion], work: Programs) -> list[Completion]:
        """Stores completions as they come, those that come together in one write, and has their programs judged."""
        unfit = []
        together = completions.together() if isinstance(completions, InBatches) else ([c] for c in completions)
        for batch in together:
            samples: list[Sample] = []
            try:
                for completion in batch:
                    if completion.finish_reason == "error":
                        self._errors.append(completion)
                    elif completion.finish_reason == "too-long" and self._task.too_long != "fail":
                        unfit.append(completion)
                    else:
                        problem = self._problems[completion.key.problem]
                        samples.append(self._sample(problem, completion, presume=work.may_presume))
            finally:  # a plugin that fails on one loses none of those before it
                self._task.store.add_samples(samples)
            for sample in samples:
                work.submit(sample)
            if self._counting:
                self._counting.ahead(work.is_through)
        return unfit

    def _sample(self, problem: Problem, completion: Completion, *, presume: bool) -> Sample:
        if completion.finish_reason == "too-long":
            code = None
            extra: dict[str, Any] = {"rule": "prompt too long"}
        else:
            with self._benchmark._own("code", f"problem {problem.id}, sample {completion.key.index}"):
                code, extra = self._benchmark._taken_out(problem, completion, presume=presume)
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
            generation_key=self._generation_key,
            extra=extra,
        )

    def _request(self, problem: Problem, index: int) -> GenerationRequest:
        prompt = self._asking.given[problem.id]
        with self._benchmark._own("reference", f"problem {problem.id}"):
            reference = self._benchmark.reference(problem)
            if not isinstance(reference, str | None):
                raise TypeError(f"it returned {reference!r:.80}, not text, or None")
        return GenerationRequest(
            key=SampleKey(evaluator=self._task.evaluator, problem=problem.id, index=index),
            prompt=prompt if prompt and isinstance(prompt, str) else None,
            messages=None if isinstance(prompt, str) else tuple(prompt),
            template_args=self._form.template_args if not isinstance(prompt, str) else {},
            stop=self._form.stop,
            max_new_tokens=self._task.sampling.max_new_tokens,
            reference=reference,
            ordinal=self._order[problem.id],
        )
