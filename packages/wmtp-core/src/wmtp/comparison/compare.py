"""`wmtp.compare`: runs against the first of them, metric by metric."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np

from wmtp.comparison.acceptance import DEPTH
from wmtp.comparison.checks import differences, refuse
from wmtp.comparison.directions import lower_is_better
from wmtp.comparison.folders import read_folder
from wmtp.comparison.foreign import read_file
from wmtp.comparison.inspect_log import alike
from wmtp.comparison.metrics import choose, k_of, sampled
from wmtp.comparison.notes import notes
from wmtp.comparison.records import Comparison, MetricComparison, RunData, Trend
from wmtp.errors import ConfigError
from wmtp.statistics import rounding
from wmtp.statistics.intervals import Array, mean_interval
from wmtp.statistics.margin import check_margin
from wmtp.statistics.multiplicity import holm
from wmtp.statistics.paired import (
    Difference,
    PassCounts,
    compare_passes,
    compare_values,
    difference_limits,
    only_coins,
    pass_values,
    score_limits,
)
from wmtp.statistics.permutation import sign_flips
from wmtp.statistics.planning import needed

LEVEL = 0.05
HALF = 0.5 * (1 - rounding.ROUNDING)  # a mean of one half may be a little less in floats
NO_TREND = "no trend of {}: no problem is in all of these runs"


@runtime_checkable
class HasFolder(Protocol):
    """A run that was opened, or its results."""

    @property
    def folder(self) -> Path:
        """Where it is."""
        ...


def compare(
    runs: Sequence[str | Path | HasFolder],
    *,
    metrics: Sequence[str] = (),
    equivalent: float | None = None,
    despite: Sequence[str] = (),
) -> Comparison:
    """Compare runs with the first of them, on the problems that they share.

    Args:
        runs: Folders of finished runs, what `wmtp.open_run` or `wmtp.evaluate` returned of them, or files of other tools
            (`wmtp.comparison.foreign`); two or more.
        metrics: Which; by default all that every run has.
        equivalent: A difference so small that runs within it count as equivalent, in the metric's unit (0.02 is two points).
        despite: Keys in which the runs may differ.

    Raises:
        ConfigError: A run cannot be read or is not whole, the runs measured different things, or they share no metric.
    """
    places = _places(runs)
    metrics, despite = _names("metrics", metrics), _names("despite", despite)
    if equivalent is not None:
        check("equivalent", equivalent, share=False)
        equivalent = float(equivalent)
    loaded = alike(named([read(place) for place in places]))
    chosen = choose(loaded, metrics)
    owners = list(dict.fromkeys(loaded[0].owners[m] for m in chosen))
    passing = refuse(differences(loaded, owners), despite)
    found = [(metric, other, _one(metric, loaded[0], other)) for metric in chosen for other in loaded[1:]]
    adjusted = _adjusted(loaded[0], [(metric, one.p_value) for metric, _, one in found])
    comparisons = tuple(
        _told(metric, loaded[0], other, one, p, equivalent)
        for (metric, other, one), p in zip(found, adjusted, strict=True)
    )
    trends = {metric: _trend(metric, loaded) for metric in chosen} if len(loaded) > 2 else {}
    apart = [NO_TREND.format(metric) for metric, trend in trends.items() if trend is None]
    return Comparison(
        runs=tuple(loaded), comparisons=comparisons, trends=tuple(t for t in trends.values() if t is not None),
        equivalent=equivalent, despite=tuple(passing), notes=(*notes(loaded, chosen, asked=bool(metrics)), *apart),
    )  # fmt: skip


def _names(what: str, given: Any) -> list[str]:
    """Raises ConfigError for what is no list of texts; one text alone would be read letter by letter."""
    if isinstance(given, str):
        raise ConfigError(f"{what} must be a list of names, not the text {given!r}: [{given!r}]")
    found = list(given) if isinstance(given, Iterable) else [given]
    if wrong := [name for name in found if not isinstance(name, str)]:
        raise ConfigError(f"{what} must be a list of names; {wrong[0]!r} is none")
    return found


def _places(runs: Any) -> list[Path]:
    """The folder or file of each. Raises ConfigError for one alone, and for what names none."""
    if isinstance(runs, str | Path | HasFolder) or not isinstance(runs, Iterable):
        raise ConfigError("a comparison needs two runs or more, in a list: wmtp.compare([before, after])")
    given = list(runs)
    for number, run in enumerate(given):
        if not isinstance(run, str | Path | HasFolder):
            raise ConfigError(
                f"runs[{number}] is a {type(run).__name__}; it must be a path, or what wmtp.open_run or wmtp.evaluate returned"
            )
    if len(given) < 2:
        raise ConfigError("a comparison needs two runs or more")
    return [Path(run.folder) if isinstance(run, HasFolder) else Path(run) for run in given]


def _adjusted(first: RunData, p_values: Sequence[tuple[str, float]]) -> list[float]:
    """Holm's p-values: over metrics of quality, and over those of drafts, which are another question."""
    found = [0.0] * len(p_values)
    for drafts in (False, True):
        places = [i for i, (metric, _) in enumerate(p_values) if (metric in first.drafts) is drafts]
        for place, p in zip(places, holm([p_values[i][1] for i in places]), strict=True):
            found[place] = p
    return found


