"""Algorithms are presets of a scorer and nothing more; controls stand in for its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

import wmtp
from wmtp_train.settings import Sections

PRESETS = {
    "baseline-mtp": None,
    "mtp-baseline": None,
    "rho1-wmtp": "rho1-excess-v1",
    "critic-wmtp": "taw-gae-v1",
}


@attrs.frozen(kw_only=True)
class ChosenScorer:
    """A scorer and its control, made.

    Attributes:
        needs: What it must be given. described: name and options of both, for a training's identity.
    """

    scorer: Callable[..., Any] | None
    control: Callable[..., Any] | None
    needs: tuple[str, ...]
    described: str


def scorer_name(sections: Sections) -> str | None:
    """The scorer that the recipe comes to."""
    chosen = sections.train.scorer
    return chosen.name if chosen is not None else PRESETS[sections.train.algo]


def scorer_of(sections: Sections, plugins: wmtp.Plugins) -> ChosenScorer:
    """The recipe's scorer. Raises ConfigError where its plugin is not installed."""
    name, chosen, control = scorer_name(sections), sections.train.scorer, sections.train.control
    if name is None:
        return ChosenScorer(scorer=None, control=None, needs=(), described="none")
    if name not in plugins.scorers:
        raise wmtp.ConfigError(plugins.missing("scorer", name, plugins.scorers))
    spec = plugins.scorers[name].spec
    settings = chosen.settings if chosen is not None else (spec.settings() if spec.settings else None)
    made = None if control is None else plugins.controls[control.name].spec.create(control.settings)
    return ChosenScorer(
        scorer=spec.create(settings),
        control=made,
        needs=spec.needs,
        described=f"{name} {settings} {control}",
    )
