"""Every hook of WMTP, on one page. A plugin is a module that implements some of these, marked with `wmtp.hookimpl`.

A distribution announces its module in the entry-point group ``wmtp``::

    [project.entry-points.wmtp]
    my-plugin = "my_plugin.plugin"

Registration hooks return small frozen records; import anything heavy inside the factories that the records name.
An implementation may leave out arguments that it does not need.

A hook or an argument is deprecated in one way, pluggy's: ``@hookspec(warn_on_impl=DeprecationWarning("…"))`` for a whole
hook, ``@hookspec(warn_on_impl_args={"old": DeprecationWarning("…")})`` for an argument. The text says what to use instead
and in which `wmtp.CORE_API` the old form ends. Plugins that still have it are loaded and warned, once, until then.
Adding an argument or a hook breaks nobody; a plugin marks a hook that older cores lack with ``optionalhook=True``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, Sample, Verdict
    from wmtp.contracts.specs import DatasetSpec, EvaluatorSpec, LoaderSpec, ScorerSpec, StorageSpec

hookspec = pluggy.HookspecMarker("wmtp")
hookimpl = pluggy.HookimplMarker("wmtp")


@hookspec
def wmtp_storages() -> Iterable[StorageSpec]:
    """Storage modes: who opens ``storage.mode`` and ``scheme://`` references.

    Returns: any number of `wmtp.StorageSpec`.

    Example:

        import wmtp

        def open_storage(settings):
            from my_plugin.storage import FtpStorage   # heavy imports belong in here
            return FtpStorage(settings)

        @wmtp.hookimpl
        def wmtp_storages():
            return [wmtp.StorageSpec("ftp", "files on an FTP server", ("ftp",), None, open_storage)]
    """
    raise NotImplementedError


@hookspec
def wmtp_loaders() -> Iterable[LoaderSpec]:
    """Model loaders: who turns a model reference into an engine.

    Returns: any number of `wmtp.LoaderSpec`.

    Example:

        import wmtp

        def load(request):
            from my_plugin.engine import EchoEngine
            return EchoEngine(request.reference)

        @wmtp.hookimpl
        def wmtp_loaders():
            return [wmtp.LoaderSpec("echo", "repeats the prompt", lambda ref: ref.startswith("echo:"), load)]
    """
    raise NotImplementedError


@hookspec
def wmtp_datasets() -> Iterable[DatasetSpec]:
    """Data sets by name: how a file or folder becomes rows.

    Returns: any number of `wmtp.DatasetSpec`.

    Example:

        import json
        import wmtp

        def load(request):
            path = request.fetch().path / f"{request.split}.jsonl"
            with path.open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)

        @wmtp.hookimpl
        def wmtp_datasets():
            return [wmtp.DatasetSpec("puzzles", "our own puzzles", load)]
    """
    raise NotImplementedError


@hookspec
def wmtp_evaluators() -> Iterable[EvaluatorSpec]:
    """Evaluators: which metrics there are, and who answers for them.

    Returns: any number of `wmtp.EvaluatorSpec`. Each id belongs to one plugin, and that plugin implements
    `wmtp_evaluate` for it.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_evaluators():
            return [wmtp.EvaluatorSpec("puzzles-v1", "our own puzzles", ("puzzles_pass@{k}",), dataset="puzzles")]
    """
    raise NotImplementedError


@hookspec
def wmtp_scorers() -> Iterable[ScorerSpec]:
    """Token-weight scorers for weighted multi-token-prediction training.

    Returns: any number of `wmtp.ScorerSpec`.

    Example:

        import wmtp

        def create(settings):
            from wmtp.weighting import normalize_weights
            return lambda batch: normalize_weights(batch["scores"], batch["mask"])

        @wmtp.hookimpl
        def wmtp_scorers():
            return [wmtp.ScorerSpec("given-v1", "scores from the batch", None, create)]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def wmtp_evaluate(task: EvaluationTask) -> EvaluationResult | None:
    """Runs one evaluator. Called only on the plugin that registered ``task.evaluator``, never on others.

    task: the `wmtp.EvaluationTask`: metrics wanted, settings, rows, the run directory, the engine and the judge.

    Returns: an `wmtp.EvaluationResult`, or ``None`` if `task.evaluator` is not one of this plugin's.
    An exception becomes this owner's entry in ``failed_evaluators``; other owners go on. Hook wrappers are refused.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_evaluate(task):
            if task.evaluator != "puzzles-v1":
                return None
            from my_plugin.benchmark import Puzzles   # a subclass of wmtp.CodeBenchmark
            return Puzzles().evaluate(task)
    """
    raise NotImplementedError


@hookspec
def wmtp_run_started(run_name: str, metrics: tuple[str, ...]) -> None:
    """Observer: an evaluation begins. One that raises is reported once and dropped.

    run_name: the run directory's name. metrics: every metric asked for.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_run_started(run_name, metrics):
            print("started", run_name, *metrics)
    """


@hookspec
def wmtp_sample_judged(sample: Sample, verdict: Verdict) -> None:
    """Observer: one sample has its verdict, and both are on disk.

    sample: the `wmtp.Sample`. verdict: the `wmtp.Verdict`.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_sample_judged(verdict):
            print(verdict.problem, verdict.status)
    """


@hookspec
def wmtp_run_finished(run_name: str, results: dict[str, object]) -> None:
    """Observer: an evaluation ended and results.json is on disk.

    run_name: the run directory's name. results: the object of results.json.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_run_finished(results):
            for name, metric in results["metrics"].items():
                print(name, metric["value"])
    """
