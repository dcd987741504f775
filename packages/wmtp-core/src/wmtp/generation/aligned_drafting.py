"""Drafting for models whose rows cannot advance at their own pace, recurrent ones among them: the state is put back to an
accepted position by not having left it.

A step runs the tokens that the group's state does not hold yet, and the drafts behind them. Rows whose drafts were all right go
on from the state behind them; the others keep the state of before, and run their accepted tokens once more beside the next
drafts. What a row has behind its state is bounded: beyond that it is run alone. Rows that accept alike stay one group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import Completion, GenerationRequest, Sampling
from wmtp.contracts.models import Drafter
from wmtp.generation.aligned import AlignedDecoder, Group
from wmtp.generation.decoder import DRAFTING_CHECK_AFTER, DRAFTING_MAX_COST
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.generation.sampling import check_finite, sample_tokens
from wmtp.generation.stepping import OwnCache, State, join_rows, select_rows
from wmtp.generation.targets import ListenedTarget

log = logging.getLogger(__name__)
MOST_BEHIND = 8  # tokens that a row's state may lack before they are run by themselves
ROOM = 64  # positions by which the modules' caches grow


@attrs.define(eq=False)
class _Drafting(Group):
    """A group with drafts.

    Attributes:
        behind: tokens at the end of the texts that the state does not hold.
        cache: of the drafter's modules, a slot a row.
        drafts: [rows, depth], what comes next if it is right.
    """

    behind: int = 1
    cache: RaggedCache | None = None
    drafts: Tensor | None = None


class DraftingDecoder(AlignedDecoder):
    """An `AlignedDecoder` whose rows draft with the sequential modules behind the model."""

    def __init__(
        self,
        stepper: OwnCache,
        tokenizer: Any,
        counters: Any,
        *,
        target: ListenedTarget,
        drafter: Drafter,
        may_stop_drafting: bool = False,
        **shared: Any,
    ) -> None:
        """Args:
        target: whose states the drafter takes.
        may_stop_drafting: whether drafts are given up where the clock says that they lose.
        shared: as `AlignedDecoder` takes it.
        """
        super().__init__(stepper, tokenizer, counters, **shared)
        self._own, self._target, self._drafter = stepper, target, drafter
        self._may_stop = may_stop_drafting
        self._next_check = DRAFTING_CHECK_AFTER
        self._taken = [0.0, 0]  # seconds of steps with drafts, and how many
        counters.draft(drafter.depth)

    @property
    def drafting(self) -> bool:
        """Whether drafts are made still."""
        return self._drafter.depth > 0

    def _start(self, tokens: Tensor) -> tuple[State, Tensor, Any]:
        if not self.drafting:
            return super()._start(tokens)
        length = tokens.shape[1]
        with self._target.states() as heard:
            state, logits = self._own.start(tokens)
        cache = RaggedCache(self._target.layers + self._drafter.layers, length + ROOM, steady=False)
        cache.set_positions(torch.arange(length, device=self._device)[None], length)
        return state, logits, (cache, self._drafter.prefill(tokens, heard[-1], cache))

    def _group(
        self, wanted: Sequence[GenerationRequest], tokens: Tensor, begun: tuple[State, Tensor, Any], sampling: Sampling
    ) -> tuple[Group, list[Completion]]:
        plain, done = super()._group(wanted, tokens, begun, sampling)
        if not self.drafting:
            return plain, done
        group = _Drafting(plain.rows, plain.ids, plain.state)
        for row in plain.rows:
            row.note_heads(1, 0)
        if group.rows:
            cache, kept = begun[2]
            here = torch.arange(len(group.rows), device=self._device)
            group.cache = _taken(cache, torch.zeros_like(here))
            _make_room(group.cache, group.length + self._drafter.depth + 1)
            last, positions = group.ids[:, -1], torch.full_like(here, group.length - 1)
            state = self._drafter.begin(kept[torch.zeros_like(here)], here, last, positions, group.cache)
            self._propose(group, state, sampling)
        return group, done

    def _propose(self, group: _Drafting, state: Tensor, sampling: Sampling) -> None:
        assert group.cache is not None
        rows = group.rows

        def pick(logits: Tensor, ahead: int) -> Tensor:
            count = len(logits)
            keys = [(row.noise_key, len(row.ids) + ahead + i) for i in range(count) for row in rows]
            return sample_tokens(logits.reshape(count * len(rows), -1), sampling, keys).view(count, len(rows))

        here = torch.arange(len(rows), device=self._device)
        positions = torch.full_like(here, group.length - 1)
        _make_room(group.cache, group.length + self._drafter.depth + 1)
        group.drafts = self._drafter.propose(state, here, group.ids[:, -1], positions, pick, group.cache).T

    def _step(self, groups: list[Group], sampling: Sampling) -> list[Completion]:
        """As many tokens for the rows of the shortest texts as their drafts were right, and one more."""
        if not self.drafting:
            return super()._step(groups, sampling)
        group = min(groups, key=lambda g: g.length)
        assert isinstance(group, _Drafting)
        due = self._may_stop and self._counters.forwards >= self._next_check
        if due and not self._worth_it(groups, group):
            return super()._step(groups, sampling)
        started = time.perf_counter()
        groups.remove(group)
        done, going = self._verify(group, sampling)
        groups += going
        self._merge(groups)
        self._taken = [self._taken[0] + time.perf_counter() - started, self._taken[1] + 1]
        return done

    def _verify(self, group: _Drafting, sampling: Sampling) -> tuple[list[Completion], list[_Drafting]]:
        assert group.drafts is not None
        assert group.cache is not None
        depth, rows, length = self._drafter.depth, group.rows, group.length
        before = _kept(group.state, len(rows))
        inputs = torch.cat([group.ids, group.drafts.to(group.ids.device)], dim=1)
        with self._target.states() as heard:
            state, logits = self._own.run(inputs, group.state, group.behind + depth, keep=depth + 1)
        keys = [(row.noise_key, len(row.ids) + i) for row in rows for i in range(depth + 1)]
        flat = logits.reshape(len(keys), -1)
        drawn = sample_tokens(flat, sampling, keys)
        check_finite(flat, drawn)
        drawn = drawn.view(len(rows), depth + 1)
        accepted = self._accept(rows, group.drafts.tolist(), drawn.tolist())
        self._counters.forwards += 1
        self._counters.rows += len(rows)
        done = [row.completion() for row in rows if row.finish]
        at = length - 1 + torch.arange(depth + 1, device=self._device)
        _make_room(group.cache, length + depth + 1)
        group.cache.set_positions(at.expand(len(rows), -1), length + depth)
        right = torch.tensor(accepted, device=self._device)
        states = self._drafter.advance(heard[-1][:, -depth - 1 :], drawn, right, group.cache)
        going = []
        for count in sorted({a for a, row in zip(accepted, rows, strict=True) if not row.finish}):
            chosen = [i for i, row in enumerate(rows) if accepted[i] == count and not row.finish]
            index = torch.tensor(chosen, device=self._device)
            ids = torch.cat([group.ids[index], drawn[index, : count + 1].to(group.ids.device)], dim=1)
            whole = count == depth
            made = _Drafting(
                [rows[i] for i in chosen], ids, select_rows(state if whole else before, index, len(rows)),
                1 if whole else group.behind + count + 1, _taken(group.cache, index),
            )  # fmt: skip
            if made.behind > MOST_BEHIND:
                self._catch_up(made)
            self._propose(made, states[index], sampling)
            going.append(made)
        return done, going

    def _accept(self, rows: Sequence[Any], drafts: list[list[int]], drawn: list[list[int]]) -> list[int]:
        """Gives each row what it has won. Returns how many drafts of each were right."""
        found = []
        for row, draft, target in zip(rows, drafts, drawn, strict=True):
            right = 0
            while right < len(draft) and draft[right] == target[right]:
                right += 1
            row.steps.append((len(row.ids) - 1, right))
            self._counters.tokens += row.append_tokens(target[: right + 1], self._eos_ids)
            row.note_heads(right + 1, len(draft))
            if row.finish:
                self._counters.finished(row)
            found.append(right)
        return found

    def _catch_up(self, group: _Drafting) -> None:
        """Brings a group's state to all but its last token."""
        if group.behind > 1:
            group.state, _ = self._own.run(group.ids[:, :-1], group.state, group.behind - 1, keep=1)
            group.behind = 1
            self._counters.forwards += 1

    def _worth_it(self, groups: list[Group], group: _Drafting) -> bool:
        """Gives up drafting where a step with drafts takes longer than the tokens that it yields are worth in plain steps."""
        self._next_check *= 16
        self._catch_up(group)
        found = []
        for _ in range(2):
            state = _kept(group.state, len(group.rows))
            started = time.perf_counter()
            self._own.run(group.ids, state, 1, keep=1)
            found.append(time.perf_counter() - started)
        gain = self._counters.tokens / max(1, self._counters.rows)
        cost = self._taken[0] / max(1, self._taken[1]) / min(found)
        if cost <= DRAFTING_MAX_COST * gain:
            return True
        note = f"a step with drafts costs {cost:.1f} plain ones here, and yields {gain:.1f} tokens"
        log.info("drafting is given up: %s", note)
        self._counters.notes.append(
            f"Drafting was given up after {self._counters.forwards} forwards, {self._counters.tokens} tokens: {note}. "
            "Acceptance is of the drafts until then; the rest was decoded plainly, to the same text."
        )
        for other in groups:
            assert isinstance(other, _Drafting)
            self._catch_up(other)
            other.cache = other.drafts = None
        self._drafter = _none()
        return False

    def _key(self, group: Group) -> tuple[int, ...]:
        assert isinstance(group, _Drafting) or not self.drafting
        return (group.length, group.behind if isinstance(group, _Drafting) else 1)

    def _join(self, same: Sequence[Group]) -> None:
        super()._join(same)
        first, parts = same[0], [g for g in same if isinstance(g, _Drafting) and g.cache is not None]
        if isinstance(first, _Drafting) and len(parts) == len(same):
            first.cache = _joined([g.cache for g in parts if g.cache is not None])
            first.drafts = torch.cat([g.drafts for g in parts if g.drafts is not None])


