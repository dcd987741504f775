"""`audit`: the same requests with drafts and without, or with another engine. What ``wmtp audit`` calls.

Both sides are runs like any other, in folders of their own: they go on where they stopped, and every sample stays to be looked
at. Texts that differ are put to an engine that can say where they leave what it writes, and by how much.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp.comparison.compare import compare
from wmtp.comparison.records import Comparison
from wmtp.config.config import Config
from wmtp.config.recipe import Recipe
from wmtp.contracts.engines import (
    Closes,
    Departure,
    FindsDepartures,
    GenerationRequest,
    SampleKey,
    Sampling,
)
from wmtp.contracts.specs import LoaderSpec
from wmtp.errors import ConfigError
from wmtp.evaluation.driver import evaluate
from wmtp.evaluation.listeners import Progress
from wmtp.loaders import create_model_loader
from wmtp.plugins import Plugins, create_plugin_manager
from wmtp.runs.reader import Run, open_run

log = logging.getLogger("wmtp")

EQUIVALENT = 0.02
LOOKED_AT = 20
"""Samples that differ and are explained, one by one; the others are only counted."""
SHOWN = 40
"""Characters of a text that are kept from where it differs."""
COARSE = 2.0**-7
"""Precision of the coarsest number format that models are computed in (bfloat16)."""
NOTHING_DRAFTED = "nothing was drafted: the model has no heads that draft, so this audit compared an engine with itself"


@attrs.frozen(kw_only=True)
class Difference:
    """A sample whose two texts differ.

    Attributes:
        key: Which.
        character: Of both texts, the first that is not the same.
        written: What either side wrote from there on, its first `SHOWN` characters.
        a: Where the first side's text leaves what an engine writes that can tell: the other side's, or else its own. Where it
            does not, since that engine writes this very text when it is asked once more, where the second side's leaves it.
            ``None`` where neither does, or none could tell.
        b: The same of the second side's.
        asked: For `a` and `b`, the side whose engine told; ``""`` where none could.
        blind: One side's engine could not tell, so nobody knows what it computes in.
    """

    key: SampleKey
    character: int = 0
    written: tuple[str, str] = ("", "")
    a: Departure | None = None
    b: Departure | None = None
    asked: tuple[str, str] = ("", "")
    blind: bool = False

    @property
    def near_tie(self) -> bool | None:
        """Whether rounding explains it, where scores move most; ``None`` where nobody can tell."""
        found = [d for d in (self.a, self.b) if d is not None]
        if not found:
            return None
        rounding = max(d.rounding for d in found)
        ties = [d.near_tie_within(rounding) for d in found]
        if False in ties:
            return None if self.in_a_coarse_format else False
        return None if None in ties else True

    @property
    def in_a_coarse_format(self) -> bool:
        """Whether rounding would explain it in `COARSE`, which the side that could not be asked may compute in."""
        found = [d for d in (self.a, self.b) if d is not None]
        return self.blind and all(d.near_tie_within(COARSE * (d.scale or 0.0)) is not False for d in found)


@attrs.frozen(kw_only=True)
class Audit:
    """What `audit` found.

    Attributes:
        sides: The two run folders.
        acceptance: Of each side's drafts, by head; empty where nothing was drafted.
        samples: Texts that were compared.
        equal: How many of them are the same on both sides.
        differences: Those that are not and were looked at.
        left_out: How many were not looked at.
        comparison: pass@1 of the sides, paired, where the recipe asks for it.
        sampled: Whether texts were drawn, at a temperature above 0.
        notes: What people must know.
    """

    sides: tuple[Path, Path]
    acceptance: tuple[tuple[float | None, ...], tuple[float | None, ...]]
    samples: int
    equal: int
    differences: tuple[Difference, ...]
    left_out: int
    comparison: Comparison | None
    sampled: bool
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[Difference, ...]:
        """Differences that rounding does not explain."""
        return tuple(d for d in self.differences if d.near_tie is False)

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        return tuple(d for d in self.differences if d.near_tie is None)

    @property
    def passed(self) -> bool:
        """No text differs beyond near ties. Where nobody knows the noise that texts were drawn with, pass@1 decides."""
        if self.faults:
            return False
        if self.unexplained and not self.sampled:
            return False
        verdicts = [c.verdict for c in self.comparison.comparisons] if self.comparison else []
        return not (self.unexplained and {"better", "worse"} & set(verdicts))

    def to_json(self) -> dict[str, Any]:
        """The object that ``wmtp audit --json`` prints."""

        def told(found: Departure | None, asked: str) -> dict[str, Any] | None:
            return None if found is None else {**attrs.asdict(found), "near_tie": found.near_tie, "asked": asked}

        return {
            "sides": [str(side) for side in self.sides], "acceptance": [list(a) for a in self.acceptance],
            "samples": self.samples,
            "equal": self.equal, "share_equal": self.equal / self.samples if self.samples else None,
            "near_ties": sum(d.near_tie is True for d in self.differences), "faults": len(self.faults),
            "unexplained": len(self.unexplained), "left_out": self.left_out, "passed": self.passed,
            "differences": [
                {
                    **attrs.asdict(d.key), "near_tie": d.near_tie, "character": d.character, "written": list(d.written),
                    "a": told(d.a, d.asked[0]), "b": told(d.b, d.asked[1]),
                }
                for d in self.differences
            ],
            "comparison": self.comparison.to_json() if self.comparison else None, "notes": list(self.notes),
        }  # fmt: skip


def audit(
    config: Config,
    recipe: Recipe,
    *,
    against: str | None = None,
    equivalent: float = EQUIVALENT,
    plugins: Plugins | None = None,
    progress: Progress | None = None,
    runs: Path | str = "runs",
    fresh: bool = False,
) -> Audit:
    """Evaluates a recipe twice and compares the texts.

    Args:
        against: Another model reference, for the second side. By default it is the same model without drafts.
        equivalent: The difference of pass@1 within which the sides count as equivalent.
        runs: The folder of run folders; the sides are ``<run>-audit-a`` and ``<run>-audit-b`` in it.

    Raises:
        ConfigError: The model's drafts cannot be switched off from here, or a side is not complete.
    """
    plugins = plugins or create_plugin_manager()
    switches = create_model_loader(config, recipe, plugins=plugins).switches_drafts
    recipes = _sides(recipe, against, plugins, switches=switches)
    results = [evaluate(config, side, plugins=plugins, progress=progress, runs=runs, fresh=fresh) for side in recipes]
    for result in results:
        if not result.complete:
            raise ConfigError(
                f"{result.folder} is not complete, so nothing can be said yet: {next(iter(result.shortcomings()), '')}; its "
                "report.md says all that is missing"
            )
    one, other = (open_run(result.folder) for result in results)
    pairs = list(_pairs(one, other))
    differing = [(key, texts) for key, texts in pairs if texts[0] != texts[1]]
    asked = recipes if against else recipes[1:]
    views = [_told(config, side, one, differing[:LOOKED_AT], plugins) for side in asked] if differing else []
    sampled = recipe.eval.sampling.temperature > 0
    looked_at = [
        _difference(key, texts, [view[key] for view in views], sampled=sampled) for key, texts in differing[:LOOKED_AT]
    ]
    metrics = [name for name in results[0].metrics if name.endswith("pass@1")]
    comparison = compare([one.folder, other.folder], metrics=metrics, equivalent=equivalent) if metrics else None
    a, b = (tuple(result.record.generation.acceptance) for result in results)
    notes = tuple(_notes(looked_at, views, drafted=bool(against or a), sampled=sampled))
    return Audit(
        sides=(one.folder, other.folder), acceptance=(a, b), samples=len(pairs),
        equal=len(pairs) - len(differing), differences=tuple(looked_at), left_out=len(differing) - len(looked_at),
        comparison=comparison, sampled=sampled, notes=notes,
    )  # fmt: skip


def _sides(recipe: Recipe, against: str | None, plugins: Plugins, *, switches: bool) -> tuple[Recipe, Recipe]:
    """The recipe of each side: with drafts that are not given up, and without any or with another model."""
    model, name = recipe.model, recipe.run.name
    first = attrs.evolve(model, mtp=attrs.evolve(model.mtp, speculative="always"))
    if against is None:
        if not switches:
            raise ConfigError(
                f"whether {model.base_id} drafts cannot be switched from here: it was started with drafts or without. Start a "
                "second one without them, and name it with --against"
            )
        second = attrs.evolve(model, mtp=attrs.evolve(model.mtp, speculative="off"))
    else:
        loaders = {name: _of_another(options, plugins.loaders[name].spec) for name, options in model.loaders.items()}
        second = attrs.evolve(first, base_id=against, revision=None, variant=None, loader=None, loaders=loaders)
    return tuple(  # type: ignore[return-value]
        attrs.evolve(recipe, model=side, run=attrs.evolve(recipe.run, name=f"{name}-audit-{letter}"))
        for side, letter in ((first, "a"), (second, "b"))
    )


def _pairs(one: Run, other: Run) -> Iterator[tuple[SampleKey, tuple[str, str]]]:
    for evaluator in one.evaluators:
        theirs = {sample.key: sample for sample in other.samples(evaluator)}
        for sample in one.samples(evaluator):
            if sample.key in theirs:
                yield sample.key, (sample.completion, theirs[sample.key].completion)


def _of_another(options: Any, spec: LoaderSpec) -> Any:
    """A loader's options without those that go with one reference alone."""
    defaults = {f.name: f.default for f in attrs.fields(type(options)) if f.name in spec.of_one_reference}
    return attrs.evolve(options, **defaults)


