"""A comparison as text, for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from wmtp.comparison.records import Comparison, MetricComparison
from wmtp.runs.printable import one_line

SUMMARY_FROM = 3  # comparisons from which on nobody sees all of them at once


def lines(found: Comparison) -> Iterator[str]:
    """Yield the lines of the text, each one line whatever problems and runs are called."""
    return map(one_line, _lines(found))


def _lines(found: Comparison) -> Iterator[str]:
    for number, run in enumerate(found.runs):
        yield f"{'against' if number == 0 else '     is'}  {run.name}" + (f"  ({run.model})" if run.model else "")
    for remark in remarks(found):
        yield f"note: {remark}"
    for one in found.comparisons:
        yield ""
        yield from _metric(one, found.equivalent)
    for trend in found.trends:
        one = next(c for c in found.comparisons if c.metric == trend.metric)
        said = partial(signed, unit=one.unit, share=one.share)
        values = " → ".join(amount(v, one.unit, share=one.share) for v in trend.values)
        yield ""
        yield (
            f"{trend.metric} over {len(trend.runs)} runs: {values}; {said(trend.slope)} a run "
            f"({span(trend.low, trend.high, said, ' to ')}), p {_equals(trend.p_value)}"
        )
    if len(found.comparisons) > SUMMARY_FROM:
        yield ""
        yield from _summary(found)


def remarks(found: Comparison) -> Iterator[str]:
    """What people must know beside the numbers: in what the runs differ all the same, and the notes."""
    for difference in found.despite:
        yield f"compared despite {difference['key']}: {difference['a']} ≠ {difference['b']} ({difference['run']})"
    yield from found.notes


def _summary(found: Comparison) -> Iterator[str]:
    """All comparisons once more, a line each."""
    names, runs = (
        max(len(text) for text in of) for of in zip(*((c.metric, c.b) for c in found.comparisons), strict=True)
    )
    for one in found.comparisons:
        difference = signed(one.found.difference, one.unit, share=one.share)
        yield f"{one.metric:{names}}  {one.b:{runs}}  {difference:>14}  {one.verdict}"


def amount(value: float, unit: str, *, share: bool = True) -> str:
    """A value with its unit: shares in percent, other numbers as they are."""
    return f"{100 * value:.1f} %" if share and not unit else f"{value:.3f} {unit}".rstrip()


def signed(value: float, unit: str, *, share: bool = True) -> str:
    """A difference with its sign and unit: of shares in points."""
    return f"{100 * value:+.1f} points" if share and not unit else f"{value:+.3f} {unit}".rstrip()


def span(low: float | None, high: float | None, said: Callable[[float], str], between: str) -> str:
    """An interval, if there is one."""
    return "no interval" if low is None or high is None else f"{said(low)}{between}{said(high)}"


def p_value(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


def _equals(p: float) -> str:
    """What follows the word p: ``= 0.0123`` or ``< 0.0001``."""
    said = p_value(p)
    return said if said.startswith("<") else f"= {said}"


def _metric(one: MetricComparison, equivalent: float | None) -> Iterator[str]:
    found = one.found
    say, sign = (partial(f, unit=one.unit, share=one.share) for f in (amount, signed))
    yield f"{one.metric}: {one.b} is {one.verdict}" + (
        f" (within {sign(equivalent).lstrip('+')})" if one.verdict == "equivalent" and equivalent else ""
    )
    if one.only_these:
        yield f"  {one.verdict} of these problems; of new ones the interval holds zero"
    yield f"  {say(found.a)} → {say(found.b)}, difference {sign(found.difference)}"
    new = span(found.low, found.high, sign, " to ")
    why = "95 %" if found.low != found.high else "all problems differ alike, which tells no 95 %"
    if found.low is None:
        why = "one problem does not tell how far others may lie"
    yield f"  new problems like these    {new}  ({why})"
    if found.within is not None:
        yield f"  these problems, new samples {span(found.these_low, found.these_high, sign, ' to ')}  (95 %)"
    error = f" ± {found.p_error:.4f}" if found.p_error >= 0.00005 else ""
    yield f"  p {_equals(found.p_value)}{error} ({found.test}); Holm {p_value(one.p_holm)}"
    yield from _flips(one)
    coupling = found.coupling
    if coupling is not None and coupling.correlation is not None:
        saved = (
            ""
            if coupling.variance_saved is None
            else f", which saves {coupling.variance_saved:.0%} of the sampling variance"
        )
        yield f"  shared noise: outcomes correlate by {coupling.correlation:.2f}{saved}"
    yield _detectable(one)
    if one.verdict == "undecided" and found.difference == 0 and equivalent is None:
        yield "  no difference was seen; whether the runs are as good as equal, --equivalent D tells, of a D that would matter"
    yield from _needed(one)


def _detectable(one: MetricComparison) -> str:
    """What would have been found, rounded up: no difference is found that is none."""
    least = one.found.smallest_detectable
    if least >= 1 if one.found.share else least == math.inf:
        kind = " of shares" if one.found.share else ""
        return f"  too few problems: no difference{kind} is so large that 80 of 100 such comparisons would find it"
    least = math.ceil(1000 * least - 1e-6) / 1000 or 0.001
    said = signed(least, one.unit, share=one.share).lstrip("+")
    return f"  a difference of {said} would have been found in 80 of 100 such comparisons"


def _flips(one: MetricComparison) -> Iterator[str]:
    """How many problems differ, which way, and which of them crossed one half."""
    rose, fell = one.found.rose, one.found.discordant - one.found.rose
    yield f"  {one.found.discordant} of {one.found.problems} problems differ: {rose} rose, {fell} fell"
    if one.gained or one.lost:
        yield f"    gained, from under one half to one half or more: {_some(one.gained)}"
        yield f"    lost, from one half or more to under it: {_some(one.lost)}"


def _needed(one: MetricComparison) -> Iterator[str]:
    plan = one.needed
    if plan is None:
        return
    true = signed(plan.difference, one.unit, share=one.share).lstrip("+")
    ways = [f"{plan.problems} problems like these"]
    if plan.samples is not None:
        ways.insert(0, f"{_samples(plan.samples)} a problem")
    yield f"  a true difference of {true} would be settled by {' or '.join(ways)}"
    these = plan.samples_these
    if these is not None and one.found.samples < these != plan.samples:
        others = "" if plan.samples is not None else "; of new ones no number of samples on these would"
        yield f"    of these problems alone by {_samples(these)} a problem{others}"


def _samples(count: int) -> str:
    return f"{count} {'sample' if count == 1 else 'samples'}"


def _some(problems: tuple[str, ...]) -> str:
    more = f" and {len(problems) - 12} more" if len(problems) > 12 else ""
    return f"{len(problems)} ({', '.join(problems[:12])}{more})" if problems else "none"
