"""`evaluate`: from a config and a recipe to results. What ``wmtp eval`` calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from wmtp.config import load_config, load_configuration, load_recipe
from wmtp.config.config import Config
from wmtp.config.plain import to_plain, to_yaml
from wmtp.config.recipe import Recipe
from wmtp.contracts.engines import Engine, Sampling
from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, MetricValue, OwnerRun, Sample, Verdict
from wmtp.contracts.judging import Judge, JudgeRequest
from wmtp.contracts.loading import Resource
from wmtp.contracts.specs import Listener
from wmtp.errors import ConfigError, WmtpError
from wmtp.evaluation.before_the_end import BeforeTheEnd
from wmtp.evaluation.engine import GivenModel, RunEngine
from wmtp.evaluation.garbage import garbage_of_the_run
from wmtp.evaluation.judge import LazyJudge
from wmtp.evaluation.listeners import Progress, ProgressListener, run_listeners
from wmtp.evaluation.meta_mtp import EVALUATOR_ID, MetaMtpEvaluator
from wmtp.evaluation.result_files import write_results
from wmtp.evaluation.results import Results, assemble
from wmtp.evaluation.rows import Rows
from wmtp.events import BytesMoved, Emitter, RunFinished, RunStarted, SampleJudged, StageFinished
from wmtp.loaders import DataLoader, create_data_loader, create_model_loader
from wmtp.plugins import Plugins, create_plugin_manager
from wmtp.runs.folder import locked, write_atomically
from wmtp.runs.reader import Run
from wmtp.runs.store import EvaluatorFiles

log = logging.getLogger("wmtp")
KEPT_BYTES = 16 << 20
"""Of the lines of replayed samples, and of their verdicts: to parse them again for the metrics would cost more than to replay
them. While a model is asked that is nothing, and memory does not grow with the samples."""


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
    config: Config | Path | str | Mapping[str, Any] | None,
    recipe: Recipe | Path | str | Mapping[str, Any],
    *,
    plugins: Plugins | None = None,
    progress: Progress | None = None,
    listeners: Sequence[Listener] = (),
    runs: Path | str = "runs",
    fresh: bool = False,
    engine: Engine | None = None,
    finished: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Run a recipe to its end, or as far as it gets, in ``<runs>/<run name>/``.

    Args:
        config: Where things are; a file, or its content, is read as `load_config` reads it.
        recipe: What to run; the same for `load_recipe`.
        plugins: By default those that are installed.
        progress: Called with counts, for a bar.
        listeners: Hear every event of the run (`wmtp.events`), each on a thread of its own.
        runs: The folder of run folders.
        fresh: Start the run again.
        engine: Writes the samples instead of the recipe's model (`wmtp.engine` makes one of a model in memory); left open.
        finished: Called with the results once they are on disk, and report.md; other forms of the report are written, and
            listeners that are behind are waited for, after that.

    Returns:
        The results, also when some owner failed (`Results.complete` is then false).

    Raises:
        WmtpError: What the user can mend before anything has been computed: no such model, a run directory made differently, a
            sandbox that does not hold.
    """
    plugins = plugins or create_plugin_manager()
    config, recipe = _structured(config, recipe, plugins)
    if not recipe.eval.metrics:
        raise ConfigError("recipe.eval.metrics is empty; `wmtp metrics` lists what can be asked for")
    with locked(Path(runs) / recipe.run.name, fresh=fresh) as folder:
        started = RunStarted(
            name=recipe.run.name,
            kind="evaluation",
            folder=folder,
            metrics=recipe.eval.metrics,
            config=to_plain(config),
            recipe=to_plain(recipe),
        )
        every = run_listeners(plugins, config, started)
        every += [("progress", ProgressListener(progress))] if progress else []
        every += [(type(listener).__name__, listener) for listener in listeners]
        with Emitter(every) as emitter, _log_file(folder / "log.txt"), _Telling(finished) as telling:
            emitter.emit(started)
            driver = RunDriver(config, recipe, plugins, emitter, folder, engine)
            ended = partial(RunFinished, name=started.name, kind=started.kind, folder=folder)
            try:
                results = driver.run(telling.finished)
            except BaseException as error:
                emitter.emit(ended(error=error))
                raise
            emitter.emit(ended(record=results.record))
            return results