View = Mapping[SampleKey, "tuple[Departure | None, Departure | None] | None"]
"""What one side's engine says of both texts of each sample; ``None`` where it cannot tell."""


def _told(
    config: Config,
    recipe: Recipe,
    run: Run,
    differing: Sequence[tuple[SampleKey, tuple[str, str]]],
    plugins: Plugins,
) -> View:
    """Asks a side's engine where the texts leave what it writes."""
    requests = dict(_requests(run, {key for key, _ in differing}))
    alone = attrs.evolve(config, devices=attrs.evolve(config.devices, replicas=1))
    engine: Any = create_model_loader(alone, recipe, plugins=plugins).load()
    try:
        if not isinstance(engine, FindsDepartures):
            return {key: None for key, _ in differing}
        found = {key: engine.departures(*requests[key], texts) for key, texts in differing}
        return {key: None if told is None else (told[0], told[1]) for key, told in found.items()}
    finally:
        if isinstance(engine, Closes):
            engine.close()


def _difference(
    key: SampleKey,
    texts: tuple[str, str],
    views: Sequence[tuple[Departure | None, Departure | None] | None],
    *,
    sampled: bool,
) -> Difference:
    """Each text as the other side's engine sees it. views: one engine's, or those of both sides."""
    character = next((i for i, (x, y) in enumerate(zip(*texts, strict=False)) if x != y), min(map(len, texts)))
    written = (texts[0][character:][:SHOWN], texts[1][character:][:SHOWN])
    blind = None in views
    if sampled and blind:  # of two engines that draw by different noise neither can judge the other's text
        views = [None] * len(views)
    by_side = dict(zip("ab"[2 - len(views) :], views, strict=True))
    told: list[Departure | None] = [None, None]
    asked = ["", ""]
    for index, order in enumerate(("ba", "ab")):
        side = next((s for s in order if by_side.get(s) is not None), "")
        if view := by_side.get(side):
            told[index], asked[index] = view[index], side
            if told[index] is None and side != "ab"[index]:
                # A server whose scores move may write the other side's text now: where its own of before parts from that.
                told[index] = view[1 - index]
    return Difference(
        key=key, character=character, written=written, a=told[0], b=told[1], asked=(asked[0], asked[1]), blind=blind
    )


