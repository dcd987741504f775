"""Where a text leaves what a server writes, by the scores (logprobs) that it gives with its tokens.

The request is asked again at temperature 0: once alone, and as several copies at once. The first answer says by what margin
each token was written, the copies by how much scores move with what they are computed beside.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

import wmtp
from wmtp.kit import cut_at_stop
from wmtp_openai.requests import Asker, Refused

TOP = 5
"""Tokens that are asked for at each place: as many as every server gives."""
COPIES = 4
FLOAT32 = 2.0**-18
"""Precision of a score near 32 in float32; nobody computes more finely."""
STEPS_OF_A_FORMAT = tuple(2.0**-e for e in range(1, 9))
PARTIAL = "\ufffd"
ENDS = re.compile(r"|<\|?(?:eos|eot|eot_id|im_end|end|endoftext|end_of_text|end_of_turn|/s|return|EOT|eom_id)\|?>")
"""Tokens that end an answer, as servers print them."""


@attrs.frozen
class Scored:
    """A token that a server wrote, and the scores of the likely ones at its place, its own among them."""

    token: str
    scores: Mapping[str, float]

    @property
    def best(self) -> float:
        return max(self.scores.values())

    def margin(self, other: str) -> float:
        """By how much the best score stands above the lower one of this token's and another's."""
        return self.best - min(self.scores[self.token], self.scores[other])


def scored_tokens(logprobs: Any) -> list[Scored] | None:
    """A choice's ``logprobs``, in the form of completions or of chats; ``None`` where there are none that can be read."""
    if not isinstance(logprobs, Mapping):
        return None
    if isinstance(rows := logprobs.get("content"), Sequence):
        found = [_of_a_row(row) for row in rows]
    else:
        names = ("tokens", "token_logprobs", "top_logprobs")
        columns = [column for name in names if isinstance(column := logprobs.get(name), Sequence)]
        if len(columns) < len(names) or len({len(column) for column in columns}) != 1:
            return None
        found = [_scored(*row) for row in zip(*columns, strict=True)]
    return None if not found or None in found else [one for one in found if one is not None]


def _of_a_row(row: Any) -> Scored | None:
    if not isinstance(row, Mapping) or not isinstance(top := row.get("top_logprobs"), Sequence):
        return None
    others = {str(o.get("token")): o.get("logprob") for o in top if isinstance(o, Mapping)}
    return _scored(row.get("token"), row.get("logprob"), others)


def _scored(token: Any, score: Any, others: Any) -> Scored | None:
    if not isinstance(token, str) or not isinstance(others, Mapping):
        return None
    scores = {str(name): value for name, value in {**others, token: score}.items() if _is_number(value)}
    return Scored(token, scores) if token in scores else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


async def find_departures(
    asker: Asker, request: wmtp.GenerationRequest, sampling: wmtp.Sampling, texts: Sequence[str]
) -> list[wmtp.Departure | None] | None:
    """See `wmtp.FindsDepartures`. ``None`` where the server gives no scores, or they are not those of its text."""
    try:
        answer = await asker.scored(request, sampling, TOP)
        text = asker.prompts.without_prefill(request, answer.text)
        if (written := _written(answer.logprobs, text)) is None:
            return None
        found = [Departing(request.stop, text, answer.finish == "length", written).departure(t) for t in texts]
        if not any(found):
            return found
        copies = await asyncio.gather(*(asker.scored(request, sampling, TOP) for _ in range(COPIES)))
    except Refused:
        return None
    texts = [asker.prompts.without_prefill(request, copy.text) for copy in copies]
    beside = [t for copy, text in zip(copies, texts, strict=True) if (t := _written(copy.logprobs, text)) is not None]
    return [d and attrs.evolve(d, rounding=_rounding(written, beside, d)) for d in found]


def _written(logprobs: Any, text: str) -> list[Scored] | None:
    """The tokens of an answer's text: what a server took out before it (thinking) is left out."""
    tokens = scored_tokens(logprobs) or []
    for first in range(len(tokens)):
        if _goes_on(text, "".join(one.token for one in tokens[first:])):
            return tokens[first:]
    return None


