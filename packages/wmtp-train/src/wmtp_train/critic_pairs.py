"""Pairs of a passed and a failed program for one problem, as our judge found them, with length balanced away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

import wmtp
from wmtp_train.critic_settings import CriticConfig
from wmtp_train.order import key
from wmtp_train.tokens import Document, document

NO_FAULT = "infrastructure"
"""The status of a verdict that was not reached; it says nothing of the program."""


@attrs.frozen(eq=False)
class Pair:
    """Two texts for one problem: `better` passed, `worse` did not."""

    problem: str
    better: Document
    worse: Document


def read_pairs(settings: CriticConfig, tokenizer: Any) -> list[Pair]:
    """The pairs of a run, by problem.

    Raises:
        ConfigError: There is no such run or evaluator, or it gives no pair; says what was found.
    """
    run = wmtp.open_run(Path(settings.run))
    evaluator = _evaluator(run, settings)
    prompts = run.prompts(evaluator)
    verdicts = {v.key: v.outcome for v in run.verdicts(evaluator) if v.outcome.status != NO_FAULT}
    texts: dict[str, dict[str, set[bool]]] = {}
    for sample in run.samples(evaluator):
        if (outcome := verdicts.get(sample.key)) is not None:
            texts.setdefault(sample.key.problem, {}).setdefault(sample.completion, set()).add(outcome.passed)
    pairs: list[Pair] = []
    for problem, labels in texts.items():
        passed = _documents(tokenizer, problem, prompts, [t for t, how in labels.items() if how == {True}], settings)
        failed = _documents(tokenizer, problem, prompts, [t for t, how in labels.items() if how == {False}], settings)
        pairs += _matched(problem, passed, failed, settings)
    balanced = balance(pairs)
    if not balanced:
        samples = sum(map(len, texts.values()))
        both = sum({True, False} <= set().union(*how.values()) for how in texts.values())
        raise wmtp.ConfigError(
            f"{settings.run} gives a critic nothing to learn from: {samples} different judged texts for {len(texts)} problems, "
            f"of which {both} have a text that passed and one that failed. Sample more (eval.sampling.n), at a higher "
            f"temperature, or raise critic.length_ratio ({settings.length_ratio}) or critic.max_length"
        )
    return balanced


def _evaluator(run: wmtp.Run, settings: CriticConfig) -> str:
    found = run.evaluators
    if settings.evaluator is None and len(found) == 1:
        return found[0]
    if settings.evaluator not in found:
        raise wmtp.ConfigError(
            f"critic.evaluator must be one that {settings.run} has samples of: {', '.join(found) or 'none'}"
        )
    return str(settings.evaluator)


def _documents(
    tokenizer: Any, problem: str, prompts: Any, texts: Sequence[str], settings: CriticConfig
) -> list[Document]:
    """Texts as tokens, by length; those that do not fit whole are left out."""
    prompt = prompts.get(problem, "")
    asked = prompt if isinstance(prompt, str) else tuple(prompt)
    made = []
    for text in texts:
        if text.strip():
            example = wmtp.Example(id=problem, prompt=asked, answer=text)
            try:
                found = document(tokenizer, example, max_length=settings.max_length, chat=not isinstance(asked, str))
            except wmtp.ConfigError:  # its prompt alone is too long
                continue
            if not found.cut:
                made.append(found)
    return sorted(made, key=lambda one: (len(one.ids), one.ids))


def _matched(problem: str, passed: list[Document], failed: list[Document], settings: CriticConfig) -> list[Pair]:
    """Each text at most once, with that of the other kind whose length is nearest; the nearest first."""
    close = sorted(
        (abs(len(a.ids) - len(b.ids)), i, j)
        for i, a in enumerate(passed)
        for j, b in enumerate(failed)
        if max(len(a.ids), len(b.ids)) <= settings.length_ratio * min(len(a.ids), len(b.ids))
    )
    taken: tuple[set[int], set[int]] = (set(), set())
    pairs: list[Pair] = []
    for _, i, j in close:
        if i not in taken[0] and j not in taken[1] and len(pairs) < settings.pairs_per_problem:
            taken[0].add(i)
            taken[1].add(j)
            pairs.append(Pair(problem=problem, better=passed[i], worse=failed[j]))
    return pairs


def balance(pairs: Sequence[Pair]) -> list[Pair]:
    """As many pairs whose better text is longer as shorter: which text is longer says nothing of which passed.

    Of the surplus those go whose lengths differ most.
    """

    def difference(pair: Pair) -> int:
        return len(pair.better.ids) - len(pair.worse.ids)

    order = sorted(range(len(pairs)), key=lambda n: (abs(difference(pairs[n])), key("balance", pairs[n].problem, n)))
    longer = [n for n in order if difference(pairs[n]) > 0]
    shorter = [n for n in order if difference(pairs[n]) < 0]
    kept = min(len(longer), len(shorter))
    chosen = {*longer[:kept], *shorter[:kept], *(n for n in order if difference(pairs[n]) == 0)}
    return [pair for n, pair in enumerate(pairs) if n in chosen]
