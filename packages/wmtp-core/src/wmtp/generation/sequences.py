"""Completions that are being written, and what was counted while they were."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import attrs

from wmtp.contracts.engines import Completion, FinishReason, GenerationRequest, GenerationStats, Sampling
from wmtp.generation.noise import row_key
from wmtp.generation.text import Continuation

HEAD_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@attrs.define(kw_only=True)
class Counters:
    """What `GenerationStats` reports, as it is counted."""

    tokens: int = 0
    forwards: int = 0
    rows: int = 0
    seconds: float = 0.0
    drafted: list[int] = attrs.Factory(list)
    reached: list[int] = attrs.Factory(list)
    accepted: list[int] = attrs.Factory(list)
    histogram: list[int] = attrs.Factory(list)
    requests: int = 0
    request_length: float = 0.0
    by_problem: dict[str, tuple[list[int], list[int]]] = attrs.Factory(dict)
    notes: list[str] = attrs.Factory(list)

    def draft(self, depth: int) -> None:
        """Makes room for the counts of `depth` drafts a step."""
        for counts in (self.drafted, self.reached, self.accepted):
            counts[:] = [0] * depth
        self.histogram = [0] * (depth + 1 if depth else 0)

    def finished(self, row: ActiveSequence) -> None:
        """Counts the drafts of a row that has ended, as far as their tokens lie in its text."""
        length = len(row.ids) + (row.end is not None)
        steps = accepted = 0
        key = row.request.key
        none = [0] * len(self.drafted)
        of_problem = self.by_problem.setdefault(f"{key.evaluator} {key.problem}", (none, list(none)))
        for anchor, right in row.steps:
            fit = min(len(self.drafted), length - 1 - anchor)
            if fit <= 0:
                continue
            right = min(right, fit)
            for depth in range(fit):
                self.drafted[depth] += 1
                of_problem[0][depth] += 1
                self.reached[depth] += depth <= right
                self.accepted[depth] += depth < right
                of_problem[1][depth] += depth < right
            self.histogram[right] += 1
            steps, accepted = steps + 1, accepted + right
        if steps:
            self.requests += 1
            self.request_length += 1 + accepted / steps

    def stats(self) -> GenerationStats:
        return GenerationStats(
            tokens=self.tokens,
            forwards=self.forwards,
            rows=self.rows,
            seconds=self.seconds,
            drafted=tuple(self.drafted),
            reached=tuple(self.reached),
            accepted=tuple(self.accepted),
            histogram=tuple(self.histogram),
            requests=self.requests,
            request_length=self.request_length,
            by_problem={problem: (tuple(d), tuple(a)) for problem, (d, a) in self.by_problem.items()},
            notes=tuple(self.notes),
        )


@attrs.define(eq=False)
class ActiveSequence:
    """One completion being written.

    Attributes:
        noise_key: keys the noise of all its positions.
        budget: tokens it may have.
        position: where its next input token goes, counted from the prompt's first.
        ids: the tokens written so far.
        pending: the last token and the drafts behind it: the next input.
        steps: of every step that drafted: where its last certain token stands in `ids`, and how many drafts were right.
        end: the end token that ended it.
        heads: who wrote each token, where the model drafts: see `note_heads`.
    """

    request: GenerationRequest
    noise_key: bytes
    text: Continuation
    budget: int
    started: float
    position: int
    ids: list[int] = attrs.Factory(list)
    pending: list[int] = attrs.Factory(list)
    steps: list[tuple[int, int]] = attrs.Factory(list)
    end: int | None = None
    heads: str = ""
    finish: FinishReason | None = None

    def append_tokens(self, tokens: Sequence[int], eos_ids: Collection[int]) -> int:
        """Appends tokens one by one, so that a row ends at the same token whatever block it came in.

        Returns:
            How many were kept.
        """
        before = len(self.ids)
        # One look at the block spares a look at each token.
        watch = self.text.may_stop([*self.ids, *tokens], len(tokens))
        for token in tokens:
            if token in eos_ids:
                self.finish, self.end = "stop", token
                break
            self.ids.append(token)
            if watch and self.text.stopped(self.ids):
                self.finish = "stop"
                break
            if len(self.ids) >= self.budget:
                self.finish = "length"
                break
        return len(self.ids) - before

    def note_heads(self, count: int, drafts: int) -> None:
        """Note who wrote the `count` tokens of a step, as far as they were kept.

        A character a token: ``1`` to ``9``, ``a`` … for an accepted draft of that extra head; of the model's own tokens, ``-``
        where a draft in its place was wrong, and ``0`` where there was none.
        """
        own = "-" if count <= drafts else "0"
        self.heads = (self.heads + HEAD_LETTERS[1:count] + own)[: len(self.ids)]

    def completion(self) -> Completion:
        """Of a row that is finished."""
        assert self.finish is not None
        drafts = {"heads": self.heads, "characters": self.text.characters(self.ids)} if self.heads else None
        return Completion(
            key=self.request.key,
            text=self.text.cut(self.ids),
            finish_reason=self.finish,
            tokens=len(self.ids),
            seconds=time.perf_counter() - self.started,
            token_ids=(*self.ids, *(() if self.end is None else (self.end,))),
            extra={"drafts": drafts} if drafts else {},
        )


def new_sequence(
    request: GenerationRequest, ids: Sequence[int], tokenizer: Any, context: int, sampling: Sampling
) -> ActiveSequence:
    """A row for a request whose prompt has these ids."""
    return ActiveSequence(
        request,
        row_key(sampling.seed or 0, request.key.evaluator, request.key.problem, request.key.index),
        Continuation(tokenizer, ids, request.stop),
        min(request.max_new_tokens, context - len(ids)),
        time.perf_counter(),
        len(ids),
    )


def refusal(request: GenerationRequest, ids: Sequence[int], context: int, rows: int) -> Completion | None:
    """The completion of a prompt that a model cannot take, too long or in error; ``None`` where it can. rows: of its
    embedding."""
    reason: FinishReason
    if not ids:
        reason, error = "error", "the prompt is empty, and the tokenizer has no token that a text begins with"
    elif len(ids) + 1 > context:
        reason, error = "too-long", f"the prompt has {len(ids)} tokens, and the model's context only {context}"
    elif max(ids) >= rows:
        reason, error = (
            "error",
            (
                f"the prompt holds the token id {max(ids)}, and the model has embeddings for ids up to {rows - 1} only: the "
                "tokenizer was given tokens that the model never was."
            ),
        )
    else:
        return None
    return Completion(
        key=request.key,
        text="",
        finish_reason=reason,
        tokens=0,
        seconds=0.0,
        error=error,
    )
