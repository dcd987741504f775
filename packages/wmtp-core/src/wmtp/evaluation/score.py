"""`score`: judging samples that are already written, by us or by others. What ``wmtp score`` calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp.config import load_configuration
from wmtp.config.recipe import EvalConfig
from wmtp.contracts.catalog import Registered
from wmtp.contracts.specs import EvaluatorSpec
from wmtp.errors import ConfigError
from wmtp.evaluation.driver import evaluate
from wmtp.evaluation.listeners import Progress
from wmtp.evaluation.results import Results
from wmtp.generation.replay import READ, SamplesEngine
from wmtp.plugins import Plugins, create_plugin_manager
from wmtp.regular_files import check_regular

REPORTED_K = (1, 10, 100)
"""The k of pass@k that is reported, as far as there are samples for it."""


def score(
    samples: Path | str,
    benchmark: str,
    *,
    config: Path | str | Mapping[str, Any] | None = None,
    data: Path | str | None = None,
    overrides: Sequence[str] = (),
    plugins: Plugins | None = None,
    progress: Progress | None = None,
    runs: Path | str = "runs",
    fresh: bool = False,
    finished: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Judges the samples of a file with the evaluator `benchmark`, and reports all of its metrics but those `on_request`.

    Args:
        benchmark: An evaluator id, or the name of a data set that one evaluator has.
        data: Where that data set is.
        overrides: ``key.path=yaml``, as ``--set`` takes them: ``eval.limit=20``,
            ``eval.evaluators.mbpp-v1.split=train``.
        finished: As `wmtp.evaluate` has it.

    All samples of the file count, also where problems have different numbers of them: pass@k is reported as far as every
    problem has k. A file that lacks problems of the split, or has others, is refused (not so under ``eval.limit``).
    Needs no torch. The run directory is named after the file's name and content and the data, so that the same command
    goes on where a stopped one left off.
    """
    plugins = plugins or create_plugin_manager()
    owner = find_benchmark(benchmark, plugins)
    check_regular(samples, "samples")  # before links are followed: what is behind /dev/stdin has no name to read it by
    if data:
        check_regular(data, "rows of a data set")
    path = Path(samples).resolve()
    engine = SamplesEngine(path)
    counts = engine.counts().values()
    if not counts:
        raise ConfigError(f"{path} holds no samples. {READ}")
    where = Path(data).resolve() if data else ""
    content = hashlib.sha256(f"{engine.identity['sha256']} {owner.spec.id} {where}".encode()).hexdigest()[:8]
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.stem)
    recipe = {
        "run": {"name": f"score-{stem}-{content}"},
        "model": {"base_id": f"samples:{path}", "loader": "samples"},
        "eval": {"sampling": {"n": "auto"}, "metrics": _metrics(owner.spec, max(1, min(counts)))},
    }
    environment, structured = load_configuration(config, recipe, plugins=plugins, overrides=overrides)
    _check_asked(structured.eval, owner.spec, plugins)
    if data and owner.spec.dataset:  # into the environment, so that the run directory's config.yaml knows it
        datasets = {**environment.paths.datasets, owner.spec.dataset: str(Path(data).resolve())}
        environment = attrs.evolve(environment, paths=attrs.evolve(environment.paths, datasets=datasets))
    return evaluate(
        environment, structured, plugins=plugins, progress=progress, runs=runs, fresh=fresh, finished=finished
    )


def find_benchmark(name: str, plugins: Plugins) -> Registered[EvaluatorSpec]:
    """The evaluator of this id, or the one whose data set has this name. Raises ConfigError with what there is."""
    if name in plugins.evaluators or name in plugins.evaluators.conflicts:
        owner = plugins.evaluators[name]
        if not owner.spec.samples:
            raise ConfigError(f"{name} judges no samples ({owner.spec.summary}); run it on a model with wmtp eval")
        return owner
    found = [o for o in plugins.evaluators.values() if o.spec.dataset == name and o.spec.samples]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(f"{o.spec.id} ({o.distribution})" for o in found)
        raise ConfigError(f"several evaluators use the data set {name!r}: {ids}; name one of them")
    scorable = [o.spec for o in plugins.evaluators.values() if o.spec.metrics and o.spec.samples]
    names = {name for spec in scorable for name in (spec.id, spec.dataset) if name}
    kind = "evaluator" if "-v" in name else "data set"  # for the distribution that would provide it
    raise ConfigError(plugins.missing(kind, name, names).replace(f"unknown {kind}", "unknown benchmark", 1))


def _check_asked(section: EvalConfig, spec: EvaluatorSpec, plugins: Plugins) -> None:
    """Raises ConfigError for metrics of others than the benchmark that the samples are of."""
    owners = {name: plugins.metric(name, section.metric_prefix).evaluator.spec.id for name in section.metrics}
    others = [name for name, who in owners.items() if who != spec.id]
    if others:
        named, are = ", ".join(others), "is not a metric" if len(others) == 1 else "are not metrics"
        raise ConfigError(
            f"{named} {are} of {spec.id}, which has {', '.join(spec.metrics)}; mend eval.metrics or --benchmark"
        )


def _metrics(spec: EvaluatorSpec, n: int) -> list[str]:
    names: list[str] = []
    for template in (name for name in spec.metrics if name not in spec.on_request):
        names += [template.replace("{k}", str(k)) for k in REPORTED_K if k <= n] if "{k}" in template else [template]
    return names
