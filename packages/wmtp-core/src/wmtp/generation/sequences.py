"""Completions that are being written, and what was counted while they were."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import attrs

from wmtp.contracts.engines import Completion, FinishReason, GenerationRequest, GenerationStats, Sampling
from wmtp.generation.noise import row_key
from wmtp.generation.text import Continuation


@attrs.define(kw_only=True)
class Counters:
    """What `GenerationStats` reports, as it is counted."""

    tokens: int = 0
    forwards: int = 0
    rows: int = 0
    seconds: float = 0.0
    drafted: list[int] = attrs.Factory(list)
    accepted: list[int] = attrs.Factory(list)
    notes: list[str] = attrs.Factory(list)

    def stats(self) -> GenerationStats:
        return GenerationStats(
            tokens=self.tokens,
            forwards=self.forwards,
            rows=self.rows,
            seconds=self.seconds,
            drafted=tuple(self.drafted),
            accepted=tuple(self.accepted),
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
    """

    request: GenerationRequest
    noise_key: bytes
    text: Continuation
    budget: int
    started: float
    position: int
    ids: list[int] = attrs.Factory(list)
    pending: list[int] = attrs.Factory(list)
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
                self.finish = "stop"
                break
            self.ids.append(token)
            if watch and self.text.stopped(self.ids):
                self.finish = "stop"
                break
            if len(self.ids) >= self.budget:
                self.finish = "length"
                break
        return len(self.ids) - before

    def completion(self) -> Completion:
        """Of a row that is finished."""
        assert self.finish is not None
        return Completion(
            key=self.request.key,
            text=self.text.cut(self.ids),
            finish_reason=self.finish,
            tokens=len(self.ids),
            seconds=time.perf_counter() - self.started,
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


def unfit(request: GenerationRequest, ids: Sequence[int], context: int, rows: int) -> str:
    """Why a model cannot take a prompt; empty where it can. rows: of its embedding."""
    if len(ids) + 1 > context:
        return (
            f"the prompt has {len(ids)} tokens, and the model's context only {context}. Give fewer examples in it, if it has "
            f"any (eval.evaluators.{request.key.evaluator}.shots), or use a model with a longer context."
        )
    if ids and max(ids) >= rows:
        return (
            f"the prompt holds the token id {max(ids)}, and the model has embeddings for ids up to {rows - 1} only: the "
            "tokenizer was given tokens that the model never was."
        )
    return ""


def refusal(request: GenerationRequest, error: str) -> Completion:
    """The ``error`` completion of a prompt that a model cannot take."""
    return Completion(
        key=request.key,
        text="",
        finish_reason="error",
        tokens=0,
        seconds=0.0,
        error=error,
    )
