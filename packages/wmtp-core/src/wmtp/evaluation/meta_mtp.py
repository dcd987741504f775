"""The meta-mtp evaluator: a hook caller that aggregates what the owners of the requested metrics answer.

It names no benchmark. Each owner is called alone, in order of name; what one raises is kept as its failure, and the others
go on.
"""

from __future__ import annotations

import logging
from collections import Counter

from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask, MetricValue, OwnerRun
from wmtp.errors import PluginError

EVALUATOR_ID = "meta-mtp-evaluator"
log = logging.getLogger("wmtp.evaluation")


class MetaMtpEvaluator:
    """Serves protocol ``meta-mtp``. `wmtp.create_evaluator` returns it for a recipe with that protocol."""

    id = EVALUATOR_ID

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        """Calls every owner of the task. Never raises for what an owner does, except where the user interrupts."""
        metrics: dict[str, MetricValue] = {}
        counts: Counter[str] = Counter()
        parts: dict[str, EvaluationResult] = {}
        failed: dict[str, Exception] = {}
        for part in sorted(task.owners, key=lambda part: part.evaluator):
            try:
                result = part.evaluate()
            except (Exception, SystemExit) as error:  # an owner's failure is its own: it is kept, and shown
                failed[part.evaluator] = error if isinstance(error, Exception) else _left(part, error)
                log.debug("%s (%s) failed", part.evaluator, part.distribution, exc_info=error)
                if len(task.owners) > 1:  # said now, since the others may take hours; alone, it is said at the end
                    log.error("%s (%s) failed, the others go on: %s", part.evaluator, part.distribution, _line(error))
                continue
            parts[part.evaluator] = result
            metrics.update(result.metrics)
            counts.update(result.counts)
        return EvaluationResult(evaluator=self.id, metrics=metrics, counts=dict(counts), parts=parts, failed=failed)


def _left(part: OwnerRun, error: SystemExit) -> PluginError:
    return PluginError(f"{part.distribution} called sys.exit({error.code!r}) in wmtp_evaluate")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