def _goes_on(beginning: str, text: str) -> bool:
    """Whether a text begins so. Characters that are spread over several tokens are not known in either."""
    if text.startswith(beginning):
        return True
    first, *others = re.split(f"{PARTIAL}+", beginning)
    places = {len(first)} if text.startswith(first) else set[int]()
    for part in others:  # all places at once: a pattern would try each way of spreading them, which are very many
        reached: set[int] = set()
        for place in sorted(places):
            while place not in reached:
                reached.add(place)
                place += place < len(text) and not text[place].isascii()
        places = {place + len(part) for place in reached if text.startswith(part, place)}
    return bool(places)


@attrs.frozen
class Departing:
    """What a server wrote, to hold texts against.

    Attributes:
        stops: Of the request.
        text: The server's, as it sent it.
        cut_off: It ended at its length.
        tokens: Of the text, and perhaps one that ended it.
    """

    stops: tuple[str, ...]
    text: str
    cut_off: bool
    tokens: Sequence[Scored]

    def departure(self, text: str) -> wmtp.Departure | None:
        """Where `text` leaves it; ``None`` where it does not. Its rounding is yet to be measured."""
        if text == cut_at_stop(self.text, self.stops):
            return None
        found = ""
        for place, one in enumerate(self.tokens):
            before, found = found, found + one.token
            if not self._follows(found, text):
                return self._at(place, before, text)
        if self.cut_off:
            return None
        return wmtp.Departure(position=len(self.tokens), engine="", other="", margin=None, rounding=FLOAT32)

    def _follows(self, found: str, text: str) -> bool:
        if _goes_on(found, text):
            return True
        surplus = found.removeprefix(text) if found.startswith(text) else ""
        return bool(surplus) and any(stop.startswith(surplus) or surplus.startswith(stop) for stop in self.stops)

    def _at(self, place: int, before: str, text: str) -> wmtp.Departure:
        one = self.tokens[place]
        ended = before == text
        others = [
            name
            for name in sorted(one.scores, key=one.scores.__getitem__, reverse=True)
            if name != one.token and (ENDS.fullmatch(name) if ended else name and self._follows(before + name, text))
        ]
        bound = one.best - min(one.scores.values())
        return wmtp.Departure(
            position=place,
            engine=one.token,
            other=others[0] if others else "",
            margin=one.margin(others[0]) if others else bound,
            rounding=FLOAT32,
        )


def _rounding(written: Sequence[Scored], beside: Sequence[Sequence[Scored]], found: wmtp.Departure) -> float:
    """By how much differences of scores move at a place: from copy to copy, and at least a step of the number format.

    A copy that has left before says it where it left: its scores moved by enough for another token.
    """
    if found.position >= len(written):
        return FLOAT32
    moved = [FLOAT32, format_step(written[found.position])]
    for copy in beside:
        pairs = enumerate(zip(written[: found.position], copy, strict=False))
        place = next((i for i, (ours, theirs) in pairs if ours.token != theirs.token), found.position)
        if place < len(copy):
            here, there = written[place].scores, copy[place].scores
            changes = [there[name] - here[name] for name in here if name in there]
            moved.append(max(changes) - min(changes) if changes else 0.0)
    return max(moved)


def format_step(one: Scored) -> float:
    """The step of a coarse number format that all scores of a place lie on; 0 where there is none.

    Servers draw by scores in bfloat16 or float16, whose neighbours near 20 are an eighth apart, and give their logarithms in
    float32: what is the same in all of them falls out of differences.
    """
    gaps = {one.best - score for score in one.scores.values()}
    if len([gap for gap in gaps if gap > FLOAT32]) < 2:
        return 0.0
    fits = [s for s in STEPS_OF_A_FORMAT if all(abs(gap / s - round(gap / s)) * s < 4 * FLOAT32 for gap in gaps)]
    return fits[0] if fits else 0.0
