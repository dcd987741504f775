"""What a plugin names and does not import: `wmtp --help` asks every plugin for its records, and needs none of their modules."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import attrs

from wmtp.contracts.evaluation import EvaluationResult, EvaluationTask


def late(target: str) -> Callable[..., Any]:
    """A function of a module that is imported when it is first called.

    Args:
        target: ``"package.module:function"``.
    """
    return _Late(*target.split(":"))


def late_benchmark(target: str) -> Callable[[EvaluationTask], EvaluationResult]:
    """`EvaluatorSpec.evaluate` of a `wmtp.CodeBenchmark`, whose module is imported when it is first asked.

    Args:
        target: ``"package.module:Class"``.
    """
    return _LateBenchmark(*target.split(":"))


@attrs.frozen
class _Late:
    module: str
    name: str

    def found(self) -> Any:
        return getattr(import_module(self.module), self.name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.found()(*args, **kwargs)


@attrs.frozen
class _LateBenchmark(_Late):
    def __call__(self, task: EvaluationTask) -> EvaluationResult:
        found: EvaluationResult = self.found()().evaluate(task)
        return found
