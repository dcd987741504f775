"""Which metrics of runs are compared, and under which names people may ask for them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from wmtp.comparison.records import RunData
from wmtp.errors import ConfigError


def k_of(metric: str) -> int:
    """k of a pass@k metric; 0 for every other."""
    base, _, k = metric.rpartition("@")
    return int(k) if base.endswith("pass") and k.isdecimal() else 0


def sampled(run: RunData, metric: str) -> bool:
    """Whether a metric is pass@k over outcomes that are there, sample by sample."""
    owner = run.owners[metric]
    return bool(k_of(metric)) and owner in run.judged and bool(run.judged[owner].passed)


def shared_metrics(runs: Sequence[RunData]) -> list[str]:
    """What every run has, in the first one's order."""
    return [m for m in runs[0].owners if all(m in run.owners for run in runs[1:])]


def derivable(runs: Iterable[RunData], metric: str) -> bool:
    """Whether every run has the metric, or the outcomes of samples that it can be computed from."""
    return all(metric in run.owners or _pass_owner(run, metric) is not None for run in runs)


def choose(runs: Sequence[RunData], asked: Sequence[str]) -> list[str]:
    """The metrics to compare: those asked for, else all that every run has with a value for each problem.

    pass@k at a k that was asked for and that no run states is added to the runs' owners.

    Raises:
        ConfigError: There is none, or one that was asked for is not there.
    """
    shared = shared_metrics(runs)
    if not asked:
        return _comparable(runs, shared)
    found = list(dict.fromkeys(resolve(runs, name) for name in asked))
    for metric in found:
        for run in runs:
            if metric not in run.owners:
                run.owners[metric] = _pass_owner(run, metric) or ""
    return found


def _comparable(runs: Sequence[RunData], shared: Sequence[str]) -> list[str]:
    if not set(shared) - set(runs[0].drafts):
        told = "; ".join(f"{run.name}: {', '.join(run.owners) or 'none'}" for run in runs)
        raise ConfigError(f"the runs share no metric, so there is nothing to compare ({told})")
    found = [m for m in shared if all(m in run.values or sampled(run, m) for run in runs)]
    if not set(found) - set(runs[0].drafts):
        raise ConfigError(
            f"the runs share {', '.join(shared)}, but not with a value for each problem: nothing can be paired"
        )
    return found


def resolve(runs: Sequence[RunData], name: str) -> str:
    """The metric of every run that is meant: the name itself, or the only one that ends in it, as mbpp_pass@1 in pass@1.

    Raises:
        ConfigError: There is none of that name, or several end in it.
    """
    if derivable(runs, name):
        return name
    shared = shared_metrics(runs)
    known = dict.fromkeys(shared)
    if k := k_of(name):  # at the k that was asked for
        known = dict.fromkeys(
            m for m in (f"{m.rpartition('@')[0]}@{k}" for m in shared if k_of(m)) if derivable(runs, m)
        )
    meant = [m for m in known if m.endswith(f"_{name}")]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"{name} may be {' or '.join(meant)}: say which")
    near = difflib.get_close_matches(name, [*shared, *known], n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    if len(runs) == 1:
        raise ConfigError(f"{name or repr(name)} is no metric of {runs[0].path}; it has {', '.join(shared)}{hint}")
    holders = [run.name for run in runs if name in run.owners]
    only = f"; only {' and '.join(holders)} {'has' if len(holders) == 1 else 'have'} it" if holders else ""
    raise ConfigError(
        f"{name or repr(name)} is not a metric of every run{only}; they share {', '.join(shared) or 'none'}{hint}"
    )


def _pass_owner(run: RunData, metric: str) -> str | None:
    """The evaluator of the same metric at another k, where its samples are known one by one."""
    base = metric.rpartition("@")[0] if k_of(metric) else None
    return next((who for m, who in run.owners.items() if m.rpartition("@")[0] == base and sampled(run, m)), None)
