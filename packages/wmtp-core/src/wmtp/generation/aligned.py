"""Decoding for models whose rows cannot advance at their own pace: recurrent states, windows, positions that are scaled.

Rows of one length are one batch, without padding or masks of ours, which every model runs as it would run one row. The group
that lags goes first; where it reaches the length of another, the two become one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import Completion, GenerationRequest, Sampling
from wmtp.generation.decoder import MAX_ROWS, MEMORY_SHARE
from wmtp.generation.memory import available_bytes
from wmtp.generation.sampling import check_finite, sample_tokens
from wmtp.generation.scheduling import WaitingQueue
from wmtp.generation.sequences import ActiveSequence, Counters, new_sequence, refusal
from wmtp.generation.stepping import State, Stepper, join_rows, select_rows, state_bytes

log = logging.getLogger(__name__)

REFILL_BELOW = 4  # new prompts come when this part of the rows is left: they are shorter, and the others wait for them


@attrs.define(eq=False)
class Group:
    """Rows whose texts have one length.

    Attributes:
        ids: [rows, length], prompts included.
        state: of all but the last token.
    """

    rows: list[ActiveSequence]
    ids: Tensor
    state: State

    @property
    def length(self) -> int:
        return int(self.ids.shape[1])


class AlignedDecoder:
    """Decodes with a `Stepper`, rows of equal length together."""

    def __init__(
        self,
        stepper: Stepper,
        tokenizer: Any,
        counters: Counters,
        *,
        context: int,
        vocabulary: int,
        device: torch.device,
        eos_ids: Collection[int],
        batch_size: int | None = None,
    ) -> None:
        """Args:
        batch_size: rows at a time; ``None``: planned from free memory when the first prompt shows what a row costs.
        """
        self._stepper, self._tokenizer, self._counters = stepper, tokenizer, counters
        self._vocabulary = vocabulary
        self._context, self._device, self._eos_ids = context, device, eos_ids
        self._max_rows = batch_size
        self._joins = True  # until a model's states are found not to

    def decode(self, queue: WaitingQueue, sampling: Sampling) -> Iterator[Completion]:
        """Completions as they finish."""
        groups: list[Group] = []
        while True:
            started = time.perf_counter()
            done: list[Completion] = []
            count = sum(len(group.rows) for group in groups)
            if not count or (self._max_rows and count <= self._max_rows // REFILL_BELOW):
                done = self._admit(queue, groups, sampling)
            if groups:
                done += self._step(groups, sampling)
            self._counters.seconds += time.perf_counter() - started
            yield from done
            if not groups and not queue.waiting():
                return

    def _admit(self, queue: WaitingQueue, groups: list[Group], sampling: Sampling) -> list[Completion]:
        """Starts prompts while there is room, each with as many of its samples as fit. Returns what ended at once."""
        done: list[Completion] = []
        count = sum(len(group.rows) for group in groups)
        while (self._max_rows is None or count < self._max_rows) and (item := queue.next()):
            ids, request = item
            if refused_one := refusal(request, ids, self._context, self._vocabulary):
                done.append(refused_one)
                continue
            tokens = torch.tensor([ids], device=self._device)
            begun = self._start(tokens)
            self._counters.forwards += 1
            if self._max_rows is None:
                self._max_rows = self._plan(begun[0], len(ids), request.max_new_tokens)
            wanted = [request, *self._siblings(queue, ids, self._max_rows - count - 1)]
            group, ended = self._group(wanted, tokens, begun, sampling)
            done += ended
            if group.rows:
                groups.append(group)
                count += len(group.rows)
        self._merge(groups)
        return done

    def _start(self, tokens: Tensor) -> tuple[State, Tensor, Any]:
        """Runs a prompt: its state, the logits behind it, and whatever else `_group` wants of it."""
        return (*self._stepper.start(tokens), None)

    def _group(
        self, wanted: Sequence[GenerationRequest], tokens: Tensor, begun: tuple[State, Tensor, Any], sampling: Sampling
    ) -> tuple[Group, list[Completion]]:
        """The samples of a prompt that was run, each with its first token, and those that ended with it."""
        state, logits, _ = begun
        ids: list[int] = tokens[0].tolist()
        rows = [new_sequence(r, ids, self._tokenizer, self._context, sampling) for r in wanted]
        here = torch.zeros(len(rows), dtype=torch.int64, device=self._device)
        group = Group(rows, tokens[here], select_rows(state, here, 1))
        return group, self._append(group, logits[here], sampling)

    def _siblings(self, queue: WaitingQueue, ids: list[int], room: int) -> list[GenerationRequest]:
        """Further samples of the same prompt."""
        found: list[GenerationRequest] = []
        while len(found) < room and (item := queue.next()):
            if item[0] != ids:
                queue.put_back(item[1])
                break
            found.append(item[1])
        return found

    def _plan(self, state: State, length: int, new_tokens: int) -> int:
        """Rows that fit into half of the free memory. A state grows with its text at most, and is copied as it grows."""
        row = 2 * state_bytes(state) * (length + new_tokens) // length
        share = int(available_bytes(self._device) * MEMORY_SHARE)
        return max(1, min(MAX_ROWS.get(self._device.type, 32), share // max(1, row)))

    def _step(self, groups: list[Group], sampling: Sampling) -> list[Completion]:
        """One token more for the rows of the shortest texts."""
        group = min(groups, key=lambda g: g.length)
        group.state, logits = self._stepper.step(group.ids, group.state)
        self._counters.forwards += 1
        done = self._append(group, logits, sampling)
        if not group.rows:
            groups.remove(group)
        self._merge(groups)
        return done

    def _append(self, group: Group, logits: Tensor, sampling: Sampling) -> list[Completion]:
        """Draws a token for every row of the group, and takes those out that end with it."""
        tokens = sample_tokens(logits, sampling, [(row.noise_key, len(row.ids)) for row in group.rows])
        check_finite(logits, tokens)
        self._counters.rows += len(group.rows)
        for row, token in zip(group.rows, tokens.tolist(), strict=True):
            self._counters.tokens += row.append_tokens([token], self._eos_ids)
        group.ids = torch.cat([group.ids, tokens[:, None].to(group.ids.device)], dim=1)
        done = [row.completion() for row in group.rows if row.finish]
        if done:
            going = [i for i, row in enumerate(group.rows) if not row.finish]
            if going:
                index = torch.tensor(going, device=self._device)
                group.state = select_rows(group.state, index, len(group.rows))
                group.ids = group.ids[index]
            group.rows = [group.rows[i] for i in going]
        return done

    def _merge(self, groups: list[Group]) -> None:
        """Makes one of groups whose texts have the same length."""
        if not self._joins:
            return
        alike: dict[tuple[int, ...], list[Group]] = {}
        for group in groups:
            alike.setdefault(self._key(group), []).append(group)
        for same in alike.values():
            if len(same) < 2:
                continue
            try:
                self._join(same)
            except ValueError as reason:
                log.info("rows of different prompts are decoded apart: %s", reason)
                self._joins = False
                return
            for group in same[1:]:
                groups.remove(group)

    def _key(self, group: Group) -> tuple[int, ...]:
        """What groups must have in common to be joined."""
        return (group.length,)

    def _join(self, same: Sequence[Group]) -> None:
        """Puts the rows of all into the first. Raises ValueError where their states cannot be put together."""
        state = join_rows([g.state for g in same], [len(g.rows) for g in same])
        first = same[0]
        first.rows = [row for g in same for row in g.rows]
        first.ids, first.state = torch.cat([g.ids for g in same]), state
