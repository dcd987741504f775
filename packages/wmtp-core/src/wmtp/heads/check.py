"""Which convention a checkpoint's sequential modules were trained with, if they were trained at all.

Every way to feed the modules is scored teacher-forced on the same texts, beside controls that no trained module may lose to:
its outputs held against the token one place further on; modules whose weights are shuffled within every matrix; and the
frequencies of tokens in the other texts. Each control takes its best convention as well, so that choosing is no advantage.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.architectures import Convention
from wmtp.heads.shuffled import shuffled_copy
from wmtp.models.architectures.module import SequentialModules
from wmtp.statistics.shares import Share

SHUFFLES = 2
LEAST_GAIN = 0.1  # nats a token that trained modules are better than every control

Json = dict[str, Any]
Text = tuple[Sequence[int], int]
"""Tokens, and where the text begins in them."""


@attrs.frozen(eq=False)
class Variant:
    """A convention and what it scored: by problem, loss in nats a token and share of first choices, means over depths."""

    convention: Convention
    loss: tuple[float, ...]
    top1: tuple[float, ...]

    def to_json(self) -> Json:
        loss, top1 = _mean(self.loss), _mean(self.top1).within(0, 1)
        return {
            **attrs.asdict(self.convention),
            "loss": loss.value,
            "top1": top1.value,
            "intervals": {"loss": loss.interval, "top1": top1.interval},
        }


@attrs.frozen(eq=False)
class ConventionCheck:
    """What was found.

    Attributes:
        variants: every convention, best first.
        controls: name → loss by problem.
        family: the convention of the family's record. engines: what serving engines do, where that is disputed.
    """

    variants: tuple[Variant, ...]
    controls: Mapping[str, tuple[float, ...]]
    family: Convention
    engines: str

    @property
    def best(self) -> Variant:
        return self.variants[0]

    def gains(self) -> dict[str, Share]:
        """By how much the best convention's loss is below each control's, in nats a token."""
        return {name: _difference(loss, self.best.loss) for name, loss in self.controls.items()}

    @property
    def trained(self) -> bool:
        return all(
            gain.low is not None and gain.low > 0 and (gain.value or 0) >= LEAST_GAIN for gain in self.gains().values()
        )

    def open_points(self) -> dict[str, Share]:
        """By how much the best loss rises where one point of the convention is another, the rest as is best then."""
        found = {}
        for field in attrs.fields(Convention):
            mine = getattr(self.best.convention, field.name)
            others = [v for v in self.variants if getattr(v.convention, field.name) != mine]
            if others:
                found[field.name] = _difference(others[0].loss, self.best.loss)
        return found

    @property
    def margin(self) -> Share:
        """To the best variant with another order or another norm: the points that a module cannot be right without."""
        return min(
            (share for name, share in self.open_points().items() if name in ("concat", "hidden")),
            key=lambda s: s.value or 0.0,
        )

    def says(self) -> str:
        """One line."""
        if not self.trained:
            name, gain = min(self.gains().items(), key=lambda item: item[1].value or 0.0)
            return f"not trained: the best convention gains {_shown(gain)} nats a token on the control: {name}"
        undecided = [name for name, share in self.open_points().items() if share.low is None or share.low <= 0]
        rest = f"; these texts do not settle {', '.join(undecided)}" if undecided else ""
        agrees = all(
            getattr(self.family, n) == getattr(self.best.convention, n)
            for n in self.open_points()
            if n not in undecided
        )
        told = "as the family's record has it" if agrees else f"NOT as the family's record has it ({self.family})"
        return f"trained with {self.best.convention}, {told}; margin {_shown(self.margin)} nats a token{rest}"

    def to_json(self) -> Json:
        return {
            "trained": self.trained,
            "winner": attrs.asdict(self.best.convention) if self.trained else None,
            "says": self.says(),
            "margin": _json(self.margin),
            "points": {name: _json(share) for name, share in self.open_points().items()},
            "variants": [variant.to_json() for variant in self.variants],
            "controls": {
                name: {**_json(_mean(self.controls[name])), "gain": _json(gain)} for name, gain in self.gains().items()
            },
            "family": attrs.asdict(self.family),
            "engines": self.engines,
        }


def conventions(steps: int) -> list[Convention]:
    """All of them; what modules hand on is open only where there is a second step."""
    chains = ("post", "pre") if steps > 1 else ("post",)
    return [
        Convention(concat=concat, hidden=hidden, chain=chain, zero_first=zeroed)  # type: ignore[arg-type]
        for concat, hidden, chain, zeroed in itertools.product(("eh", "he"), ("post", "pre"), chains, (False, True))
    ]


def check_convention(modules: SequentialModules, texts: Sequence[Text], steps: int) -> ConventionCheck:
    """Scores all conventions on some texts. Modules are left as they were.

    Args:
        texts: each with more than `steps` + 1 tokens to predict. steps: draft steps, at least 1.
    """
    candidates = [modules, *(shuffled_copy(modules, seed) for seed in range(SHUFFLES))]
    ways = conventions(steps)
    own: dict[Convention, list[tuple[float, float]]] = {way: [] for way in ways}
    shifted: dict[Convention, list[float]] = {way: [] for way in ways}
    other: list[dict[Convention, list[float]]] = [{way: [] for way in ways} for _ in range(SHUFFLES)]
    with torch.inference_mode():
        for ids, start in texts:
            for number, way, found in _scored(candidates, ways, ids, start, steps):
                if number == 0:
                    own[way].append((found[0], found[1]))
                    shifted[way].append(found[2])
                else:
                    other[number - 1][way].append(found[0])
    variants = [Variant(way, *(tuple(v) for v in zip(*scores, strict=True))) for way, scores in own.items()]
    best_of = [min(losses.values(), key=math.fsum) for losses in (shifted, *other)]
    names = ["targets one place further on", *(f"shuffled weights {number}" for number in range(1, SHUFFLES + 1))]
    controls = {name: tuple(losses) for name, losses in zip(names, best_of, strict=True)}
    if len(texts) > 1:
        controls["frequencies of tokens"] = _frequencies(texts, int(modules.trunk.config.vocab_size))
    return ConventionCheck(
        tuple(sorted(variants, key=lambda v: math.fsum(v.loss))),
        controls,
        modules.spec.convention,
        modules.spec.engines,
    )


def _scored(
    candidates: Sequence[SequentialModules], ways: Sequence[Convention], ids: Sequence[int], start: int, steps: int
) -> Iterator[tuple[int, Convention, tuple[float, float, float]]]:
    """(candidate, convention, (loss, top1, loss of shifted targets)), over one forward of the trunk."""
    device = next(candidates[0].trunk.model.parameters()).device
    tokens = torch.tensor([list(ids)], device=device)
    states = candidates[0].trunk.run(input_ids=tokens, use_cache=False)
    for number, modules in enumerate(candidates):
        kept = modules.convention
        try:
            for way in ways:
                modules.convention = way
                whole = modules.all_states(tokens, modules.first_hidden(*states), steps)
                found = [_score(modules, step, state[0], tokens[0], start) for step, state in enumerate(whole)]
                yield number, way, tuple(math.fsum(f[i] for f in found) / steps for i in range(3))  # type: ignore[misc]
        finally:
            modules.convention = kept


def _score(
    modules: SequentialModules, step: int, states: Tensor, ids: Tensor, start: int
) -> tuple[float, float, float]:
    """Step d at position p predicts token p + 2 + d. The last token is left out, so that the shifted targets are as many."""
    first = max(start, step + 2)
    logits = modules.project(step, states[first - 2 - step : len(ids) - 3 - step]).float()
    targets, further = ids[first:-1], ids[first + 1 :]
    loss = torch.nn.functional.cross_entropy
    return (
        float(loss(logits, targets)), float((logits.argmax(-1) == targets).float().mean()), float(loss(logits, further)),
    )  # fmt: skip


def _frequencies(texts: Sequence[Text], vocabulary: int) -> tuple[float, ...]:
    """Loss of every text's tokens under the frequencies in the others, each count one higher."""
    counts = [Counter(ids[start:-1]) for ids, start in texts]
    total: Counter[int] = Counter()
    for count in counts:
        total.update(count)
    losses = []
    for count in counts:
        size, rest = sum(count.values()), sum(total.values()) - sum(count.values())
        nats = (n * math.log((total[t] - n + 1) / (rest + vocabulary)) for t, n in count.items())
        losses.append(-math.fsum(nats) / size)
    return tuple(losses)


def _difference(higher: Sequence[float], lower: Sequence[float]) -> Share:
    return Share.of([(a - b, 1.0) for a, b in zip(higher, lower, strict=True)])


def _mean(values: Sequence[float]) -> Share:
    return Share.of([(value, 1.0) for value in values])


def _json(share: Share) -> Json:
    return {"value": share.value, "low": share.low, "high": share.high}


def _shown(share: Share) -> str:
    span = "" if share.low is None or share.high is None else f" ({share.low:.3f} to {share.high:.3f})"
    return f"{share.value or 0.0:.3f}{span}"
