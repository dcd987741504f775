"""What people must know beside a comparison's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from wmtp.comparison.directions import is_known
from wmtp.comparison.metrics import derivable, sampled, shared_metrics
from wmtp.comparison.records import Judged, RunData

MOST_NAMES = 8


def notes(runs: Sequence[RunData], chosen: Sequence[str], *, asked: bool) -> Iterator[str]:
    """Yield a line each. asked: somebody said which metrics to compare, and so knows of the others."""
    for run in runs:
        yield from run.notes
        yield from _uneven(run)
        yield from _repeats(run)
    for one, other in combinations(runs, 2):
        yield from _copies(one, other)
    # A replay draws nothing and has no seed: it could not share noise.
    seeds = {run.name: run.seed for run in runs if run.judged_here and run.seed is not None}
    if all(run.judged_here for run in runs) and len(set(seeds.values())) > 1:
        yield (
            f"the runs drew under different seeds ({', '.join(f'{name}: {seed}' for name, seed in seeds.items())}); with one "
            "seed their noise would be shared, and fewer samples needed"
        )
    yield from _directions(runs, chosen)
    if not asked:
        yield from _left_out(runs, chosen)


def _directions(runs: Sequence[RunData], chosen: Sequence[str]) -> Iterator[str]:
    """Metrics of other tools whose names do not say which value is the better one."""
    others = [run for run in runs if not run.judged_here]
    unknown = [
        m for m in chosen if not is_known(m, runs[0].units.get(m, "")) and any(m in run.owners for run in others)
    ]
    if unknown:
        yield f"a larger value counts as better: {', '.join(unknown)}"


def _left_out(runs: Sequence[RunData], chosen: Sequence[str]) -> Iterator[str]:
    """Metrics that some run has and that are not compared."""
    for metric in (m for m in shared_metrics(runs) if m not in chosen):
        without = [run.name for run in runs if metric not in run.values and not sampled(run, metric)]
        keep = "keeps" if len(without) == 1 else "keep"
        yield f"not compared, as {' and '.join(without)} {keep} no value of it for each problem: {metric}"
    holders: dict[tuple[str, ...], list[str]] = {}
    for metric in dict.fromkeys(m for run in runs for m in run.owners):
        names = tuple(run.name for run in runs if metric in run.owners)
        if len(names) < len(runs):
            holders.setdefault(names, []).append(metric)
    for names, metrics in holders.items():
        more = f" and {len(metrics) - MOST_NAMES} more" if len(metrics) > MOST_NAMES else ""
        able = [m for m in metrics if derivable(runs, m)]
        way = f" (the others have samples: --metric {able[0]} compares it)" if able else ""
        yield (
            f"not compared, as only {' and '.join(names)} {'has' if len(names) == 1 else 'have'} "
            f"{'it' if len(metrics) == 1 else 'them'}: {', '.join(metrics[:MOST_NAMES])}{more}{way}"
        )


def _uneven(run: RunData) -> Iterator[str]:
    """Problems with unlike numbers of samples: a file that was cut at the end of a line looks so."""
    for of in run.judged.values():
        sizes = [len(outcomes) for outcomes in of.passed.values()]
        if sizes and min(sizes) < max(sizes):
            yield f"{run.name} has from {min(sizes)} to {max(sizes)} samples a problem"


def _repeats(run: RunData) -> Iterator[str]:
    """Problems whose samples are all one text. Of our own noise that is chance, unless it is so everywhere."""
    told = set()
    for of in run.judged.values():
        several = [set(texts.values()) for texts in of.texts.values() if len(texts) > 1]
        copies = sum(len(texts) == 1 for texts in several)
        if copies and (not run.judged_here or copies == len(several)):
            told.add(
                f"in {run.name}, all samples of {copies} of {len(several)} problems are equal. From a server that honours one "
                "fixed seed, or at temperature 0, they are copies of one another, and no more than one sample"
            )
    yield from sorted(told)


def _copies(one: RunData, other: RunData) -> Iterator[str]:
    """Whether two runs hold the same samples, under whatever names."""
    if one.content and one.content == other.content:
        yield f"{one.name} and {other.name} are the same file, byte for byte: one is a copy of the other"
        return
    counts, judged_alike = {}, True
    for evaluator in one.judged.keys() & other.judged.keys():
        same = _same_samples(one.judged[evaluator], other.judged[evaluator])
        if same is None:
            return
        counts[id(one.judged[evaluator].texts)] = same[0]  # several metrics may be of the same samples
        judged_alike &= same[1]
    count = sum(counts.values())
    if count:
        yield (
            f"{one.name} and {other.name} hold the same text in every sample that both have ({count}): one is a copy of the "
            "other, or one model was asked twice under the same noise"
            + ("" if judged_alike else "; what differs is how they were judged")
        )


def _same_samples(one: Judged, other: Judged) -> tuple[int, bool] | None:
    """How many samples both have, and whether all were judged alike; ``None`` where a text differs."""
    count, alike = 0, True
    for problem, texts in one.texts.items():
        theirs = other.texts.get(problem, {})
        for index, text in texts.items():
            if index in theirs:
                if theirs[index] != text:
                    return None
                count += 1
                alike &= one.passed.get(problem, {}).get(index) == other.passed.get(problem, {}).get(index)
    return count, alike
