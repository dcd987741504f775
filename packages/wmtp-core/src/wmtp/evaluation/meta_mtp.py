"""The meta-mtp evaluator: a hook caller that aggregates what the owners of the requested metrics answer.

It names no benchmark. Each owner is called alone, in order of name; what one raises is kept as its failure, and the others
go on.
"""

from __future__ import annotations

import logging
from collections import Counter

from wmtp.evaluation.records import EvaluationResult, EvaluationTask, MetricValue

EVALUATOR_ID = "meta-mtp-evaluator"
log = logging.getLogger("wmtp.evaluation")


class MetaMtpEvaluator:
    """Serves protocol ``meta-mtp``. `wmtp.create_evaluator` returns it for a recipe with that protocol."""

    id = EVALUATOR_ID

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        """Calls every part of the task. Never raises for what an owner does, except where the user interrupts."""
        metrics: dict[str, MetricValue] = {}
        counts: Counter[str] = Counter()
        parts: dict[str, EvaluationResult] = {}
        failed: dict[str, Exception] = {}
        for part in sorted(task.parts, key=lambda part: part.evaluator):
            try:
                result = part.run()
            except Exception as error:  # an owner's failure is its own: it is kept, and shown
                failed[part.evaluator] = error
                log.error("%s (%s) failed: %s: %s", part.evaluator, part.distribution, type(error).__name__, error)
                log.debug("its traceback", exc_info=error)
                continue
            parts[part.evaluator] = result
            metrics.update(result.metrics)
            counts.update(result.counts)
        return EvaluationResult(self.id, metrics, dict(counts), parts=parts, failed=failed)
