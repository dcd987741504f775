"""From a metric's name to the evaluator that answers for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from wmtp.contracts.catalog import MetricOwner, Registered
from wmtp.contracts.specs import EvaluatorSpec
from wmtp.plugins.known import metric_pattern


def metric_owners(
    evaluators: Iterable[Registered[EvaluatorSpec]], name: str, prefixes: Mapping[str, str]
) -> list[MetricOwner]:
    """Every evaluator that answers for `name`, given each distribution's prefix."""
    found = []
    for owned in evaluators:
        prefix = prefixes.get(owned.distribution, "")
        if not name.startswith(prefix):
            continue
        base_name = name[len(prefix) :]
        for template in owned.spec.metrics:
            if match := metric_pattern(template).fullmatch(base_name):
                k = match.groupdict().get("k")
                found.append(MetricOwner(owned, base_name, int(k) if k else None))
                break
    return found


def metric_names(evaluators: Iterable[Registered[EvaluatorSpec]], prefixes: Mapping[str, str]) -> Iterator[str]:
    """Every name and template that can be asked for, prefixes applied."""
    for owned in evaluators:
        for template in owned.spec.metrics:
            yield prefixes.get(owned.distribution, "") + template


def near_metrics(name: str, names: Iterable[str]) -> list[str]:
    """Names hardly different from `name`, best first; templates are filled with the k that was asked for, or 1."""
    k = name.rpartition("@")[2]
    filled = sorted({n.replace("{k}", str(int(k)) if k.isdecimal() and int(k) > 0 else "1") for n in names})
    near = difflib.get_close_matches(name, filled, n=3, cutoff=0.75)
    # A name that is one letter off leaves no doubt; the others are only alike because metrics' names are.
    best = max((_likeness(name, n) for n in near), default=0.0)
    return [n for n in near if _likeness(name, n) > best - 0.06]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
