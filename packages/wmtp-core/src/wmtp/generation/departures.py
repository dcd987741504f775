"""Where a text leaves what the model writes, and whether rounding can have done it.

The model's text is found without the decoder: whole forwards, without a cache, without drafts, one row. What is known of the
text saves most of them: the tokens it would have are run at once, and those that the model does not draw are put right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import Departure, GenerationRequest, Sampling
from wmtp.contracts.models import TargetModel
from wmtp.generation.noise import gumbel, row_key
from wmtp.generation.sampling import GREEDY_BELOW, nucleus, sample_tokens
from wmtp.generation.text import Continuation

CANDIDATES = 512
"""Tokens, from the one with the highest score down, among which the text's own is looked for."""
AT_ONCE = 64
"""Positions that are drawn at once: a large vocabulary's noise is large."""
BYTES_OF_A_CHARACTER = 4
PARTIAL = "\ufffd"


@attrs.define(kw_only=True)
class Tracer:
    """Follows the model through one request.

    Attributes:
        prompt: Ids of the prompt.
        written: Ids that the model has written so far.
        budget: How many it may write.
    """

    target: TargetModel
    tokenizer: Any
    device: torch.device
    ends: Collection[int]
    request: GenerationRequest
    sampling: Sampling
    prompt: list[int]
    budget: int
    written: list[int] = attrs.field(factory=list)
    _noise_key: bytes = attrs.field(init=False)
    _text: Continuation = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._noise_key = row_key(
            self.sampling.seed or 0, self.request.key.evaluator, self.request.key.problem, self.request.key.index
        )
        self._text = Continuation(self.tokenizer, self.prompt, self.request.stop)

    def departure(self, text: str) -> Departure | None:
        """Where `text` leaves what the model writes; ``None`` where it is what the model writes."""
        while len(self.written) < self.budget:
            for token in self._drawn(text):
                if token in self.ends:
                    return self._at(text, len(self.written), token) if self._rest(text) else None
                self.written.append(token)
                found = self._text.text(self.written)
                if any(stop in found for stop in self.request.stop):
                    cut = self._text.cut(self.written)
                    return None if cut == text else self._left(text)
                if not self._follows(found, text):
                    return self._left(text)
                if len(self.written) == self.budget:
                    break
        return None

    def _rest(self, text: str) -> bool:
        return self._text.text(self.written).rstrip(PARTIAL) != text.rstrip(PARTIAL)

    def _follows(self, found: str, text: str) -> bool:
        """Whether a beginning is the text's; a text that ended at a stop string may have a part of that behind it."""
        found = found.rstrip(PARTIAL)
        if text.startswith(found):
            return True
        surplus = found.removeprefix(text) if found.startswith(text) else ""
        return bool(surplus) and any(stop.startswith(surplus) for stop in self.request.stop)

    def _drawn(self, text: str) -> list[int]:
        """The tokens that the model draws next: as long as it draws the text's own, and one more."""
        there = self._text.text(self.written)
        rest = text[len(there) :] if text.startswith(there) else ""
        guess = list(self.tokenizer(rest, add_special_tokens=False)["input_ids"]) if rest else []
        guess = guess[: self.budget - len(self.written) - 1]
        logits = self._logits([*self.prompt, *self.written, *guess], len(guess) + 1)
        drawn: list[int] = []
        for first in range(0, len(logits), AT_ONCE):
            some = logits[first : first + AT_ONCE]
            keys = [(self._noise_key, len(self.written) + first + i) for i in range(len(some))]
            drawn += sample_tokens(some, self.sampling, keys).tolist()
        right = next((i for i, (a, b) in enumerate(zip(drawn, guess, strict=False)) if a != b), len(guess))
        return drawn[: right + 1]

    def _logits(self, ids: Sequence[int], last: int, rows: int = 1) -> Tensor:
        """Logits behind the last positions of a text, [last, vocabulary]. rows: beside how many copies of itself."""
        _, states = self.target.all_states(torch.tensor([list(ids)] * rows, device=self.device))
        logits: Tensor = self.target.project(states[0, -last:])
        return logits

    def _left(self, text: str) -> Departure:
        """The last token written is not the text's. Where a character is spread over tokens, an earlier one may be the first:
        the one with the smallest margin is taken, so that no near tie is called a fault."""
        places = [len(self.written) - 1]
        while len(places) < BYTES_OF_A_CHARACTER and places[-1] > 0:
            if not self._text.text(self.written[: places[-1]]).endswith(PARTIAL):
                break
            places.append(places[-1] - 1)
        found = [self._at(text, place, self.written[place]) for place in places]
        return min(found, key=lambda d: d.margin if d.margin is not None else float("inf"))

    def _at(self, text: str, place: int, token: int) -> Departure:
        ids = [*self.prompt, *self.written[:place]]
        logits = self._logits(ids, 1)
        beside = self._logits(ids, 1, rows=3)
        largest = float(logits.abs().max())
        moved = max(float((logits.float() - beside.float()).abs().max()), torch.finfo(logits.dtype).eps * largest)
        scores, margins = self._scores(logits.float(), place, token)
        other = self._others(text, place, token, scores)
        unit = self.sampling.temperature if self.sampling.temperature >= GREEDY_BELOW else 1.0
        least = torch.topk(scores, min(CANDIDATES, len(scores))).values[-1]
        return Departure(
            position=place,
            engine=self._shown(token),
            other="" if other is None else self._shown(other),
            margin=float(scores[token] - least if other is None else margins[other]),
            rounding=moved / unit,
            scale=largest / unit,
        )

    def _scores(self, logits: Tensor, place: int, token: int) -> tuple[Tensor, Tensor]:
        """What the draw ranks tokens by, and by how much each token is behind the one drawn: [vocabulary] both."""
        if self.sampling.temperature < GREEDY_BELOW:
            scores = logits[0]
            return scores, scores[token] - scores
        raw = logits / self.sampling.temperature
        scores = (raw + gumbel([(self._noise_key, place)], raw.shape[-1], raw.device))[0]
        margins = (scores[token] - scores).clamp(min=0)
        if self.sampling.top_p < 1:
            kept = nucleus(raw, self.sampling.top_p)[0]
            border, outside = raw[0][kept].min(), raw[0].masked_fill(kept, float("-inf")).max()
            margins = torch.where(kept, margins, torch.maximum(margins, border - raw[0]))
            if raw[0, token] == border:  # a little less, and it would not have been in the nucleus itself
                margins = margins.clamp(max=float(border - outside))
        return scores, margins

    def _others(self, text: str, place: int, token: int, scores: Tensor) -> int | None:
        """The text's own token there: of those that it can go on with, the one with the highest score."""
        before = self.written[:place]
        there = self._text.text(before).rstrip(PARTIAL)
        if there == text.rstrip(PARTIAL):
            ends = [end for end in self.ends if end != token]
            return max(ends, key=lambda end: float(scores[end]), default=None)
        for other in torch.topk(scores, min(CANDIDATES, len(scores))).indices.tolist():
            if other == token or other in self.ends:
                continue
            found = self._text.text([*before, other])
            if found.rstrip(PARTIAL) != there and self._follows(found, text):
                return int(other)
            if found.endswith(PARTIAL) and found.rstrip(PARTIAL) == there and text[len(there) :][:1] > "\x7f":
                return int(other)
        return None

    def _shown(self, token: int) -> str:
        return str(self.tokenizer.decode([token]))