class _Telling:
    """Tells whoever waits for results. What goes wrong with that, a full disk behind a table say, is no fault of the run's: it
    is raised once the run has been brought to its end."""

    def __init__(self, finished: Callable[[Results], None]) -> None:
        self._finished = finished
        self._error: BaseException | None = None

    def __enter__(self) -> _Telling:
        return self

    def finished(self, results: Results) -> None:
        try:
            self._finished(results)
        except BaseException as error:  # noqa: BLE001  (see above)
            self._error = error

    def __exit__(self, raised: object, *_: object) -> None:
        if self._error is not None and raised is None:
            raise self._error


def _structured(config: Any, recipe: Any, plugins: Plugins) -> tuple[Config, Recipe]:
    """Both as records. Raises ConfigError for what is neither a record nor something that one can be read of."""
    given = {"config": (config, Config), "recipe": (recipe, Recipe)}
    for name, (value, kind) in given.items():
        if not isinstance(value, kind | Path | str | Mapping) and not (name == "config" and value is None):
            raise ConfigError(
                f"{name} is a {type(value).__name__}; wmtp.evaluate takes a wmtp.{kind.__name__}, as wmtp.load_{name} "
                "makes it, or the path of its file"
            )
    if not isinstance(config, Config) and not isinstance(recipe, Recipe):
        return load_configuration(config, recipe, plugins=plugins)
    return (
        config if isinstance(config, Config) else load_config(config, plugins=plugins),
        recipe if isinstance(recipe, Recipe) else load_recipe(recipe, plugins=plugins),
    )


