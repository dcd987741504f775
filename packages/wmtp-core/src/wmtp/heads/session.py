"""What ``wmtp heads`` does with a loaded model: its own answers where they are wanted, measures, the convention check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch

from wmtp.contracts.engines import Completion, SampleKey, Sampling
from wmtp.errors import ConfigError, GenerationError
from wmtp.generation.engine import DecodingEngine
from wmtp.heads.check import ConventionCheck, check_convention
from wmtp.heads.measure import Measured, measure
from wmtp.heads.summary import by_depth, expected_length, scores
from wmtp.heads.texts import GivenText

Json = dict[str, Any]
GIVEN = Sampling(temperature=1.0)
"""How acceptance on given texts is meant: the distributions as they are."""


@attrs.frozen(eq=False)
class HeadReport:
    """Everything that was measured.

    Attributes:
        depth: draft steps that were measured.
        texts: what was measured, one a problem or row.
        skipped: name → why a text was not measured.
        sampling: how target and drafts were drawn. drawn: whether the model wrote the texts.
        check: which convention the modules were trained with, where that was asked for.
    """

    depth: int
    texts: tuple[Measured, ...]
    skipped: dict[str, str]
    sampling: Sampling
    drawn: bool
    check: ConventionCheck | None

    def to_json(self) -> Json:
        return {
            "texts": len(self.texts),
            "skipped": self.skipped,
            "sampled": self.sampling.temperature if self.drawn else None,
            "next_token": {name: share.value for name, share in scores(self.texts, 0).items()},
            "depths": by_depth(self.texts),
            "expected_length": expected_length(self.texts),
            "check": self.check.to_json() if self.check else None,
        }


def report(
    engine: DecodingEngine, given: Sequence[GivenText], *, depth: int | None, sampled: Sampling | None, check: bool
) -> HeadReport:
    """Measures the heads of a model.

    Args:
        engine: with heads that are used.
        given: prompts, and what is to be predicted behind them.
        depth: draft steps; ``None``: as many as the model has heads or modules.
        sampled: measure on what the model itself writes, drawn like this; ``None``: on the texts as they are given.
        check: find out the convention as well.

    Raises:
        ConfigError: `depth` is more than the model can draft; nothing could be measured.
    """
    if depth is not None and depth > engine.max_depth:
        raise ConfigError(f"--depth {depth}: the model drafts at most {engine.max_depth} tokens")
    steps = engine.depth if depth is None else depth
    texts, skipped = _tokens(engine, given, sampled, steps)
    measured: list[Measured] = []
    with torch.inference_mode():
        for ids, start in texts:
            measured.append(measure(engine.known_text(ids, start, steps), sampled or GIVEN, drawn=sampled is not None))
    found = None
    if check and engine.stored_modules is not None:
        found = check_convention(engine.stored_modules.open(), texts, steps)
    return HeadReport(steps, tuple(measured), skipped, sampled or GIVEN, sampled is not None, found)


def _tokens(
    engine: DecodingEngine, given: Sequence[GivenText], sampled: Sampling | None, steps: int
) -> tuple[list[tuple[list[int], int]], dict[str, str]]:
    """(tokens, start) of every text that can be measured, and why the others cannot."""
    skipped: dict[str, str] = {}
    found = []
    written = _written(engine, given, sampled) if sampled else {}
    for one in given:
        if sampled:
            answer = written[one.request.key]
            before = engine.tokens(one.prompt, "")[0]
            ids, start = [*before, *(answer.token_ids or ())], len(before)
            if answer.error:
                skipped[one.name] = answer.error
                continue
        elif one.text is None:
            skipped[one.name] = "it has no reference solution"
            continue
        else:
            ids, start = engine.tokens(one.prompt, one.text)
        if len(ids) > engine.context:
            skipped[one.name] = f"{len(ids)} tokens of prompt and text, for a context of {engine.context}"
        elif len(ids) - max(start, 1) < steps + 2:
            skipped[one.name] = f"{len(ids) - max(start, 1)} tokens: too few to draft {steps} of them"
        else:
            found.append((ids, max(start, 1)))
    if not found:
        why = next(iter(skipped.items()), ("", "there are no texts"))
        raise ConfigError(f"nothing can be measured: {': '.join(part for part in why if part)}")
    return found, skipped


def _written(engine: DecodingEngine, given: Sequence[GivenText], sampling: Sampling) -> dict[SampleKey, Completion]:
    if lacking := [one.name for one in given if not one.prompt]:
        raise ConfigError(f"{lacking[0]}: no prompt, so there is nothing to answer; --sampled needs rows with one")
    try:
        return {c.key: c for c in engine.generate([one.request for one in given], sampling)}
    except GenerationError as error:
        raise GenerationError(f"the model's own answers could not be written: {error}") from error
