"""What goes into an engine and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, TypedDict, runtime_checkable

import attrs

FinishReason = Literal["stop", "length", "error"]


class Message(TypedDict):
    """One turn of a chat, for models with a chat template."""

    role: Literal["system", "user", "assistant"]
    content: str


@attrs.frozen
class Sampling:
    """How tokens are drawn. `n` samples a problem; temperature 0 is greedy; `seed` keys the position-wise noise."""

    temperature: float = 0.0
    top_p: float = 1.0
    n: int = 1
    max_new_tokens: int = 512
    seed: int = 0


@attrs.frozen(kw_only=True)
class GenerationRequest:
    """One completion that is wanted. (evaluator, problem, index) names it and keys its noise.

    Exactly one of `prompt` and `messages` is given. `stop` strings end a completion and are not part of its text.
    `reference` is the problem's reference solution as the benchmark wants it answered, for the ``reference:`` replay.
    `ordinal` is the problem's place in its split: stored samples may be a list per problem, without names.
    """

    evaluator: str
    problem: str
    index: int
    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 512
    reference: str | None = None
    ordinal: int = 0


@attrs.frozen(kw_only=True)
class Completion:
    """One answer. `tokens` counts what was generated, `seconds` is the wall time it took part in.

    ``finish_reason`` is ``"stop"`` (end of sequence or a stop string), ``"length"`` (budget used up) or ``"error"``
    (the engine failed on this request: `error` says how; nothing is stored as a sample).
    """

    evaluator: str
    problem: str
    index: int
    text: str
    finish_reason: FinishReason
    tokens: int
    seconds: float
    error: str = ""


@attrs.frozen(kw_only=True)
class GenerationStats:
    """Totals over one engine's life.

    forwards counts forwards of the model; rows counts rows over all forwards, so ``tokens / rows`` is the tokens that a
    row gets from a forward: 1 without speculation. ``accepted[i]`` of ``drafted[i]`` drafts of extra head i+1 were right.
    notes: what people must know to read these figures, one line each.
    """

    tokens: int = 0
    forwards: int = 0
    rows: int = 0
    seconds: float = 0.0
    drafted: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class HeadScores:
    """How the heads of a model predict a known text; entry 0 of each is the next-token head.

    loss    sum of −log p over its tokens, in nats. right: of how many the likeliest token was the text's. tokens: how many
            were scored.
    """

    loss: tuple[float, ...]
    right: tuple[int, ...]
    tokens: tuple[int, ...]


@runtime_checkable
class Engine(Protocol):
    """Turns requests into completions. `identity` goes into keys and results: id, revision, variant, weights, dtype.

    An engine may also have `stats` (`GenerationStats`), `origin` (where the model came from), `head_scores(prompt, text)`
    (`HeadScores` of the text behind the prompt) and `close()`; all are looked for, none is required.
    """

    identity: Mapping[str, str]

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        """Yields each completion as it finishes, in any order. Pulls from `requests` as it has room."""
        ...
