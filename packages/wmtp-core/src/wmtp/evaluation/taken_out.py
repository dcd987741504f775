"""What a run says of how programs were taken out of answers, and what two plainer rules would have scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from wmtp.contracts.evaluation import Sample, Verdict
from wmtp.contracts.judging import Outcome
from wmtp.kit.extraction import PLAIN, Choice
from wmtp.kit.wanted import RULES

FLAGGED_POINTS = 0.5
Recode = Callable[[Sample], Mapping[Choice, str | None]]
Rejudge = Callable[[str], Callable[[], Outcome]]


class TakenOut:
    """Counts of rules, and the extraction audit: the share of passed samples under the first block, the last, and ours."""

    def __init__(self) -> None:
        self._rules: Counter[str] = Counter()
        self._capped = self._samples = self._passed = 0
        self._differ: Counter[Choice] = Counter()
        self._gained: Counter[Choice] = Counter()
        self._others: list[tuple[Choice, bool, Callable[[], Callable[[], Outcome]]]] = []

    def add(self, samples: Sequence[Sample], verdicts: Sequence[Verdict], recode: Recode, rejudge: Rejudge) -> None:
        """One problem's samples. Only a program that differs from ours is judged again, and only once all are there: the judge
        has the run's own programs to judge until then."""
        by_index: Mapping[int, Verdict] = {v.key.index: v for v in verdicts}
        for sample in samples:
            rule = sample.extra.get("rule")
            verdict = by_index.get(sample.key.index)
            if rule is None or verdict is None:
                continue
            self._rules[str(rule)] += 1
            self._capped += sample.finish_reason == "length"
            self._samples += 1
            passed = verdict.outcome.passed
            self._passed += passed
            if rule == "stored program":
                continue
            for choice, code in recode(sample).items():
                if (code or "").strip() == (sample.code or "").strip():
                    continue
                self._differ[choice] += 1
                if code:
                    self._others.append((choice, passed, partial(rejudge, code)))
                else:
                    self._gained[choice] -= passed

    def markdown(self) -> tuple[str, ...]:
        """Lines for report.md; none where no rule was applied."""
        if not self._samples:
            return ()
        waiting = [(choice, passed, rejudge()) for choice, passed, rejudge in self._others]
        for choice, passed, outcome in waiting:
            self._gained[choice] += outcome().passed - passed
        self._others = []
        lines = ["### How programs were taken out of answers", "", "| answers | rule | |", "|---:|---|---|"]
        lines += [f"| {count} | {rule} | {RULES.get(rule, '')} |" for rule, count in self._rules.most_common()]
        if self._capped:
            lines += ["", f"Cut off at max_new_tokens: {self._capped} of {self._samples}."]
        lines += ["", "| audit: rule | samples that differ | passed |", "|---|---:|---:|"]
        lines += [f"| ours | | {100 * self._passed / self._samples:.1f} % |"]
        flagged = []
        for choice in PLAIN:
            points = 100 * self._gained[choice] / self._samples
            share = 100 * (self._passed + self._gained[choice]) / self._samples
            lines.append(f"| {choice.replace('-', ' ')} | {self._differ[choice]} | {share:.1f} % |")
            if abs(points) > FLAGGED_POINTS:
                flagged.append(f"the {choice.replace('-', ' ')} ({points:+.1f} points)")
        if flagged:
            lines += [
                "",
                f"**The score depends on how programs are taken out**: {' and '.join(flagged)}. Read some answers.",
            ]
        return (*lines, "")
