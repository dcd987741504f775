"""A cache for rows that advance at their own pace: keys and values scatter to each row's own positions, states are a row's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

CUDA_LENGTH_STEP = (
    64  # capacities are rounded up to this, and on CUDA the length that attention reads: few shapes for graphs
)
CPU_LENGTH_STEP = 16  # elsewhere attention reads no further than it must: shapes cost nothing, keys that are masked do


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    is_sliding = False
    is_compileable = False

    def __init__(self, owner: RaggedCache) -> None:
        super().__init__()
        self._owner = owner
        self.states: dict[tuple[str, int], Tensor] = {}  # of recurrent layers, by kind and number: [rows, …]
        self.written: set[tuple[str, int]] = set()  # those that hold something of this text

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, heads, _, width = key_states.shape
        capacity = self._owner.capacity
        self.keys = key_states.new_zeros(rows, heads, capacity, width)
        self.values = value_states.new_zeros(rows, heads, capacity, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        owner = self._owner
        length = owner.length
        if (first := owner.first) is not None:  # one row's: a copy takes half as long as a scatter
            width = key_states.shape[2]
            self.keys.narrow(2, first, width).copy_(key_states)
            self.values.narrow(2, first, width).copy_(value_states)
            return self.keys.narrow(2, 0, length), self.values.narrow(2, 0, length)
        places = owner.places(key_states.device)
        self.keys.transpose(1, 2).index_put_(places, key_states.transpose(1, 2))
        self.values.transpose(1, 2).index_put_(places, value_states.transpose(1, 2))
        return self.keys[:, :, :length], self.values[:, :, :length]

    def keep(self, kind: str, number: int, state: Tensor) -> Tensor:
        """Keeps a recurrent state: on the CPU the tensor itself, elsewhere where the last one lay."""
        old = self.states.get((kind, number))
        if old is None or (state.device.type == "cpu" and state.dtype == old.dtype):
            self.states[kind, number] = state
        else:
            old.copy_(state)
        self.written.add((kind, number))
        return self.states[kind, number]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self._owner.capacity

    get_max_cache_shape = get_max_length


class RaggedCache(Cache):  # type: ignore[misc]
    """Fixed slots of `capacity` positions. Set the positions of the coming forward with `set_positions` before each one.

    What a forward reads and writes here has the same shape and stays at the same address from one forward to the next, until
    rows have grown past a multiple of `CUDA_LENGTH_STEP` (`CPU_LENGTH_STEP` on the CPU) or slots are made anew: what a CUDA
    graph or a compiled forward needs. Not so with `steady` false, for a cache whose forwards all differ in width.
    """

    def __init__(self, layers: int, capacity: int, *, steady: bool = True) -> None:
        self.capacity = capacity
        self._steady = steady
        self.positions = torch.empty(0, 0, dtype=torch.int64)
        self.length, self.last = 0, -1
        self.first: int | None = (
            None  # where one row's positions begin, on the CPU; a graph of CUDA's would keep the number
        )
        self._scratch: dict[tuple[Any, ...], Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self.of_forward: dict[Any, Any] = {}  # what target and drafter both take of the coming forward, made once
        super().__init__(layers=[_Layer(self) for _ in range(layers)])

    def begin_text(self) -> None:
        """What recurrent layers hold is of another text: the coming forward begins anew."""
        for layer in self.layers:
            layer.written.clear()

    # What recurrent layers of transformers ask of a cache. A state is a row's own and moves by one token a forward, so rows
    # need not have read equally much.

    def _state(self, kind: str, layer_idx: int, state_idx: int) -> Tensor | None:
        layer = self.layers[layer_idx]
        return layer.states[kind, state_idx] if (kind, state_idx) in layer.written else None

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self._state("conv", layer_idx, state_idx)

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self._state("recurrent", layer_idx, state_idx)

    def update_conv_state(
        self, conv_states: Tensor, layer_idx: int, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        """Inputs of a convolution [rows, channels, width] → the same behind those that are kept. The last are kept in turn."""
        before = self.get_conv_state(layer_idx, state_idx)
        if before is not None:
            size, whole = before.shape[-1], torch.cat([before, conv_states], dim=-1)
        else:
            size = conv_states.shape[-1] if conv_kernel_size is None else conv_kernel_size
            whole = torch.nn.functional.pad(conv_states, (max(0, size - conv_states.shape[-1]), 0))
        # A copy: the single step of a convolution writes into it.
        self.layers[layer_idx].keep("conv", state_idx, whole[..., -size:].clone())
        return whole

    def update_recurrent_state(self, recurrent_states: Tensor, layer_idx: int, state_idx: int = 0, **_: Any) -> Tensor:
        return self.layers[layer_idx].keep("recurrent", state_idx, recurrent_states)  # type: ignore[no-any-return]

    def has_previous_state(self, layer_idx: int | None = None, state_idx: int | None = None) -> bool:
        layers = self.layers if layer_idx is None else [self.layers[layer_idx]]
        return any(state_idx is None or number == state_idx for layer in layers for _, number in layer.written)

    def is_recording_past(self, layer_idx: int) -> bool:
        return False

    def set_positions(self, positions: Tensor, end: int) -> None:
        """Positions [rows, width] of the coming forward, which follow each other in a row; `end` is one behind the last."""
        self.of_forward = {}
        self.last = end - 1
        rows, width = positions.shape
        self.first = end - width if rows == 1 and positions.device.type == "cpu" else None
        self.positions = self.scratch("positions", positions)
        step = CUDA_LENGTH_STEP if positions.device.type == "cuda" else CPU_LENGTH_STEP
        self.length = min(self.capacity, -(-end // step) * step)

    def places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows [rows, 1] and positions [rows, width] of the coming forward: where all layers write."""
        if (made := self.of_forward.get(device)) is None:
            positions = self.positions.to(device)
            made = torch.arange(len(positions), device=device)[:, None], positions
            self.of_forward[device] = made
        return made

    def scratch(self, name: str, value: Tensor) -> Tensor:
        """The value, where the last one of this name and shape lay."""
        if not self._steady:
            return value
        key = (name, *value.shape)
        if key not in self._scratch:
            self._scratch[key] = torch.empty_like(value)
        return self._scratch[key].copy_(value)

    def mask(self, dtype: torch.dtype, window: int | None = None) -> Tensor:
        """What is added to attention scores: 0 where a position sees another, −∞ elsewhere; [rows, 1, width, length].

        Made once a forward: from a boolean mask every layer would make it again.

        Args:
            dtype: of the scores.
            window: how many positions back one sees, itself included; ``None``: all.
        """
        name = "mask" if window is None else f"mask {window}"
        if (made := self.of_forward.get(name)) is not None and made.dtype == dtype:
            return made  # type: ignore[no-any-return]
        rows, width = self.positions.shape
        key = (name, rows, width)
        mask = self._scratch.get(key)
        if mask is None:
            reach = self.capacity if self._steady else self.length
            mask = torch.empty(rows, 1, width, reach, dtype=dtype, device=self.positions.device)
            if self._steady:
                self._scratch[key] = mask
        mask = mask[..., : self.length]  # one piece of memory for every length
        if rows == width == 1:  # its place is known as a number: nothing is to be compared
            first = 0 if window is None else max(0, self.last + 1 - window)
            self.of_forward[name] = mask.fill_(float("-inf"))
            mask[..., first : self.last + 1] = 0
            return mask
        entries, at = torch.arange(self.length, device=self.positions.device), self.positions[:, None, :, None]
        hidden = entries > at if window is None else (entries > at) | (entries <= at - window)
        self.of_forward[name] = mask.zero_().masked_fill_(hidden, float("-inf"))
        return mask

    def grow(self, capacity: int) -> None:
        """Makes room for more positions."""
        for layer in self.layers:
            if layer.is_initialized:
                for name in ("keys", "values"):
                    old = getattr(layer, name)
                    new = old.new_zeros(*old.shape[:2], capacity, old.shape[3])
                    new[:, :, : self.capacity] = old
                    setattr(layer, name, new)
        self.capacity = capacity
        self._scratch.clear()
        self.of_forward = {}

    def copy_row(self, source: RaggedCache, row: int, length: int) -> None:
        """Puts the first `length` positions of a one-row cache into a slot."""
        for mine, theirs in zip(self.layers, source.layers, strict=True):
            if theirs.is_initialized:  # not so for heads that are not used any more
                mine.keys[row, :, :length] = theirs.keys[0, :, :length]
                mine.values[row, :, :length] = theirs.values[0, :, :length]
            for name, state in theirs.states.items():
                mine.states[name][row] = state[0]

    def select_slots(self, slots: list[int]) -> None:
        """Keeps these slots, in this order, and frees the others."""
        rows = torch.tensor(slots, device=self.positions.device)
        for layer in self.layers:
            if layer.is_initialized:
                there = rows.to(layer.keys.device)
                layer.keys, layer.values = layer.keys[there], layer.values[there]
            layer.states = {name: state[rows.to(state.device)] for name, state in layer.states.items()}
        self.kept = {name: values[rows] for name, values in self.kept.items()}
        self._scratch.clear()
        self.of_forward = {}

    def start(self, like: RaggedCache, rows: int) -> None:
        """Allocates `rows` slots of the shapes and types of a cache that has been written."""
        for mine, theirs in zip(self.layers, like.layers, strict=True):
            mine.states = {name: state.new_zeros(rows, *state.shape[1:]) for name, state in theirs.states.items()}
            mine.written = set(theirs.written)
            if not theirs.is_initialized:
                continue
            for name in ("keys", "values"):
                old = getattr(theirs, name)
                setattr(mine, name, old.new_zeros(rows, old.shape[1], self.capacity, old.shape[3]))
            mine.is_initialized = True

    def row_bytes(self, positions: int) -> int:
        """Of one slot of so many positions, over all layers."""
        sizes: list[int] = [
            positions * t.shape[1] * t.shape[3] * t.element_size()
            for layer in self.layers
            if layer.is_initialized
            for t in (layer.keys, layer.values)
        ]
        states: list[Tensor] = [state for layer in self.layers for state in layer.states.values()]
        return sum(sizes) + sum(state[0].numel() * state.element_size() for state in states)