def check(what: str, value: object, *, share: bool) -> None:
    """`check_margin`, as a ConfigError that begins with `what`."""
    try:
        check_margin(value, share=share)
    except ValueError as error:
        raise ConfigError(f"{what} {error}") from None


def read(path: Path) -> RunData:
    """Read a run folder or another tool's file."""
    if not path.exists():
        raise ConfigError(f"{path}: there is no such run folder or file")
    return read_folder(path) if path.is_dir() else read_file(path)


def named(runs: Sequence[RunData]) -> list[RunData]:
    """The runs under names that differ. Raises ConfigError where one is given twice."""
    for i, run in enumerate(runs):
        for other in runs[:i]:
            if os.path.samefile(run.path, other.path):
                raise ConfigError(f"{run.path} and {other.path} are the same run")
    names = [run.name for run in runs]
    return [attrs.evolve(run, name=str(run.path)) if names.count(run.name) > 1 else run for run in runs]


def _one(metric: str, a: RunData, b: RunData) -> Difference:
    if sampled(a, metric) and sampled(b, metric):
        counts = _counts(metric, a, b)
        try:
            return compare_passes(counts, k_of(metric))
        except ValueError as error:
            raise ConfigError(f"{metric}: {error}") from None
    for run, other in ((a, b), (b, a)):
        if metric not in run.values and sampled(run, metric) and metric in other.values:
            raise ConfigError(
                f"{metric}: {run.path} has outcomes of samples, {other.path} a score for each problem; they cannot be paired"
            )
        if metric not in run.values:
            raise ConfigError(
                f"{run.path} keeps no value of {metric} for each problem, so it cannot be paired; leave the metric out"
            )
    shared = sorted(p for p in a.values[metric] if p in b.values[metric])  # draws must not hang on the order of rows
    if not shared:
        raise ConfigError(f"{a.name} and {b.name} share no problem in {metric}")
    left, right = ([run.values[metric][p] for p in shared] for run in (a, b))
    # A ratio's linear parts are no shares; where no problem differs, they are all that bounds the interval.
    bounded = metric not in a.drafts or not rounding.differences(left, right).any()
    share = bounded and not a.units.get(metric) and all(0 <= v <= 1 for v in (*left, *right))
    return compare_values(left, right, share=share)


def _counts(metric: str, a: RunData, b: RunData) -> PassCounts:
    left, right = a.judged[a.owners[metric]].passed, b.judged[b.owners[metric]].passed
    shared = sorted(p for p in left if p in right)
    if not shared:
        raise ConfigError(f"{a.name} and {b.name} share no problem in {metric}")
    coupled = a.seed is not None and a.seed == b.seed and all(left[p].keys() == right[p].keys() for p in shared)
    return PassCounts(
        n_a=np.array([len(left[p]) for p in shared]),
        c_a=np.array([sum(left[p].values()) for p in shared]),
        n_b=np.array([len(right[p]) for p in shared]),
        c_b=np.array([sum(right[p].values()) for p in shared]),
        both=np.array([sum(v and right[p][i] for i, v in left[p].items()) for p in shared]) if coupled else None,
    )


def _told(
    metric: str, a: RunData, b: RunData, found: Difference, p_holm: float, equivalent: float | None
) -> MetricComparison:  # fmt: skip
    unit = a.units.get(metric, "")
    if found.share and equivalent is not None:
        check(f"equivalent, of {metric},", equivalent, share=True)
    lower = lower_is_better(metric, unit)
    gained, lost = _flips(metric, a, b) if found.share and not lower else ((), ())
    verdict = judge(found, p_holm, equivalent, lower=lower)
    goal = equivalent or abs(found.difference)
    return MetricComparison(
        metric=metric, a=a.name, b=b.name, found=found, lower_is_better=lower, p_holm=p_holm, verdict=verdict,
        needed=needed(found, goal) if verdict == "undecided" and 0 < goal < found.smallest_detectable else None,
        gained=gained, lost=lost, unit=unit, share=found.share or metric.startswith(DEPTH),
    )  # fmt: skip


