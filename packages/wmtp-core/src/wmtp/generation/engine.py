"""The decoder: continuous batching over fixed slots, speculative where the model has extra heads, lossless always.

One forward a step runs over [last token, drafts] of every row. It verifies the drafts, writes every head's keys and values,
and drafts again. Draft and target are drawn under the same position-keyed noise, and a draft is accepted while the two
are equal, so the text is token for token what decoding without drafts writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import (
    Completion,
    GenerationRequest,
    GenerationStats,
    HeadScores,
    Message,
    SampleKey,
    Sampling,
)
from wmtp.errors import GenerationError
from wmtp.generation.cache import ROUND, RaggedCache
from wmtp.generation.forward import Forward, forward_for
from wmtp.generation.likelihood import head_scores
from wmtp.generation.memory import available_bytes
from wmtp.generation.noise import row_key
from wmtp.generation.queue import Queue
from wmtp.generation.sampler import draw
from wmtp.generation.slots import Row, Slots
from wmtp.generation.text import Continuation, encoded
from wmtp.generation.thin import large_layers, read_once

log = logging.getLogger(__name__)

ENGINE_VERSION = "2"
"""Part of generation_key. It rises when a sample could come out differently."""

MEMORY_SHARE = 0.5  # of what is free, for the slots' keys and values
FIRST_WEIGHING = 32  # forwards before drafting is weighed against plain decoding
DRAFTING_LOSES = (
    1.1  # times the tokens of a forward: what it may cost more than a plain one before drafting is given up
)
MOST_ROWS = {"cpu": 32, "cuda": 256}


@attrs.define(eq=False)
class _Prompt:
    """A prompt that has been run through the model once, for all of its samples."""

    ids: list[int]
    cache: RaggedCache
    states: Tensor  # [heads, 1, 1, …] of the last position


class DecodingEngine:
    """Decodes any full-attention decoder of transformers; with `wmtp.models.mtp_llama` models, several tokens a forward.

    identity     what decides samples: the weights, not where they lay. origin: where that was, for the record.
    n_heads      heads to draft with, the next-token head included (``None``: all). speculative: ``auto`` or ``off``.
    batch_size   slots; ``None``: planned from free memory when the first prompt shows what a position costs.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        identity: Mapping[str, str],
        origin: Mapping[str, str] | None = None,
        n_heads: int | None = None,
        speculative: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        self._large = large_layers(model)
        self._forward = forward_for(model, n_heads, speculative)
        self._scoring = forward_for(model, n_heads, "auto")  # all heads, whether they draft or not
        self._layers = self._forward.layers
        self._tokenizer = tokenizer
        self._device = next(model.parameters()).device
        self._batch_size = batch_size
        self._prompt: _Prompt | None = None  # the last one: its samples come one after another
        # Where rounding depends on the batch's shape, a choice by the clock would make runs differ.
        self._weighs = self._forward.heads > 1 and self._device.type == "cpu" and model.dtype == torch.float32
        self._next_weighing = FIRST_WEIGHING
        # Speculation is not part of it: it changes no token.
        self.identity: Mapping[str, str] = {**identity, "engine": ENGINE_VERSION}
        self.origin: Mapping[str, str] = dict(origin or {})
        ends = model.generation_config.eos_token_id if model.generation_config else None
        ends = tokenizer.eos_token_id if ends is None else ends
        self._ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self._stats: dict[str, float] = {"tokens": 0, "forwards": 0, "rows": 0, "seconds": 0.0}
        self._drafted = [0] * (self._forward.heads - 1)
        self._accepted = [0] * (self._forward.heads - 1)
        self._notes: list[str] = []
        self._thinking_opened: set[SampleKey] = set()  # by the template, in the prompts of these

    @property
    def batch_invariant(self) -> bool:
        """Elsewhere logits vary with the batch they are computed in, and so, now and then, does a sample."""
        return (self.identity.get("device"), self.identity.get("dtype")) == ("cpu", "float32")

    @property
    def stats(self) -> GenerationStats:
        counts = {k: int(v) for k, v in self._stats.items() if k != "seconds"}
        return GenerationStats(
            **counts,
            seconds=self._stats["seconds"],
            drafted=tuple(self._drafted),
            accepted=tuple(self._accepted),
            notes=tuple(self._notes),
        )

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        """How each head predicts `text` behind the prompt. Raises GenerationError where the two do not fit the context."""
        before = self._encode(prompt)
        if isinstance(prompt, str):
            ids = self._encode(prompt + text)
            # Where the text begins, a token may reach across: from the first that differs, all is scored.
            start = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), len(before))
        else:
            answer = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            ids, start = [*before, *answer], len(before)
        if len(ids) > self._forward.context or start >= len(ids):
            raise GenerationError(f"{len(ids)} tokens of prompt and text, for a context of {self._forward.context}")
        with torch.inference_mode():
            return head_scores(self._scoring, ids, max(1, start), self._device)

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        """Completions as they finish. A prompt that does not fit the context is an ``error`` completion.

        Raises GenerationError for `Sampling.extra`: this engine knows nothing beyond the named fields.
        """
        if sampling.extra:
            raise GenerationError(
                f"eval.sampling.extra: this engine knows no {', '.join(map(repr, sorted(sampling.extra)))}"
            )
        steps = self._decode(Queue(requests, self._tokenize), sampling)
        while True:
            # Left before each completion is handed out: what its reader does with torch is the reader's own.
            with torch.inference_mode(), read_once(self._large):
                completion = next(steps, None)
            if completion is None:
                return
            if completion.key in self._thinking_opened:
                completion = attrs.evolve(completion, extra={**completion.extra, "thinking_opened": True})
            yield completion

    def _tokenize(self, request: GenerationRequest) -> list[int]:
        prompt = request.prompt or "" if request.messages is None else request.messages
        ids, opened = encoded(self._tokenizer, prompt, request.template_args)
        if opened:
            self._thinking_opened.add(request.key)
        return ids or [self._tokenizer.bos_token_id]

    def _encode(self, prompt: str | Sequence[Message]) -> list[int]:
        ids, _ = encoded(self._tokenizer, prompt)
        return ids or [self._tokenizer.bos_token_id]

    # the loop

    def _decode(self, queue: Queue, sampling: Sampling) -> Iterator[Completion]:
        slots = Slots(self._layers)
        while True:
            started = time.perf_counter()
            refused, new = self._admit(queue, slots, sampling)
            if new:
                self._first(new, sampling)
            elif slots.rows():
                if self._weighs and self._stats["forwards"] >= self._next_weighing:
                    self._weigh(slots, sampling)
                self._step(slots, sampling)
            self._stats["seconds"] += time.perf_counter() - started
            yield from refused
            if not slots.rows() and not refused:
                return
            for row in slots.release(compact=not queue.waiting()):
                yield self._completion(row)

    def _admit(
        self, queue: Queue, slots: Slots, sampling: Sampling
    ) -> tuple[list[Completion], list[tuple[Row, Tensor]]]:
        """Fills free slots. Returns what was refused, and the new rows, each with its prompt's last states."""
        refused, new = [], []
        while slots.free() and (item := queue.next()):
            ids, request = item
            if len(ids) + 1 > self._forward.context:
                refused.append(_refusal(request, _too_long(request, len(ids), self._forward.context)))
                continue
            if self._prompt is None or self._prompt.ids != ids:
                self._prompt = self._prefill(ids)
            row = self._new_row(request, ids, sampling)
            need = self._capacity(row)
            if not slots.planned():
                # The longest prompt in sight comes first.
                slots.plan(*self._plan(self._prompt.cache, need))
            if not slots.make_room(need):
                queue.put_back(request)
                break
            slots.put(row, self._prompt.cache, len(ids))
            new.append((row, self._prompt.states[:, 0, 0]))
        return refused, new

    def _prefill(self, ids: list[int]) -> _Prompt:
        # The last prompt's cache is written over: a new one each time leaves holes in the heap that only grow.
        cache = self._prompt.cache if self._prompt else None
        if cache is None or cache.capacity < len(ids):
            cache = RaggedCache(self._layers, -(-len(ids) // ROUND) * ROUND, steady=False)
        tokens = torch.tensor([ids], device=self._device)
        cache.place(torch.arange(len(ids), device=self._device)[None], len(ids))
        states = self._forward.prefill(tokens, cache)
        self._stats["forwards"] += 1
        return _Prompt(ids, cache, states)

    def _new_row(self, request: GenerationRequest, ids: list[int], sampling: Sampling) -> Row:
        key = row_key(sampling.seed or 0, request.key.evaluator, request.key.problem, request.key.index)
        budget = min(request.max_new_tokens, self._forward.context - len(ids))
        text = Continuation(self._tokenizer, ids, request.stop)
        return Row(request, key, text, budget, time.perf_counter(), len(ids))

    def _capacity(self, row: Row) -> int:
        """Positions a row may need: its last input starts at most at its last token, with drafts behind it."""
        return -(-(row.position + row.budget + self._forward.heads) // ROUND) * ROUND

    def _plan(self, sample: RaggedCache, positions: int) -> tuple[int, int, RaggedCache, int | None]:
        """How many rows fit: half of the free memory over the bytes of one row. What `Slots.plan` takes."""
        if self._batch_size:
            return self._batch_size, positions, sample, None
        most = MOST_ROWS.get(self._device.type, 32)
        share = int(available_bytes(self._device) * MEMORY_SHARE)
        count = max(1, min(most, share // (sample.bytes_per_position() * positions)))
        return count, positions, sample, share

    def _first(self, new: Sequence[tuple[Row, Tensor]], sampling: Sampling) -> None:
        """The first token and drafts come from the prompt's own last position, under each sample's noise."""
        rows = [row for row, _ in new]
        states = torch.stack([state for _, state in new], dim=1)  # [heads, rows, …]
        logits = self._forward.target_logits(states)
        tokens = draw(logits, sampling, [(row.key, 0) for row in rows]).tolist()
        self._stats["rows"] += len(rows)
        for row, token in zip(rows, tokens, strict=True):
            self._take(row, [token])
        self._draft(rows, states, sampling)

    def _draft(self, rows: Sequence[Row], states: Tensor, sampling: Sampling) -> None:
        """Sets the next input of every row that goes on: its last token, and drafts from the states [heads, rows, …] there."""
        going = [i for i, row in enumerate(rows) if not row.finish]
        if len(going) < len(rows):
            rows = [rows[i] for i in going]
            states = states[:, torch.tensor(going, dtype=torch.int64, device=states.device)]
        drafts: list[list[int]] = [[] for _ in rows]
        if self._forward.heads > 1 and rows:
            logits = self._forward.draft_logits(states)
            heads, count = logits.shape[:2]
            places = [(row.key, len(row.ids) + head) for head in range(heads) for row in rows]
            tokens = draw(logits.reshape(heads * count, -1), sampling, places).view(heads, count)
            for head in range(heads):
                self._drafted[head] += count
            drafts = tokens.T.tolist()
        for row, draft in zip(rows, drafts, strict=True):
            row.pending = [row.ids[-1], *draft]

    def _verify(self, forward: Forward, slots: Slots, sampling: Sampling) -> tuple[Tensor, list[list[int]]]:
        """One forward over every row's last token and drafts: states [heads, rows, width, …], and the tokens that the
        next-token head draws behind each of them, [rows][width]. What it writes into the cache, the next one writes again.
        """
        width = forward.heads
        tokens, start = slots.inputs(width)
        ids = slots.cache.kept("ids", torch.tensor(tokens, device=self._device))
        positions = torch.tensor(start, device=self._device)[:, None] + torch.arange(width, device=self._device)
        slots.cache.place(positions, max(start) + width)
        states = slots.of_active(forward.run(ids, slots.cache))
        rows = slots.rows()
        logits = forward.target_logits(states)
        places = [(row.key, len(row.ids) + i) for row in rows for i in range(width)]
        targets = draw(logits.reshape(len(rows) * width, -1), sampling, places).view(len(rows), width)
        return states, targets.tolist()

    def _step(self, slots: Slots, sampling: Sampling) -> None:
        """One forward for all rows, then as many tokens for each as its drafts were right, and one more."""
        states, targets = self._verify(self._forward, slots, sampling)
        rows, width = slots.rows(), self._forward.heads
        kept = []
        for row, target in zip(rows, targets, strict=True):
            right = 0
            while right < width - 1 and row.pending[right + 1] == target[right]:
                self._accepted[right] += 1
                right += 1
            self._take(row, target[: right + 1])
            row.position += right + 1
            kept.append(right)
        self._stats["forwards"] += 1
        self._stats["rows"] += len(rows)
        at = torch.tensor(kept, device=self._device)
        self._draft(rows, states[:, torch.arange(len(rows), device=self._device), at], sampling)

    def _weigh(self, slots: Slots, sampling: Sampling) -> None:
        """Gives up drafting where it is slower than plain decoding: a processor that is busy with a wide batch pays for
        every draft, and heads may be wrong more often than not. Both sides are timed on the coming step.
        """
        self._next_weighing *= 16
        plain = self._forward.without_heads()
        gain = self._stats["tokens"] / self._stats["rows"]
        cost = self._seconds(self._forward, slots, sampling) / self._seconds(plain, slots, sampling)
        if cost > DRAFTING_LOSES * gain:
            note = f"a forward costs {cost:.1f} plain ones here, and yields {gain:.1f} tokens"
            log.info("drafting is given up: %s", note)
            self._notes.append(
                f"Drafting was given up after {int(self._stats['forwards'])} forwards, {int(self._stats['tokens'])} tokens: "
                f"{note}. Acceptance is of the drafts until then; the rest was decoded plainly, to the same text."
            )
            self._forward, self._weighs = plain, False
            for row in slots.rows():
                del row.pending[1:]
            if self._prompt:
                self._prompt.states = self._prompt.states[:1]

    def _seconds(self, forward: Forward, slots: Slots, sampling: Sampling) -> float:
        """Of one step without its drafts; the better of two."""
        found = []
        for _ in range(2):
            started = time.perf_counter()
            states, _ = self._verify(forward, slots, sampling)
            if forward.heads > 1:
                forward.draft_logits(states[:, :, 0])
            found.append(time.perf_counter() - started)
        return min(found)

    def _take(self, row: Row, tokens: Sequence[int]) -> None:
        """Appends tokens one by one, so that a row ends at the same token whatever block it came in."""
        watch = row.text.may_stop([*row.ids, *tokens], len(tokens))  # one look at the block spares a look at each token
        for token in tokens:
            if token in self._ends:
                row.finish = "stop"
                return
            row.ids.append(token)
            self._stats["tokens"] += 1
            if watch and row.text.stopped(row.ids):
                row.finish = "stop"
                return
            if len(row.ids) >= row.budget:
                row.finish = "length"
                return

    def _completion(self, row: Row) -> Completion:
        assert row.finish is not None
        return Completion(
            key=row.request.key,
            text=row.text.cut(row.ids),
            finish_reason=row.finish,
            tokens=len(row.ids),
            seconds=time.perf_counter() - row.started,
        )


def _too_long(request: GenerationRequest, length: int, context: int) -> str:
    return (
        f"the prompt has {length} tokens, and the model's context only {context}. Give fewer examples in it, if it has any "
        f"(eval.evaluators.{request.key.evaluator}.shots), or use a model with a longer context."
    )


def _refusal(request: GenerationRequest, error: str) -> Completion:
    return Completion(
        key=request.key,
        text="",
        finish_reason="error",
        tokens=0,
        seconds=0.0,
        error=error,
    )
