"""`evaluate`: from a config and a recipe to results. What ``wmtp eval`` calls."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from wmtp.config.config import Config
from wmtp.config.plain import to_yaml
from wmtp.config.recipe import Recipe
from wmtp.contracts.engines import Sampling
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, MetricValue, OwnerRun, Rows
from wmtp.contracts.specs import Resource
from wmtp.errors import ConfigError, IncompleteError, WmtpError
from wmtp.evaluation.engine import RunEngine
from wmtp.evaluation.meta_mtp import EVALUATOR_ID, MetaMtpEvaluator
from wmtp.evaluation.report import report
from wmtp.evaluation.results import Results, assemble
from wmtp.evaluation.rundir import EvaluatorFiles, Event, locked, read_object, write_atomically
from wmtp.judging import open_judge
from wmtp.loaders import DataLoader, create_data_loader, create_model_loader
from wmtp.plugins import Plugins, create_plugin_manager

log = logging.getLogger("wmtp")
Progress = Callable[[str, str, int], None]
"""Called with (evaluator, ``"total"`` | ``"sample"`` | ``"verdict"``, count) as things happen; and from several threads with
(`DOWNLOAD`, ``"total"`` | ``"kept"`` | ``"bytes"``, count) while a model or data set is fetched."""
DOWNLOAD = "download"


def create_evaluator(recipe: Recipe, *, plugins: Plugins | None = None) -> MetaMtpEvaluator | ProtocolEvaluator:
    """The evaluator that serves the recipe's protocol: for ``meta-mtp``, the `MetaMtpEvaluator`.

    plugins: by default those that are installed. Raises ConfigError where none of them serves the protocol.
    """
    plugins = plugins or create_plugin_manager()
    owner = plugins.protocol(recipe.eval.protocol)
    return MetaMtpEvaluator() if owner.spec.id == EVALUATOR_ID else ProtocolEvaluator(plugins, owner)


@attrs.frozen
class ProtocolEvaluator:
    """Another plugin's evaluator for a protocol of its own, called through its hook."""

    _plugins: Plugins
    _owner: Any

    @property
    def id(self) -> str:
        return str(self._owner.spec.id)

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        return self._plugins.evaluate(task, self._owner)


def evaluate(
    config: Config,
    recipe: Recipe,
    *,
    plugins: Plugins | None = None,
    progress: Progress | None = None,
    runs: Path | str = "runs",
    fresh: bool = False,
) -> Results:
    """Runs a recipe to its end, or as far as it gets, in ``<runs>/<run name>/``.

    runs   the folder of run directories. fresh: start the run again.

    Returns `Results`, also when some owner failed (`Results.complete` is then false). Raises `WmtpError` for what the
    user can mend before anything has been computed: no such model, a run directory made differently, a sandbox that does
    not hold.
    """
    plugins = plugins or create_plugin_manager()
    if not recipe.eval.metrics:
        raise ConfigError("recipe.eval.metrics is empty; `wmtp metrics` lists what can be asked for")
    with locked(Path(runs) / recipe.run.name, fresh=fresh) as folder:
        return _Run(config, recipe, plugins, progress or _silent, folder).run()


def _silent(evaluator: str, event: str, count: int) -> None:
    return None