def judge(found: Difference, p_holm: float, equivalent: float | None, *, lower: bool) -> str:
    """``better``, ``worse``, ``equivalent`` or ``undecided``, of run b.

    Equivalent where the whole 95 % interval lies within the difference that does not matter (two one-sided tests at 2.5 %;
    Schuirmann 1987), also where that small difference is certain; never where that interval knows of no spread.
    """
    if equivalent is not None and found.lies_within(equivalent):
        return "equivalent"
    if p_holm > LEVEL or found.difference == 0:
        return "undecided"
    return "better" if (found.difference > 0) is not lower else "worse"


def _flips(metric: str, a: RunData, b: RunData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Problems whose value crossed one half, upwards and downwards: of pass@1, from most samples failing to half passing.

    They come in the order of their names, whatever the order of the files.
    """
    one, other = _by_problem(metric, (a, b))
    names = sorted(one, key=_natural)
    gained = tuple(p for p in names if one[p] < HALF <= other[p])
    return gained, tuple(p for p in names if other[p] < HALF <= one[p])


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """What a name is sorted by, so that t/2 comes before t/10: every second part is a number, longer ones being larger."""
    parts: list[str | tuple[int, str]] = list(re.split("([0-9]+)", name))
    for place in range(1, len(parts), 2):
        digits = str(parts[place]).lstrip("0")
        parts[place] = (len(digits), digits)
    return parts, name


def _by_problem(metric: str, runs: Sequence[RunData]) -> list[dict[str, float]]:
    """Each run's values of the problems that all of them have. Others may have too few samples for a value."""
    known = [run.judged[run.owners[metric]].passed if sampled(run, metric) else run.values[metric] for run in runs]
    shared = sorted(p for p in known[0] if all(p in of for of in known[1:]))
    return [
        _passes({p: run.judged[run.owners[metric]].passed[p] for p in shared}, k_of(metric))
        if sampled(run, metric)
        else {p: run.values[metric][p] for p in shared}
        for run in runs
    ]


def _trend(metric: str, runs: Sequence[RunData]) -> Trend | None:
    """Each problem's least-squares slope over the runs in their order; reversing the order flips its sign under no trend.

    ``None`` where no problem is in all runs.
    """
    table = _by_problem(metric, runs)
    rows = np.array([[of[p] for of in table] for p in table[0]])
    if not len(rows):
        return None
    steps: Array = np.arange(len(runs), dtype=np.float64) - (len(runs) - 1) / 2
    slopes = rounding.slopes(rows, steps)
    share = not runs[0].units.get(metric) and bool(((rows >= 0) & (rows <= 1)).all())
    low: float | None
    high: float | None
    if share:
        outcomes = only_coins(rows) or all(sampled(run, metric) for run in runs)
        low, high = _slope_limits(slopes, steps, difference_limits if outcomes else score_limits)
    else:
        interval = mean_interval(slopes, share=False)
        low, high = (interval.low, interval.high) if interval else (None, None)
    return Trend(
        metric=metric, runs=tuple(r.name for r in runs), values=tuple(float(v) for v in rows.mean(0)),
        slope=float(slopes.mean()), low=low, high=high, p_value=sign_flips(slopes).p_value,
    )  # fmt: skip


def _slope_limits(slopes: Array, steps: Array, limits: Callable[[Array], tuple[Array, Array]]) -> tuple[float, float]:
    """95 % limits of a mean slope of shares, as those of a difference: no slope is steeper than from 0 to 1 in the middle."""
    steepest = float(np.maximum(steps, 0).sum() / (steps @ steps))
    low, high = limits(slopes[None, :] / steepest)
    return steepest * float(low[0]), steepest * float(high[0])


def _passes(passed: Mapping[str, Mapping[int, bool]], k: int) -> dict[str, float]:
    n, c = (np.array([f(of) for of in passed.values()]) for f in (len, lambda of: sum(of.values())))
    return dict(zip(passed, pass_values(n, c, k).tolist(), strict=True))
