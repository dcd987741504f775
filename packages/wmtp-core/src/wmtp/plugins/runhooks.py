"""The hooks that are called while a run goes: an evaluator's, and the observers'. `hookspecs` has them beside its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wmtp.plugins.markers import hookspec

if TYPE_CHECKING:
    from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, Sample, Verdict


@hookspec(firstresult=True)
def wmtp_evaluate(task: EvaluationTask) -> EvaluationResult | None:
    """Runs one evaluator. Called only on the plugin that registered ``task.evaluator``, never on others. Whoever has more than
    one evaluator to choose from here may leave it out, and name a factory as `EvaluatorSpec.evaluate` instead.

    task: the `wmtp.EvaluationTask`: metrics wanted, settings, rows, the run directory, the engine and the judge.

    Returns: an `wmtp.EvaluationResult`, or ``None`` if `task.evaluator` is not served here; `EvaluatorSpec.evaluate` is called
    then, where there is one. An exception becomes this owner's entry in ``failed_evaluators``; other owners go on.

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
            print(verdict.key.problem, verdict.outcome.status)
    """


@hookspec
def wmtp_run_finished(run_name: str, results: dict[str, object] | None, error: BaseException | None) -> None:
    """Observer: an evaluation ended. Every `wmtp_run_started` is followed by one, also where the run fails.

    run_name: the run folder's name. results: the object of results.json, which is on disk; ``None`` where the run failed.
    error: what ended it, else ``None``.

    Example:

        import wmtp

        @wmtp.hookimpl
        def wmtp_run_finished(results):
            for name, metric in (results or {"metrics": {}})["metrics"].items():
                print(name, metric["value"])
    """