def _none() -> Drafter:
    from wmtp.generation.drafting import NoDrafts

    return NoDrafts()


def _kept(state: State, rows: int) -> State:
    """A copy that a forward through the other does not change."""
    return join_rows([state], [rows])


def _make_room(cache: RaggedCache, positions: int) -> None:
    if cache.capacity < positions:
        cache.grow(-(-positions // ROOM) * ROOM)


def _taken(cache: RaggedCache, index: Tensor) -> RaggedCache:
    """These slots of a cache, copied into one of their own."""
    made = RaggedCache(len(cache.layers), cache.capacity, steady=False)
    for mine, theirs in zip(made.layers, cache.layers, strict=True):
        if theirs.is_initialized:
            mine.keys, mine.values = theirs.keys[index], theirs.values[index]
            mine.is_initialized = True
    made.kept = {name: values[index] for name, values in cache.kept.items()}
    return made


def _joined(caches: Sequence[RaggedCache]) -> RaggedCache:
    """The slots of all these caches, one behind the other."""
    most = max(cache.capacity for cache in caches)
    for cache in caches:
        if cache.capacity < most:
            cache.grow(most)
    made = RaggedCache(len(caches[0].layers), most, steady=False)
    for number, mine in enumerate(made.layers):
        parts = [cache.layers[number] for cache in caches]
        if parts[0].is_initialized:
            mine.keys, mine.values = torch.cat([p.keys for p in parts]), torch.cat([p.values for p in parts])
            mine.is_initialized = True
    made.kept = {name: torch.cat([cache.kept[name] for cache in caches]) for name in caches[0].kept}
    return made
