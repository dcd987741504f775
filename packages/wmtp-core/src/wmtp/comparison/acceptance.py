"""Acceptance of drafts as metrics of a run, problem by problem, out of what its engine counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wmtp.errors import ConfigError
from wmtp.runs.folder import read_object
from wmtp.runs.reader import Run

LENGTH = "acceptance_length"
LENGTH_UNIT = "tokens a step"
DEPTH = "acceptance@"

Counts = tuple[Sequence[int], Sequence[int]]


def acceptance_values(run: Run) -> tuple[dict[str, dict[str, float]], int]:
    """Return metric → problem → value, and of how many completions drafts were counted.

    ``acceptance@i`` is the share of the i-th drafts that were accepted, `LENGTH` the tokens of a step that drafted. Both are
    ratios of sums over problems, as results.json has them. A problem's value is the ratio's linear part there (delta method),
    so that their mean is the ratio, and their spread over problems its error.
    """
    stats = (read_object(run.folder / "engine.json") or {}).get("stats") or {}
    try:
        counted: dict[str, Counts] = {str(who): (of[0], of[1]) for who, of in (stats.get("by_problem") or {}).items()}
        return _metrics(counted), int(stats.get("requests") or 0)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"{run.folder / 'engine.json'}: damaged: its counts of drafts are none: {error!r}") from None


def _metrics(counted: Mapping[str, Counts]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    steps = {who: _at(drafted, 0) for who, (drafted, _) in counted.items()}
    if not sum(steps.values()):
        return found
    found[LENGTH] = _linear({who: (sum(right) + steps[who], steps[who]) for who, (_, right) in counted.items()})
    for depth in range(max(len(drafted) for drafted, _ in counted.values())):
        pairs = {who: (_at(right, depth), _at(drafted, depth)) for who, (drafted, right) in counted.items()}
        if any(of for _, of in pairs.values()):
            found[f"{DEPTH}{depth + 1}"] = _linear(pairs)
    return found


def _at(counts: Sequence[Any], depth: int) -> int:
    return int(counts[depth]) if depth < len(counts) else 0


def _linear(pairs: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Problem → value, whose mean over problems is the ratio of the two sums."""
    kept = {who: pair for who, pair in pairs.items() if pair[1]}
    total = sum(of for _, of in kept.values())
    ratio = sum(right for right, _ in kept.values()) / total
    return {who: ratio + (right - ratio * of) * len(kept) / total for who, (right, of) in kept.items()}
