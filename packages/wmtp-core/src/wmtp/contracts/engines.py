"""What goes into an engine and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, get_args, runtime_checkable

import attrs

from wmtp.contracts.values import (
    any_text,
    as_tuple,
    at_most,
    instance_of,
    named_values,
    number,
    one_of,
    stop_texts,
    text,
    text_tuple,
    turns,
)

MOST_SAMPLES = 100_000
"""Of a problem. More are a slip of the hand: intervals do not get narrower by them."""
MOST = 2**31 - 1
"""Of tokens, problems, rows."""

FinishReason = Literal["stop", "length", "error", "too-long"]


class Message(TypedDict):
    """One turn of a chat, for models with a chat template."""

    role: Literal["system", "user", "assistant"]
    content: str


@attrs.frozen(kw_only=True, order=True)
class SampleKey:
    """Which sample: the `index`-th, from 0, of a problem, for an evaluator. It keys the noise that the sample is drawn with."""

    evaluator: str = attrs.field(validator=text)
    problem: str = attrs.field(validator=text)
    index: int = attrs.field(validator=number(0, whole=True))


@attrs.frozen(kw_only=True)
class Sampling:
    """How tokens are drawn: ``eval.sampling`` of a recipe, and what an engine receives.

    Attributes:
        temperature: 0 is greedy.
        top_p: Share of the probability that is kept, from the likeliest token down.
        n: Samples a problem, at most 100,000. ``"auto"`` in a recipe is the largest k asked for, or all that are stored; an
            evaluator and an engine see the number.
        max_new_tokens: Tokens after which a completion ends.
        seed: Key of the position-wise noise. ``None`` in a recipe is the seed of config.yaml, and 0 where there is none.
        extra: What one engine knows beyond this (``{"top_k": 20}``). It is part of the key of samples.
    """

    temperature: float = attrs.field(default=0.0, validator=number(0))
    top_p: float = attrs.field(default=1.0, validator=number(0, above=True, high=1))
    n: int | Literal["auto"] = attrs.field(
        default=1, validator=[number(1, whole=True, besides=("auto",)), at_most(MOST_SAMPLES)]
    )
    max_new_tokens: int = attrs.field(default=512, validator=[number(1, whole=True), at_most(MOST)])
    seed: int | None = attrs.field(default=None, validator=number(0, high=2**63 - 1, whole=True, besides=(None,)))
    extra: Mapping[str, Any] = attrs.field(factory=dict, validator=named_values, hash=False)

    @property
    def count(self) -> int:
        """`n` as a number.

        Raises:
            ValueError: It is still ``"auto"``.
        """
        if self.n == "auto":
            raise ValueError("Sampling.n is 'auto': whoever makes the task settles it")
        return self.n

    def form(self) -> dict[str, Any]:
        """What decides the text of a sample, by name; not how many there are. `extra` only where something is in it."""
        parts = {a.name: getattr(self, a.name) for a in attrs.fields(type(self)) if a.name != "n"}
        return parts if self.extra else {k: v for k, v in parts.items() if k != "extra"}


@attrs.frozen(kw_only=True)
class GenerationRequest:
    """One completion that is wanted. Plain data: it travels to other processes and machines.

    Attributes:
        key: Names the sample, and keys its noise.
        prompt: The text to continue, not empty. Never beside `messages`; neither is given where what is asked for was written
            elsewhere, and nobody knows its prompt.
        messages: The turns of a chat, at least one.
        template_args: Arguments of the chat template, for `messages`. Turns that end with the assistant's are gone on from.
        stop: Strings that end a completion and are not part of its text.
        max_new_tokens: Tokens after which it ends.
        reference: The problem's reference solution as the benchmark wants it answered, for engines that replay it.
        ordinal: The problem's position in its split: stored samples may be a list per problem, without names.
    """

    key: SampleKey = attrs.field(validator=instance_of(SampleKey))
    prompt: str | None = attrs.field(default=None, validator=attrs.validators.optional(text))
    messages: tuple[Message, ...] | None = attrs.field(
        default=None, converter=as_tuple, validator=attrs.validators.optional(turns)
    )
    template_args: Mapping[str, Any] = attrs.field(factory=dict, validator=named_values, hash=False)
    stop: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=stop_texts)
    max_new_tokens: int = attrs.field(default=512, validator=number(1, whole=True))
    reference: str | None = attrs.field(default=None, validator=attrs.validators.optional(any_text))
    ordinal: int = attrs.field(default=0, validator=number(0, whole=True))

    def __attrs_post_init__(self) -> None:
        if self.prompt is not None and self.messages is not None:
            raise ValueError("GenerationRequest: give a prompt or messages, not both")


@attrs.frozen(kw_only=True)
class Completion:
    """One answer.

    Attributes:
        key: The request's.
        text: What was written, without the stop string.
        finish_reason: ``"stop"`` (end of sequence or a stop string), ``"length"`` (budget used up) or ``"error"`` (the engine
            failed on this request: `error` says how; nothing is stored as a sample), or ``"too-long"`` (the prompt does not fit
            the model's context, as `error` says; ``eval.too_long`` decides what becomes of it).
        tokens: How many were generated.
        seconds: The wall time it took part in.
        error: What failed.
        token_ids: The tokens, the end token that ended it included, where the engine knows them. They are not stored.
        extra: What the engine has to say beyond this, as plain JSON data. It is stored with the sample.
    """

    key: SampleKey = attrs.field(validator=instance_of(SampleKey))
    text: str = attrs.field(validator=any_text)
    finish_reason: FinishReason = attrs.field(validator=one_of(*get_args(FinishReason)))
    tokens: int = attrs.field(validator=number(0, whole=True))
    seconds: float = attrs.field(validator=number(0))
    error: str = attrs.field(default="", validator=any_text)
    token_ids: tuple[int, ...] | None = attrs.field(default=None, repr=False, eq=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict, validator=named_values, hash=False)


@attrs.frozen(kw_only=True)
class GenerationStats:
    """Totals over one engine's life.

    Drafts are counted when their completion is finished, and only those whose token lies in it: not what was drafted behind
    its end.

    Attributes:
        tokens: Tokens generated.
        forwards: Forwards of the model.
        rows: Rows over all forwards, so ``tokens / rows`` is the tokens that a row gets from a forward: 1 without speculation.
        seconds: Time spent generating.
        drafted: Drafts of each extra head.
        reached: Of these, those whose predecessors in the same step were all right.
        accepted: ``accepted[i]`` of ``drafted[i]`` drafts of extra head i+1 were right.
        histogram: ``histogram[m]`` steps had m right drafts.
        requests: Completions with a step that drafted.
        request_length: Sum over them of the tokens that a step yielded, the bonus token included.
        by_problem: Evaluator and problem → (drafted, accepted), for intervals over problems.
        notes: What people must know to read these figures, one line each.
    """

    tokens: int = 0
    forwards: int = 0
    rows: int = 0
    seconds: float = 0.0
    drafted: tuple[int, ...] = attrs.field(default=(), converter=as_tuple)
    accepted: tuple[int, ...] = attrs.field(default=(), converter=as_tuple)
    reached: tuple[int, ...] = attrs.field(default=(), converter=as_tuple)
    histogram: tuple[int, ...] = attrs.field(default=(), converter=as_tuple)
    requests: int = 0
    request_length: float = 0.0
    by_problem: Mapping[str, Sequence[Sequence[int]]] = attrs.field(factory=dict, hash=False)
    notes: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, validator=text_tuple)


@attrs.frozen(kw_only=True)
class HeadScores:
    """How the heads of a model predict a known text; entry 0 of each is the next-token head.

    Attributes:
        loss: Sum of −log p over its tokens, in nats.
        right: Of how many tokens the likeliest was the text's.
        scored: How many tokens it scored: head i has nowhere to look from for the first i of a text without a prompt.
    """

    loss: tuple[float, ...]
    right: tuple[int, ...]
    scored: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """How many tokens of the text were scored, by the next-token head."""
        return self.scored[0]


NEAR_TIE = 4.0
"""Times the rounding at a place: a margin below it may have come out the other way in a computation of another shape."""


@attrs.frozen(kw_only=True)
class Departure:
    """Where a text leaves what an engine writes for the same request.

    Attributes:
        position: Tokens of the completion before it.
        engine: The token that the engine writes there, as text.
        other: The text's own; ``""`` where it is none of the likely ones.
        margin: By how much the score that the engine draws by stands above the other's, and at least by how much where
            `other` is none of the likely ones; ``None`` where it cannot be told.
        rounding: By how much scores at that place move with the shape of the computation, in the same unit.
        scale: The largest score there, without its sign; ``None`` where only differences of scores are known.
    """

    position: int
    engine: str
    other: str
    margin: float | None
    rounding: float
    scale: float | None = None

    @property
    def near_tie(self) -> bool | None:
        """Whether rounding can have made the difference; ``None`` where the margin is not known."""
        return self.near_tie_within(self.rounding)

    def near_tie_within(self, rounding: float) -> bool | None:
        """The same where scores move by `rounding`."""
        if self.margin is None:
            return None
        if self.margin > NEAR_TIE * rounding:
            return False
        return True if self.other else None


@runtime_checkable
class Engine(Protocol):
    """Turns requests into completions. `identity` goes into keys and results: revision, variant, weights, dtype.

    What else an engine can do is said by the protocols below; core asks for each with ``isinstance`` and needs none of them.
    """

    identity: Mapping[str, str]

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        """Yields each completion as it finishes, in any order. Pulls from `requests` as it has room."""
        ...


@runtime_checkable
class HasStats(Protocol):
    """An engine that counts what it does."""

    @property
    def stats(self) -> GenerationStats:
        """Totals since the engine was made."""
        ...


@runtime_checkable
class HasOrigin(Protocol):
    """An engine that says where its model came from (id, revision, variant), for the record: it decides nothing."""

    origin: Mapping[str, str]


@runtime_checkable
class KnowsInvariance(Protocol):
    """An engine that knows whether its samples depend on what they are computed beside."""

    @property
    def batch_invariant(self) -> bool:
        """True where any batch size and any order give the same samples."""
        ...


@runtime_checkable
class ScoresHeads(Protocol):
    """An engine that predicts known texts, with each of its heads."""

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        """`HeadScores` of the text behind the prompt. Raises GenerationError where the two do not fit the context."""
        ...


@runtime_checkable
class FindsDepartures(Protocol):
    """An engine that can say where a text leaves what it writes itself."""

    def departures(
        self, request: GenerationRequest, sampling: Sampling, texts: Sequence[str]
    ) -> Sequence[Departure | None] | None:
        """One for each of `texts`, ``None`` for a text that the engine writes itself; ``None`` in place of all where it cannot
        tell: it gives no scores of its tokens, or draws by a noise that it does not know."""
        ...


@runtime_checkable
class Replays(Protocol):
    """An engine whose completions are written already: how many there are is not ours to choose."""

    def available(self, problems: Sequence[str], *, whole: bool) -> Mapping[str, int]:
        """How many samples there are of each of `problems`, the split's in order; `whole`: they are all of it."""
        ...


@runtime_checkable
class Refreshes(Protocol):
    """An engine of something that the program which made it may change between two runs: a model in memory."""

    def refresh(self) -> None:
        """Look again at what decides samples, and count anew. Called before each run that is given the engine."""
        ...


@runtime_checkable
class Closes(Protocol):
    """An engine that holds something: it is closed when the run ends, however it ends."""

    def close(self) -> None: ...
