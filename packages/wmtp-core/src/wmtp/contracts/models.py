"""What the decoder asks of a model: a target that verifies, and a drafter that proposes. Neither knows how tokens are drawn.

This room imports no torch, so a tensor is `Tensor` here: `torch.Tensor` by agreement, unchecked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import attrs

Tensor: TypeAlias = Any


class DecodingCache(Protocol):
    """Keys and values of rows that advance at their own pace; written at each row's own positions.

    Layers of the target come first, those of the drafter behind them. What was written beyond a row's accepted position is
    never read: its next forward writes there again.

    Attributes:
        positions: [slots, width] of the coming forward.
        capacity: positions that a slot has.
        kept: what a drafter keeps of every slot from one forward to the next, by a name of its own: [slots, …] each.
    """

    positions: Tensor
    capacity: int
    kept: dict[str, Tensor]

    def set_positions(self, positions: Tensor, end: int) -> None:
        """Positions [slots, width] of the coming forward; `end` is one behind the last of them."""
        ...

    def mask(self, dtype: Any, window: int | None = None) -> Tensor:
        """What is added to attention scores: [slots, 1, width, length]. window: how many positions back one sees."""
        ...


class Pick(Protocol):
    """Draws tokens under the noise of the positions that they are for."""

    def __call__(self, logits: Tensor, ahead: int) -> Tensor:
        """logits [count, rows, vocabulary] → tokens [count, rows]; the first for the position `ahead` of each row's next."""
        ...


@runtime_checkable
class TargetModel(Protocol):
    """The model whose text is wanted.

    Attributes:
        layers: layers of keys and values it has in a cache.
        vocabulary: width of its logits.
        rows: of its embedding: ids from there on are none that it can read.
        context: positions it can take.
    """

    layers: int
    vocabulary: int
    rows: int
    context: int

    def verify(self, ids: Tensor, cache: DecodingCache) -> tuple[Tensor, Tensor]:
        """Runs ids [slots, width] at `cache.positions`.

        Returns:
            What the drafter takes of every position [slots, width, …], and the states there that `project` takes.
        """
        ...

    def prefill(self, ids: Tensor, cache: DecodingCache) -> tuple[Tensor, Tensor]:
        """As `verify` for one prompt [1, width], but the states are those of its last position alone, [1, 1, …]."""
        ...

    def all_states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """As `verify` for a whole text [1, width], without a cache."""
        ...

    def project(self, states: Tensor) -> Tensor:
        """States […, size] → logits of the token behind each, […, vocabulary]."""
        ...


@runtime_checkable
class Drafter(Protocol):
    """Proposes the tokens that follow. What it writes into the cache has no hole: it sees every verified position.

    A row at position p has its last token there, not yet run through the target. `begin` and `advance` give the state from
    which `propose` drafts the `depth` tokens behind it: [rows, …], a row of the tensor for each row.

    Attributes:
        depth: tokens that `propose` gives; 0: plain decoding.
        layers: layers of keys and values it has in a cache, behind the target's.
    """

    depth: int
    layers: int

    def prefill(self, ids: Tensor, hidden: Tensor, cache: DecodingCache) -> Tensor:
        """Runs over a prompt [1, width] that the target has just run, whose hidden states are given.

        Returns:
            What `begin` takes of it, [1, …]; kept with the prompt for all of its samples.
        """
        ...

    def begin(self, prompts: Tensor, slots: Tensor, last: Tensor, positions: Tensor, cache: DecodingCache) -> Tensor:
        """The state of rows that have just got their first token.

        Args:
            prompts: [rows, …], what `prefill` returned for each row's prompt.
            slots: [rows], where they are in the cache, ascending.
            last: [rows], their first tokens.
            positions: [all slots], where each slot's next input goes; it may be written there, nowhere before it.
        """
        ...

    def advance(self, hidden: Tensor, tokens: Tensor, accepted: Tensor, cache: DecodingCache) -> Tensor:
        """Runs over the positions that the target has just verified (`cache.positions`), of all slots.

        Args:
            hidden: [slots, width, …], the target's.
            tokens: [slots, width], the true token behind each position, as far as `accepted`.
            accepted: [slots], index of the last position whose input was right.

        Returns:
            The state of every slot at its accepted position, [slots, …].
        """
        ...

    def propose(
        self, state: Tensor, slots: Tensor, last: Tensor, positions: Tensor, pick: Pick, cache: DecodingCache
    ) -> Tensor:
        """Drafts behind the last tokens of some rows: [depth, rows].

        Args:
            state: [rows, …] of `begin` or `advance`. slots, last: as in `begin`.
            positions: [all slots], where each slot's next input goes: for these rows, where their last token stands.
            pick: `ahead` 0 is the token behind the last one.
        """
        ...

    def all_states(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """The states of every depth on a whole text [1, width], without a cache: [depth, 1, width, …].

        State d at position p predicts token p + 2 + d.
        """
        ...

    def project(self, states: Tensor, depth: int) -> Tensor:
        """States of the draft `depth` + 1 tokens behind the last one, […, size] → logits, […, vocabulary]."""
        ...


@attrs.frozen(kw_only=True)
class DecodingParts:
    """A loaded model as the decoder takes it.

    Attributes:
        target: verifies.
        max_depth: drafts that a drafter of it can give at most; 0: it has nothing to draft with.
        depth: drafts that it gives unless told otherwise; ``None``: `max_depth`.
        drafter: makes a drafter of a depth, 0 to `max_depth`.
        own_pace: whether the target is known to take rows at positions of their own. Where it is not, the engine looks, and
            such a model scores with its drafter and is decoded without it.
    """

    target: TargetModel
    max_depth: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    depth: int | None = None
    drafter: Callable[[int], Drafter]
    own_pace: bool = True


@runtime_checkable
class ParallelHeadsModel(Protocol):
    """A causal language model of transformers' kind whose extra heads all look from the same trunk.

    Head 0 is the next-token head; head i at position t predicts token t + 1 + i. Heads own a layer of the cache each.
    """

    def head_count(self) -> int:
        """All heads, the next-token head included."""
        ...

    def trunk_states(self, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, cache: Any) -> Tensor:
        """[rows, width] → the trunk's output, [rows, width, hidden]."""
        ...

    def run_heads(
        self, trunk: Tensor, heads: range, position_ids: Tensor, attention_mask: Tensor, cache: Any
    ) -> Tensor:
        """Outputs of these heads before norm and output matrix: [heads, rows, width, hidden]."""
        ...

    def project(self, states: Tensor) -> Tensor:
        """[…, hidden] → logits […, vocabulary]."""
        ...
