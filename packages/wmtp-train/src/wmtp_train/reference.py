"""The stage ``reference`` of a run: a training of its own that comes first, and whose export a scorer looks at."""

from __future__ import annotations

from pathlib import Path

import attrs

import wmtp
from wmtp_train.folder import EXPORTED, TrainingFolder
from wmtp_train.plan import TrainingRequest
from wmtp_train.settings import ReferenceConfig

STAGE = "reference"


def reference_request(request: TrainingRequest) -> TrainingRequest:
    """The training that the recipe's section ``reference`` describes. Raises ConfigError where there is none."""
    settings: ReferenceConfig | None = request.recipe.sections.get(STAGE)
    if settings is None:
        raise wmtp.ConfigError(
            "the recipe has no section reference: reference: {data: {train: {sources: [{dataset: mbpp}]}}}"
        )
    recipe = request.recipe
    model = recipe.model
    if settings.base_id is not None:
        model = attrs.evolve(model, base_id=settings.base_id, variant=None, revision=None, loader=None)
    sections = {name: getattr(settings, name) for name in ("data", "train", "optim", "checkpoint")}
    run = attrs.evolve(recipe.run, name=STAGE)
    return attrs.evolve(
        request,
        recipe=attrs.evolve(recipe, run=run, model=model, sections=sections),
        runs=request.folder,
        part_of=request,
    )


def export_reference(request: TrainingRequest) -> Path:
    """The export of what that training ended with, made where it is not there. request: that training's own."""
    from wmtp_train.export import export

    return export(request, TrainingFolder(request.folder).whole()[-1])


def reference_export(request: TrainingRequest) -> Path | None:
    """The newest finished export of that training, if there is one."""
    exports = TrainingFolder(request.folder / STAGE).exports
    done = [path for path in sorted(exports.glob("step-*")) if (path / EXPORTED).is_file()]
    return done[-1] if done else None
