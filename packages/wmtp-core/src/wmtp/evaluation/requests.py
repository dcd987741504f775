"""What a benchmark asks a model, without asking it: for commands that measure something else on its problems."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from wmtp.config import load_section
from wmtp.config.config import Config
from wmtp.config.recipe import Recipe
from wmtp.contracts.engines import Completion, GenerationRequest, Sampling
from wmtp.contracts.evaluation import EvaluationTask
from wmtp.errors import ConfigError, PluginError
from wmtp.evaluation.judge import LazyJudge
from wmtp.evaluation.rows import Rows
from wmtp.loaders import create_data_loader
from wmtp.plugins import Plugins
from wmtp.runs.store import EvaluatorFiles


class _Asked(Exception):  # noqa: N818
    """Thrown through the evaluator as soon as it has asked."""


def benchmark_requests(config: Config, recipe: Recipe, plugins: Plugins, name: str) -> list[GenerationRequest]:
    """One request for each problem of a benchmark, as far as ``eval.limit``, with its reference solution where it has one.

    Args:
        config: where data sets are.
        recipe: the evaluator's settings, sampling and limit.
        plugins: those in use.
        name: of an evaluator (``mbpp-v1``), or of the data set of one that samples (``mbpp``).

    Raises:
        ConfigError: no installed plugin has such a benchmark.
        PluginError: its evaluator asks for nothing.
    """
    owner = _owner(plugins, name)
    asked: list[GenerationRequest] = []

    def generate(requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        asked.extend(requests)
        raise _Asked

    settings = recipe.eval.evaluators.get(owner.spec.id)
    if settings is None and owner.spec.settings is not None:
        settings = load_section(
            owner.spec.settings, {}, plugins=plugins, root=f"recipe.eval.evaluators.{owner.spec.id}"
        )
    metric = next(m for m in owner.spec.metrics).replace("{k}", "1")
    with TemporaryDirectory(prefix="wmtp-") as folder:
        files = EvaluatorFiles(Path(folder), owner.spec.id, generation=_nothing, judging=_nothing)
        task = EvaluationTask(
            evaluator=owner.spec.id,
            metrics=(metric,),
            settings=settings,
            sampling=Sampling(n=1, max_new_tokens=recipe.eval.sampling.max_new_tokens, seed=config.seed),
            limit=recipe.eval.limit,
            rows=Rows(lambda dataset: create_data_loader(config, dataset, plugins=plugins), owner.spec.dataset),
            store=files,
            generate=generate,
            judge=LazyJudge(_no_judge),
        )
        try:
            with _quiet():
                plugins.evaluate(task, owner)
        except _Asked:
            return asked
        finally:
            files.close()
    raise PluginError(
        f"{owner.spec.id} ({owner.distribution}) asks a model for nothing, so it has no problems to measure on"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what an evaluator says of its progress: there is none."""
    log = logging.getLogger("wmtp.evaluation")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _owner(plugins: Plugins, name: str) -> Any:
    owners = [o for o in plugins.evaluators.values() if o.spec.samples and o.spec.metrics and not o.spec.protocol]
    found = [o for o in owners if o.spec.id == name] or [o for o in owners if o.spec.dataset == name]
    if not found:
        known = ", ".join(sorted({o.spec.dataset or o.spec.id for o in owners})) or "none"
        raise ConfigError(f"no installed plugin has a benchmark {name!r}; there are: {known}")
    return found[0]


def _nothing() -> Mapping[str, Any]:
    return {}


def _no_judge() -> NoReturn:
    raise ConfigError("nothing is judged here")