def _notes(found: Sequence[Difference], views: Sequence[View], *, drafted: bool, sampled: bool) -> Iterator[str]:
    if not drafted:
        yield NOTHING_DRAFTED
    if sampled:
        return
    blind = [side for side, view in zip("ab"[2 - len(views) :], views, strict=True) if None in view.values()]
    if blind:
        yield (
            f"no margin is known of {' and '.join(blind)}: its engine gives no scores of its tokens, or none that fit its text"
        )
    if any(d.near_tie is None and d.in_a_coarse_format and (d.a or d.b) for d in found):
        yield (
            f"what {' and '.join(blind)} computes in is not known: margins that are too large for rounding here, and would be "
            "near ties in bfloat16, count as not explained"
        )


def _requests(run: Run, keys: set[SampleKey]) -> Iterator[tuple[SampleKey, tuple[GenerationRequest, Sampling]]]:
    """The requests of these samples as they were made, from what the run folder keeps of them."""
    for evaluator in run.evaluators:
        prompts = run.prompts(evaluator)
        made: Mapping[str, Any] = run.keys["generation"][evaluator]
        names = {field.name for field in attrs.fields(Sampling)}
        sampling = Sampling(**{name: value for name, value in made.items() if name in names})
        for key in sorted(k for k in keys if k.evaluator == evaluator):
            prompt = prompts[key.problem]
            request = GenerationRequest(
                key=key,
                prompt=prompt if isinstance(prompt, str) else None,
                messages=None if isinstance(prompt, str) else tuple(prompt),
                template_args=made.get("setting template_args") or {},
                stop=tuple(made.get("stop", ())),
                max_new_tokens=sampling.max_new_tokens,
            )
            yield key, (request, sampling)
