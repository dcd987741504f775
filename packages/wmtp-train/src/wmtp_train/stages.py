"""``wmtp run``: reference or critic, train, export, evaluate each kept checkpoint, compare with the first, report.

Each stage leaves a mark of its own in the run folder and is not done again where that stands: a critic's record, whole
checkpoints, finished exports, complete evaluations, what trackers were told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import wmtp
from wmtp.events import StageFinished
from wmtp_train.critic_settings import CriticConfig
from wmtp_train.folder import TrainingFolder, held_alone
from wmtp_train.judging import Judging, session
from wmtp_train.plan import TrainingRequest, make_plan
from wmtp_train.presets import scorer_of
from wmtp_train.reference import STAGE, export_reference, reference_export, reference_request
from wmtp_train.settings import sections_of


class Stages:
    """One run of a recipe from training to report."""

    def __init__(
        self,
        request: TrainingRequest,
        train: Callable[[TrainingRequest], None],
        say: Callable[[str], None],
        *,
        processes: int = 1,
    ) -> None:
        """train: trains to the end, or raises. say: hears what is done, a line at a time. processes: that train."""
        if not request.recipe.eval.metrics:
            raise wmtp.ConfigError(
                "recipe.eval.metrics is empty, so no checkpoint could be judged; `wmtp metrics` lists them"
            )
        self._request, self._train, self._say, self._processes = request, train, say, processes
        self._folder = TrainingFolder(request.folder)

    def run(self) -> None:
        """All stages."""
        with self._held():
            self._first()
            if not self._folder.plan.exists():  # what is wrong with the training is said before anything is judged
                make_plan(self._request, world=self._processes)
            judging = Judging(self._request, self._say)
            judging.judge([None])
            self._train(self._request)
            wished = [one for one in self._folder.whole() if not one.passing]
            self._say(f"report: {judging.judge([None, *wished], last=True)}")

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The whole run, by this process alone."""
        with held_alone(self._request.folder, ".run.lock", "another `wmtp run` works"):
            yield

    def _first(self) -> None:
        """What the scorer looks at: a reference or a critic that the recipe describes."""
        request = self._request
        needs = scorer_of(sections_of(request.recipe), request.plugins).needs
        train = sections_of(request.recipe).train
        for name, need, given in ((STAGE, "reference_ce", train.reference), ("critic", "values", train.critic)):
            if name not in request.recipe.sections:
                continue
            if need not in needs:
                self._say(f"{name}: not made, since algo {train.algo} with this scorer looks at none")
            elif given is not None:
                raise wmtp.ConfigError(
                    f"train.{name} and the section {name} both say where the {name} comes from; give one"
                )
            elif name == STAGE:
                self._reference()
            else:
                self._critic()

    def _reference(self) -> None:
        request, began = reference_request(self._request), time.monotonic()
        fresh = reference_export(self._request) is None
        self._train(request)
        place = export_reference(request)
        self._say(f"{STAGE}: {place}, {'made' if fresh else 'there already'}")
        if fresh:
            self._ended(STAGE, time.monotonic() - began)

    def _critic(self) -> None:
        from wmtp_train.cli_critic import accuracy
        from wmtp_train.critic_train import make_critic

        request, began = self._request, time.monotonic()
        settings: CriticConfig = request.recipe.sections["critic"]
        loaded = wmtp.create_model_loader(request.config, request.recipe, plugins=request.plugins).load_model(
            device=request.device, dtype="float32"
        )
        made = make_critic(loaded, settings, request.folder / "critic", seed=request.config.seed)
        how = "made" if made.new else "there already"
        self._say(f"critic: {made.folder}, {how}; {accuracy(made.accuracy, made.held_out)}")
        if made.new:
            self._ended("critic", time.monotonic() - began)

    def _ended(self, stage: str, seconds: float) -> None:
        with session(self._request) as told:
            told.emit(StageFinished(name=stage, seconds=seconds))
