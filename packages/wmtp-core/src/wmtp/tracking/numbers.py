"""What trackers hear of a run: its settings as parameters, its results as numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from wmtp.contracts.runs import RunRecord
from wmtp.contracts.tracking import TrackedRun
from wmtp.events import RunStarted

_OF_CONFIG = ("project", "seed", "devices", "judging")
"""Parts of config.yaml that say how a run was made. The others are places and credentials, which stay here."""


def tracked_run(started: RunStarted, time: float) -> TrackedRun:
    """What a tracker is told when a session begins."""
    told = {**started.recipe, "config": {k: started.config[k] for k in _OF_CONFIG if k in started.config}}
    section = started.recipe.get("run")
    tags = section.get("tags", ()) if isinstance(section, Mapping) else ()
    return TrackedRun(
        name=started.name,
        kind=started.kind,
        folder=str(started.folder.resolve()),
        time=time,
        params=dict(_flat(told, "")),
        tags=tuple(map(str, tags)),
    )


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def results(record: RunRecord) -> dict[str, float]:
    """Every metric that has a value, with the ends of its interval, and the counts of verdicts.

    ``eval/mbpp_pass@1``, with ``_low``, ``_high`` and ``_problems`` behind the name; ``verdicts/mbpp-v1/timeout``.
    """
    values: dict[str, float] = {}
    for name, metric in record.metrics.items():
        if metric.value is None:
            continue
        ends = {"": metric.value, "_low": metric.low, "_high": metric.high, "_problems": metric.problems}
        values |= {f"eval/{name}{end}": float(value) for end, value in ends.items() if value is not None}
    for evaluator, counts in record.verdicts.items():
        values |= {f"verdicts/{evaluator}/{status}": float(count) for status, count in counts.items()}
    return values


__all__ = ["results", "tracked_run"]
