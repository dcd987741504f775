"""Continuous batching over fixed slots: a target verifies, a drafter proposes, and each row advances at its own pace.

One forward a step runs the target over [last token, drafts] of every row. Draft and target are drawn under the same
position-keyed noise, and a draft is accepted while the two are equal, so the text is token for token what decoding without
drafts writes. Nothing here knows how a model is built.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import Completion, Sampling
from wmtp.contracts.models import Drafter, TargetModel
from wmtp.errors import GenerationError
from wmtp.generation.drafting import NoDrafts
from wmtp.generation.memory import available_bytes
from wmtp.generation.ragged_cache import CUDA_LENGTH_STEP, RaggedCache
from wmtp.generation.sampling import check_finite, sample_tokens
from wmtp.generation.scheduling import WaitingQueue
from wmtp.generation.sequences import ActiveSequence, Counters, new_sequence, refusal
from wmtp.generation.slots import Slots

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.5  # of what is free, for the slots' keys and values
DRAFTING_CHECK_AFTER = 32  # forwards before drafting is weighed against plain decoding
DRAFTING_MAX_COST = 1.1  # times the tokens of a forward: what it may cost more than a plain one before it is given up
MAX_ROWS = {"cpu": 32, "cuda": 256}


@attrs.define(eq=False)
class _Prompt:
    """A prompt that has been run through the model once, for all of its samples."""

    ids: list[int]
    cache: RaggedCache
    states: Tensor  # the target's at the last position, [1, …]
    drafts_from: Tensor  # what the drafter keeps of it, [1, …]


class RaggedDecoder:
    """Decodes with a target and a drafter that take rows at positions of their own."""

    def __init__(
        self,
        target: TargetModel,
        drafter: Drafter,
        tokenizer: Any,
        counters: Counters,
        *,
        device: torch.device,
        eos_ids: Collection[int],
        batch_size: int | None = None,
        may_stop_drafting: bool = False,
    ) -> None:
        """Args:
        batch_size: slots; ``None``: planned from free memory when the first prompt shows what a position costs.
        may_stop_drafting: whether drafts are given up where the clock says that they lose.
        """
        self._target, self._drafter = target, drafter
        self._layers = target.layers + drafter.layers
        self._tokenizer, self._eos_ids = tokenizer, eos_ids
        self._device = device
        self._batch_size = batch_size
        self._prompt: _Prompt | None = None  # the last one: its samples come one after another
        self._may_stop_drafting = may_stop_drafting and drafter.depth > 0
        self._next_check = DRAFTING_CHECK_AFTER
        self._counters = counters
        self._depth = drafter.depth  # also of what was drafted before drafting was given up
        counters.draft(drafter.depth)

    def decode(self, queue: WaitingQueue, sampling: Sampling) -> Iterator[Completion]:
        """Completions as they finish."""
        slots = Slots(self._layers)
        while True:
            started = time.perf_counter()
            refused, new = self._admit(queue, slots, sampling)
            if new:
                self._sample_first(new, slots, sampling)
            elif slots.rows():
                if self._may_stop_drafting and self._counters.forwards >= self._next_check:
                    self._maybe_stop_drafting(slots, sampling)
                self._step(slots, sampling)
            self._counters.seconds += time.perf_counter() - started
            yield from refused
            if not slots.rows() and not refused:
                return
            for row in slots.release(compact=not queue.waiting()):
                yield row.completion()

    def _admit(
        self, queue: WaitingQueue, slots: Slots, sampling: Sampling
    ) -> tuple[list[Completion], list[tuple[ActiveSequence, _Prompt]]]:
        """Fills free slots. Returns what was refused, and the new rows with their prompts."""
        refused: list[Completion] = []
        new: list[tuple[ActiveSequence, _Prompt]] = []
        while slots.free() and (item := queue.next()):
            ids, request = item
            if refused_one := refusal(request, ids, self._target.context, self._target.rows):
                refused.append(refused_one)
                continue
            if self._prompt is None or self._prompt.ids != ids:
                self._prompt = self._prefill(ids)
            row = new_sequence(request, ids, self._tokenizer, self._target.context, sampling)
            need = self._capacity(row)
            if not slots.planned():
                # The longest prompt in sight comes first.
                slots.plan(*self._plan(self._prompt.cache, need, queue.at_most()))
            if not slots.make_room(need):
                queue.put_back(request)
                break
            slots.put(row, self._prompt.cache, len(ids))
            new.append((row, self._prompt))
        return refused, new

    def _prefill(self, ids: list[int]) -> _Prompt:
        # The last prompt's cache is written over: a new one each time leaves holes in the heap that only grow.
        cache = self._prompt.cache if self._prompt else None
        if cache is None or cache.capacity < len(ids):
            cache = RaggedCache(self._layers, -(-len(ids) // CUDA_LENGTH_STEP) * CUDA_LENGTH_STEP, steady=False)
        tokens = torch.tensor([ids], device=self._device)
        cache.begin_text()
        cache.set_positions(torch.arange(len(ids), device=self._device)[None], len(ids))
        hidden, states = self._target.prefill(tokens, cache)
        self._counters.forwards += 1
        return _Prompt(ids, cache, states[:, -1], self._drafter.prefill(tokens, hidden, cache))

    def _capacity(self, row: ActiveSequence) -> int:
        """Positions a row may need: its last input starts at most at its last token, with drafts behind it."""
        need = row.position + row.budget + self._drafter.depth + 1
        return -(-need // CUDA_LENGTH_STEP) * CUDA_LENGTH_STEP

    def _plan(
        self, sample: RaggedCache, positions: int, coming: int | None
    ) -> tuple[int, int, RaggedCache, int | None]:
        """How many rows fit: half of the free memory over the bytes of one row. What `Slots.plan` takes.

        coming: requests behind the first, where that is known: there are no more slots than requests.
        """
        row, free = max(1, sample.row_bytes(positions)), available_bytes(self._device)
        if self._batch_size:
            count = self._batch_size if coming is None else min(self._batch_size, coming + 1)
            if self._device.type == "cpu" and count * row > free:  # a graphics processor's allocator says so itself
                raise GenerationError(
                    f"eval.batch_size: {count} rows of {positions} tokens take {count * row / 2**30:,.1f} GiB, and "
                    f"{free / 2**30:,.1f} GiB are free; set it to {max(1, free // row)} at most, or to auto"
                )
            return count, positions, sample, None
        most = MAX_ROWS.get(self._device.type, 32)
        share = int(free * MEMORY_SHARE)
        count = max(1, min(most, most if coming is None else coming + 1, share // row))
        return count, positions, sample, share

    def _sample_first(self, new: Sequence[tuple[ActiveSequence, _Prompt]], slots: Slots, sampling: Sampling) -> None:
        """The first token and drafts come from the prompt's own last position, under each sample's noise."""
        rows = [row for row, _ in new]
        logits = self._target.project(torch.cat([prompt.states for _, prompt in new]))
        tokens = sample_tokens(logits, sampling, [(row.noise_key, 0) for row in rows])
        check_finite(logits, tokens)
        self._counters.rows += len(rows)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            self._append_tokens(row, [token])
        going = [(row, prompt.drafts_from) for row, prompt in new if not row.finish]
        if not going:
            return
        rows = [row for row, _ in going]
        at, last, positions = self._places(rows, slots)
        state = self._drafter.begin(torch.cat([kept for _, kept in going]), at, last, positions, slots.cache)
        self._propose(rows, state, slots, sampling)

    def _places(self, rows: Sequence[ActiveSequence], slots: Slots) -> tuple[Tensor, Tensor, Tensor]:
        """Slots and last tokens of these rows, and where the next input of every slot goes."""
        at = torch.tensor(slots.of(rows), device=self._device)
        last = torch.tensor([row.ids[-1] for row in rows], device=self._device)
        return at, last, torch.tensor(slots.next_positions(), device=self._device)

    def _propose(self, rows: Sequence[ActiveSequence], state: Tensor, slots: Slots, sampling: Sampling) -> None:
        """Sets the next input of rows that go on: the last token, and the drafts behind it."""
        drafts: list[list[int]] = [[] for _ in rows]
        if self._drafter.depth:

            def pick(logits: Tensor, ahead: int) -> Tensor:
                count = len(logits)
                keys = [(row.noise_key, len(row.ids) + ahead + i) for i in range(count) for row in rows]
                return sample_tokens(logits.reshape(count * len(rows), -1), sampling, keys).view(count, len(rows))

            tokens = self._drafter.propose(state, *self._places(rows, slots), pick, slots.cache)
            drafts = tokens.T.tolist()
        for row, draft in zip(rows, drafts, strict=True):
            row.pending = [row.ids[-1], *draft]

    def _verify(self, width: int, slots: Slots, sampling: Sampling) -> tuple[Tensor, Tensor]:
        """One forward over the first `width` of every slot's last token and drafts.

        What it writes into the cache, the next one writes again.

        Returns:
            The target's hidden states [slots, width, …], and the tokens that it draws behind each input, [slots, width].
        """
        tokens, start = slots.inputs(width)
        ids = slots.cache.scratch("ids", torch.tensor(tokens, device=self._device))
        positions = torch.tensor(start, device=self._device)[:, None] + torch.arange(width, device=self._device)
        slots.cache.set_positions(positions, max(start) + width)
        hidden, states = self._target.verify(ids, slots.cache)
        rows, active = slots.rows(), slots.active_index(self._device)
        logits = self._target.project(states if active is None else states[active])
        keys = [(row.noise_key, len(row.ids) + i) for row in rows for i in range(width)]
        flat = logits.reshape(len(rows) * width, -1)
        drawn = sample_tokens(flat, sampling, keys)
        check_finite(flat, drawn)
        drawn = drawn.view(len(rows), width)
        if active is None:
            return hidden, drawn
        return hidden, drawn.new_zeros(slots.count, width).index_copy_(0, active, drawn)

    def _step(self, slots: Slots, sampling: Sampling) -> None:
        """One forward for all rows, then as many tokens for each as its drafts were right, and one more."""
        width = self._drafter.depth + 1
        hidden, drawn = self._verify(width, slots, sampling)
        accepted, going = [0] * slots.count, []
        targets = drawn.tolist()
        for slot, row in slots.occupied():
            target, right = targets[slot], 0
            while right < width - 1 and row.pending[right + 1] == target[right]:
                right += 1
            if width > 1:
                row.steps.append((len(row.ids) - 1, right))
            self._append_tokens(row, target[: right + 1], drafts=min(width, len(row.pending)) - 1)
            row.position += right + 1
            accepted[slot] = right
            if not row.finish:
                going.append((slot, row))
        self._counters.forwards += 1
        self._counters.rows += len(slots.rows())
        if not going:
            return
        if width == 1:
            for _, row in going:
                row.pending = [row.ids[-1]]
            return
        state = self._drafter.advance(hidden, drawn, torch.tensor(accepted, device=self._device), slots.cache)
        if len(going) < slots.count:
            state = state[torch.tensor([slot for slot, _ in going], device=self._device)]
        self._propose([row for _, row in going], state, slots, sampling)

    def _append_tokens(self, row: ActiveSequence, tokens: Sequence[int], *, drafts: int = 0) -> None:
        self._counters.tokens += row.append_tokens(tokens, self._eos_ids)
        if self._depth:
            row.note_heads(len(tokens), drafts)
        if row.finish and row.steps:
            self._counters.finished(row)

    def _maybe_stop_drafting(self, slots: Slots, sampling: Sampling) -> None:
        """Gives up drafting where it is slower than plain decoding: a processor that is busy with a wide batch pays for
        every draft, and drafts may be wrong more often than not. Both sides are timed on the coming step.
        """
        self._next_check *= 16
        gain = self._counters.tokens / self._counters.rows
        cost = self._seconds(self._drafter, slots, sampling) / self._seconds(NoDrafts(), slots, sampling)
        if cost > DRAFTING_MAX_COST * gain:
            note = f"a forward costs {cost:.1f} plain ones here, and yields {gain:.1f} tokens"
            log.info("drafting is given up: %s", note)
            self._counters.notes.append(
                f"Drafting was given up after {self._counters.forwards} forwards, {self._counters.tokens} tokens: {note}. "
                "Acceptance is of the drafts until then; the rest was decoded plainly, to the same text."
            )
            self._drafter, self._may_stop_drafting = NoDrafts(), False
            for row in slots.rows():
                del row.pending[1:]
            if self._prompt:
                self._prompt.drafts_from = self._prompt.states.new_empty(1, 0)

    def _seconds(self, drafter: Drafter, slots: Slots, sampling: Sampling) -> float:
        """Of one step with this drafter; the better of two."""
        found = []
        rows, kept = slots.rows(), dict(slots.cache.kept)  # this step is not taken
        for _ in range(2):
            started = time.perf_counter()
            hidden, drawn = self._verify(drafter.depth + 1, slots, sampling)
            if drafter.depth:
                state = drafter.advance(hidden, drawn, drawn.new_zeros(slots.count), slots.cache)
                active = slots.active_index(self._device)
                state = state if active is None else state[active]
                drafter.propose(state, *self._places(rows, slots), _largest, slots.cache)
            found.append(time.perf_counter() - started)
            slots.cache.kept = dict(kept)
        return min(found)


def _largest(logits: Tensor, ahead: int) -> Tensor:
    return logits.argmax(-1)