class _Run:
    """One evaluation in its run directory."""

    def __init__(
        self,
        config: Config,
        recipe: Recipe,
        plugins: Plugins,
        progress: Event,
        folder: Path,
    ) -> None:
        self._config, self._recipe, self._plugins = config, recipe, plugins
        self._progress, self._folder = progress, folder
        self._report = partial(progress, DOWNLOAD)
        model = create_model_loader(config, recipe, plugins=plugins, report=self._report)
        self._engine = RunEngine(model, folder)
        self._loaders: dict[str, DataLoader] = {}

    def run(self) -> Results:
        started = time.time()
        for name, record in (("config.yaml", self._config), ("recipe.yaml", self._recipe)):
            write_atomically(self._folder / name, to_yaml(record))
        with ExitStack() as stack:
            stack.enter_context(_log_file(self._folder / "log.txt"))
            judging = self._config.judging
            judge = stack.enter_context(
                open_judge(
                    level=judging.level,
                    workers=judging.workers,
                    time_limit=judging.time_limit,
                    memory_mib=judging.memory_mib,
                    packages=judging.packages,
                    notify=log.warning,
                )
            )
            stack.callback(self._engine.close)
            self._judge = judge
            self._plugins.notify("wmtp_run_started", run_name=self._recipe.run.name, metrics=self._recipe.eval.metrics)
            result = create_evaluator(self._recipe, plugins=self._plugins).evaluate(self._task(stack))
            if (
                result.failed
                and not result.parts
                and all(isinstance(e, WmtpError | OSError) for e in result.failed.values())
            ):
                raise next(iter(result.failed.values()))
            results = self._results(result, judge, started)
        self._plugins.notify("wmtp_run_finished", run_name=self._recipe.run.name, results=results.to_json())
        return results

    def _sampling(self) -> Sampling:
        """The recipe's, with its number of samples and its seed settled."""
        section = self._recipe.eval
        wanted = section.sampling
        n = self._plugins.largest_k(section.metrics, section.metric_prefix) if wanted.n == "auto" else wanted.n
        return attrs.evolve(wanted, n=n, seed=self._config.seed if wanted.seed is None else wanted.seed)

    def _task(self, stack: ExitStack) -> EvaluationTask:
        """The protocol's task; its parts hold one for each owner of a metric."""
        section = self._recipe.eval
        owners: dict[str, tuple[Any, dict[str, str]]] = {}
        for name in section.metrics:
            owner = self._plugins.metric(name, section.metric_prefix)
            owners.setdefault(owner.evaluator.spec.id, (owner.evaluator, {}))[1][owner.base_name] = name
        owner_runs = []
        for evaluator, (owned, names) in owners.items():
            task = self._owner_task(stack, owned, tuple(names))
            answer = lambda owned=owned, task=task, names=names: _renamed(self._plugins.evaluate(task, owned), names)  # noqa: E731
            owner_runs.append(OwnerRun(evaluator=evaluator, distribution=owned.distribution, evaluate=answer))
        protocol = self._plugins.protocol(section.protocol).spec.id
        whole = self._owner_task(stack, None, tuple(section.metrics), protocol)
        return attrs.evolve(whole, owners=tuple(owner_runs))

    def _owner_task(
        self, stack: ExitStack, owned: Any, metrics: tuple[str, ...], protocol: str | None = None
    ) -> EvaluationTask:
        evaluator = protocol or owned.spec.id
        sampling = self._sampling()

        def generation() -> dict[str, Any]:
            return {**{f"model {k}": v for k, v in self._engine.identity().items()}, **sampling.form()}

        every = self._engine.replays and self._recipe.eval.sampling.n == "auto"
        if protocol is None:
            files: Any = EvaluatorFiles(
                self._folder, evaluator, generation=generation, judging=self._judge.identity, event=self._progress
            )
            stack.callback(files.close)
        else:
            files = None
        return EvaluationTask(
            evaluator=evaluator,
            metrics=metrics,
            settings=self._recipe.eval.evaluators.get(evaluator),
            sampling=sampling,
            limit=self._recipe.eval.limit,
            rows=self._rows(owned.spec.dataset if owned else None),
            store=files,
            generate=self._engine.generate,
            available=partial(self._engine.available, whole=self._recipe.eval.limit is None) if every else None,
            head_scores=self._engine.head_scores,
            judge=self._judge,
            judged=lambda sample, verdict: self._plugins.notify("wmtp_sample_judged", sample=sample, verdict=verdict),
        )

    def _rows(self, dataset: str | None) -> Rows:
        def rows(split: str) -> Iterable[Mapping[str, Any]]:
            if dataset is None:
                raise ConfigError("this evaluator declares no data set, so it has no rows")
            if dataset not in self._loaders:
                self._loaders[dataset] = create_data_loader(
                    self._config, dataset, plugins=self._plugins, report=self._report
                )
            return self._loaders[dataset].rows(split)

        return rows

    def _results(self, result: EvaluationResult, judge: Any, started: float) -> Results:
        keys = read_object(self._folder / "keys.json") or {}  # absent where no evaluator stores samples
        results = assemble(
            self._config,
            self._recipe,
            result,
            plugins=self._plugins,
            folder=self._folder,
            engine=self._engine,
            judge=judge,
            data={name: _source(loader.found) for name, loader in self._loaders.items()},
            keys=keys,
            seconds=time.time() - started,
        )
        text = json.dumps(results.to_json(), indent=1, ensure_ascii=False)
        write_atomically(self._folder / "results.json", text + "\n")
        details = {who: part.report for who, part in result.parts.items()}
        write_atomically(self._folder / "report.md", report(results.to_json(), details))
        return results


def _source(resource: Resource | None) -> dict[str, str]:
    """Where a data set's rows came from, for results.json."""
    if resource is None:
        return {"path": "", "source": "its plugin", "version": ""}
    return {"path": str(resource.path), "source": resource.source, "version": resource.version}


def _renamed(result: EvaluationResult, names: Mapping[str, str]) -> EvaluationResult:
    """The same result under the names the user asked for (``eval.metric_prefix``)."""
    metrics: dict[str, MetricValue] = {names[name]: value for name, value in result.metrics.items()}
    return attrs.evolve(result, metrics=metrics)


class _log_file:  # noqa: N801  (a context manager that reads as a verb)
    """Sends the log of `wmtp` to the run's log.txt as well, tracebacks included."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._handler = logging.FileHandler(self._path, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._level = log.level
        log.setLevel(logging.DEBUG)  # handlers choose what they show
        log.addHandler(self._handler)

    def __exit__(self, *_: object) -> None:
        log.removeHandler(self._handler)
        log.setLevel(self._level)
        self._handler.close()


def raise_if_incomplete(results: Results) -> None:
    """Raises IncompleteError naming what is missing, for callers that want an exception instead of a flag."""
    if not results.complete:
        raise IncompleteError("; ".join(results.shortcomings()))