class RunDriver:
    """One evaluation in its run folder."""

    def __init__(
        self,
        config: Config,
        recipe: Recipe,
        plugins: Plugins,
        emitter: Emitter,
        folder: Path,
        engine: Engine | None = None,
    ) -> None:
        self._config, self._recipe, self._plugins = config, recipe, plugins
        self._emit, self._folder = emitter.emit, folder
        model = (
            GivenModel(engine) if engine else create_model_loader(config, recipe, plugins=plugins, report=self._moved)
        )
        self._engine = RunEngine(model, folder)
        self._judge = LazyJudge(self._open_judge)
        self._loaders: dict[str, DataLoader] = {}
        self._files: dict[str, EvaluatorFiles] = {}
        self._before_the_end = BeforeTheEnd()

    def _moved(self, event: str, count: int) -> None:
        self._emit(BytesMoved(direction="download", event=event, count=count))

    def _open_judge(self) -> Judge:
        judging, paths = self._config.judging, self._config.paths
        request = JudgeRequest(
            level=judging.level,
            workers=judging.workers,
            time_limit=judging.time_limit,
            memory_mib=judging.memory_mib,
            packages=judging.packages,
            private=(str(self._folder), paths.cache, *paths.datasets.values()),
            notify=log.warning,
            settings=judging.where.settings,
        )
        return self._plugins.judges[judging.where.name].spec.open(request)

    def run(self, finished: Callable[[Results], None]) -> Results:
        """Brings the run to its end, or as far as it gets, and writes results.json, values and reports."""
        started = time.time()
        for name, record in (("config.yaml", self._config), ("recipe.yaml", self._recipe)):
            write_atomically(self._folder / name, to_yaml(record))
        with ExitStack() as stack, garbage_of_the_run(rarely=self._engine.replays):
            stack.callback(self._judge.close)
            stack.callback(self._engine.close)
            result = create_evaluator(self._recipe, plugins=self._plugins).evaluate(self._task(stack))
            if (
                result.failed
                and not result.parts
                and all(isinstance(e, WmtpError | OSError) for e in result.failed.values())
            ):
                raise next(iter(result.failed.values()))
            return self._results(result, started, finished)

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
        if self._config.judging.where.name == "local" and any(owned.spec.samples for owned, _ in owners.values()):
            import wmtp.judging.judge  # noqa: F401  (here: who rewrites imports, as pytest does, may not parse in two threads)

            self._judge.begin()  # it mostly waits for its processes, while we read rows and open the model
            if not self._engine.replays:
                self._before_the_end.begin()
        owner_runs = []
        for evaluator, (owned, names) in owners.items():
            task = self._owner_task(stack, owned, tuple(names))
            answer = partial(self._answer, owned, task, names)
            owner_runs.append(OwnerRun(evaluator=evaluator, distribution=owned.distribution, evaluate=answer))
        whole = self._owner_task(stack, self._plugins.protocol(section.protocol), tuple(section.metrics))
        return attrs.evolve(whole, owners=tuple(owner_runs))

    def _answer(self, owned: Any, task: EvaluationTask, names: Mapping[str, str]) -> EvaluationResult:
        """What an owner answers, under the names the user asked for."""
        started, failure = time.time(), None
        try:
            return _renamed(self._evaluated(owned, task), names)
        except Exception as error:
            failure = error
            raise
        finally:
            self._emit(StageFinished(name=task.evaluator, seconds=time.time() - started, error=failure))

    def _evaluated(self, owned: Any, task: EvaluationTask) -> EvaluationResult:
        section = self._recipe.eval
        if section.against is None or not owned.spec.samples:
            return self._plugins.evaluate(task, owned)
        from wmtp.evaluation.until_decided import UntilDecided  # it brings numpy, which others need at the end

        stopping = UntilDecided(
            task.evaluator,
            folder=self._folder,
            against=Path(section.against),
            difference=section.decide.difference,
            first=self._plugins.largest_k(section.metrics, section.metric_prefix),
            most=None if section.sampling.n == "auto" else section.sampling.n,
        )
        sampling = attrs.evolve(task.sampling, n=stopping.most)
        result = self._plugins.evaluate(attrs.evolve(task, sampling=sampling, stopping=stopping), owned)
        log.info("%s: %s", task.evaluator, stopping.note)
        return attrs.evolve(result, notes=(stopping.note, *result.notes))

    def _owner_task(self, stack: ExitStack, owned: Any, metrics: tuple[str, ...]) -> EvaluationTask:
        evaluator = owned.spec.id
        sampling = self._sampling()

        def generation() -> dict[str, Any]:
            return {**{f"model {k}": v for k, v in self._engine.identity().items()}, **sampling.form()}

        whole = self._recipe.eval.limit is None
        stored = partial(self._engine.available, whole=whole) if self._engine.replays else None
        files = EvaluatorFiles(
            self._folder,
            evaluator,
            generation=generation,
            judging=lambda: self._judge.identity,
            emit=self._emit,
            keep_bytes=KEPT_BYTES if self._engine.replays else 0,
        )
        stack.callback(files.close)
        self._files[evaluator] = files
        return EvaluationTask(
            evaluator=evaluator,
            metrics=metrics,
            settings=self._recipe.eval.evaluators.get(evaluator),
            sampling=sampling,
            limit=self._recipe.eval.limit,
            too_long=self._recipe.eval.too_long,
            rows=Rows(self._loader, owned.spec.dataset),
            store=files,
            generate=self._engine.generate,
            available=stored if self._recipe.eval.sampling.n == "auto" else None,
            stored=stored,
            head_scores=self._engine.head_scores,
            judge=self._judge,
            judged=self._judged,
        )

    def _judged(self, sample: Sample, verdict: Verdict) -> None:
        self._before_the_end.verdict(steps=self._engine.replays)
        self._emit(SampleJudged(sample=sample, verdict=verdict))

    def _loader(self, dataset: str) -> DataLoader:
        if dataset not in self._loaders:
            self._loaders[dataset] = create_data_loader(
                self._config, dataset, plugins=self._plugins, report=self._moved
            )
        return self._loaders[dataset]

    def _results(self, result: EvaluationResult, started: float, finished: Callable[[Results], None]) -> Results:
        run = Run(self._folder, lambda kind, who: self._files[who].rows(kind) if who in self._files else None)
        record = assemble(
            self._config,
            self._recipe,
            result,
            plugins=self._plugins,
            run=run,
            engine=self._engine,
            judge=self._judge.opened,
            data={name: _source(loader.found) for name, loader in self._loaders.items()},
            seconds=time.time() - started,
        )
        parts = dict(result.parts) or {result.evaluator: result}
        reporters, limit = self._plugins.reporters, self._recipe.eval.limit
        return write_results(run, record, parts, reporters=reporters, limit=limit, finished=finished)


def _source(resource: Resource | None) -> dict[str, str]:
    """Where a data set's rows came from, for results.json."""
    if resource is None:
        return {"path": "", "source": "its plugin", "version": ""}
    return {"path": str(resource.path), "source": resource.source, "version": resource.version}


def _renamed(result: EvaluationResult, names: Mapping[str, str]) -> EvaluationResult:
    """The same result under the names the user asked for (``eval.metric_prefix``)."""
    metrics: dict[str, MetricValue] = {names[name]: value for name, value in result.metrics.items()}
    values = {names[name]: of for name, of in result.values.items() if name in names}
    return attrs.evolve(result, metrics=metrics, values=values)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Sends the log of `wmtp` to the run's log.txt as well, tracebacks included."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = log.level
    log.setLevel(logging.DEBUG)  # handlers choose what they show
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
