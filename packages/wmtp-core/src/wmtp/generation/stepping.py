"""Runs a model of transformers one token at a time over rows of equal length, through its own cache or without any.

What transformers' own generation hands a model is handed over here as well, by the model's own methods: so whatever a model
does with windows, recurrent states, scaled positions or a cache class of its own, it does here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Container, Sequence
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, nn

CACHE_NAMES = ("cache", "past_key_values", "cache_params", "state", "mems", "past_buckets_states")
MODULE_STATES = ("conv1d_state", "recurrent_states")
"""Attributes in which modules of some models keep a recurrent state between forwards, beside any cache."""


@attrs.frozen
class State:
    """What a model keeps of rows of equal length.

    Attributes:
        kept: what its forward takes and gives back, by name: the cache, mostly.
        modules: recurrent states that its modules hold themselves.
    """

    kept: dict[str, Any]
    modules: tuple[Any, ...] = ()


class Stepper(Protocol):
    """A model on rows of equal length. Its states are never changed in place: one that was kept can be gone on from twice."""

    def start(self, ids: Tensor) -> tuple[State, Tensor]:
        """A prompt [1, length] → its state, and the logits of the token behind it, [1, vocabulary]."""
        ...

    def step(self, ids: Tensor, state: State) -> tuple[State, Tensor]:
        """Rows [rows, length] of which all but the last token are in the state → as `start`. The state given is used up."""
        ...


class OwnCache:
    """Steps through the model's own cache, whatever its class."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._accepts = accepted_arguments(model)
        self._cache_name = cache_name(self._accepts)
        self._holders = [
            (module, name)
            for module in model.modules()
            for name in MODULE_STATES
            if name in vars(module) or (hasattr(module, name) and not isinstance(getattr(module, name), nn.Module))
        ]
        self._rotary = [m for m in model.modules() if _is_dynamic(m)]

    def forget(self) -> None:
        """Puts away what modules themselves keep of texts that were run before."""
        for module, name in self._holders:
            setattr(module, name, None)
        for module in self._rotary:
            _reset_rotary(module)

    def start(self, ids: Tensor) -> tuple[State, Tensor]:
        self.forget()
        kept: dict[str, Any] = {}
        if self._model._supports_default_dynamic_cache():
            from transformers import DynamicCache

            kept[self._cache_name] = DynamicCache(config=self._model.config.get_text_config(decoder=True))
        state, logits = self._forward(ids, State(kept), None)
        return state, logits[:, -1]

    def step(self, ids: Tensor, state: State) -> tuple[State, Tensor]:
        state, logits = self.run(ids, state, 1)
        return state, logits[:, -1]

    def run(self, ids: Tensor, state: State, width: int, keep: int = 1) -> tuple[State, Tensor]:
        """As `step` where the state holds all but the last `width` tokens. Logits are of the last `keep` places."""
        for (module, name), value in zip(self._holders, state.modules, strict=True):
            setattr(module, name, value)
        return self._forward(ids, state, width, keep)

    def _forward(self, ids: Tensor, state: State, width: int | None, keep: int = 1) -> tuple[State, Tensor]:
        for module in self._rotary:
            _reset_rotary(module)
        given: dict[str, Any] = {**state.kept, "attention_mask": torch.ones_like(ids), "use_cache": True}
        if "position_ids" in self._accepts:
            given["position_ids"] = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        if "logits_to_keep" in self._accepts:
            given["logits_to_keep"] = keep
        inputs = self._model.prepare_inputs_for_generation(
            ids, next_sequence_length=width, is_first_iteration=width is None, **given
        )
        out = self._model(**inputs, return_dict=True)
        kept = dict(state.kept)
        name = next((name for name in CACHE_NAMES if out.get(name) is not None), None)
        if name is not None:
            # One name only, and the one that goes in: copies of one cache under two names would part.
            kept[name if name == "state" else self._cache_name] = out[name]
        return State(kept, tuple(getattr(module, name) for module, name in self._holders)), out.logits[:, -keep:]


def accepted_arguments(model: Any) -> set[str]:
    """What a model's own forward takes. One that is wrapped (by peft, by torch.compile) takes anything, and says nothing."""
    inner = model
    while True:
        if (within := getattr(inner, "_orig_mod", None)) is not None:
            inner = within
        elif hasattr(inner, "get_base_model"):
            inner = inner.get_base_model()
        else:
            return set(inspect.signature(type(inner).forward).parameters)


def cache_name(accepted: Container[str]) -> str:
    """What a forward that takes these arguments calls its cache: ``cache`` from transformers 5.24 on."""
    if "cache" in accepted:
        return "cache"
    return "cache_params" if "cache_params" in accepted else "past_key_values"


class NoCache:
    """Steps by running the whole text again. Slow, and right for every model that can be run at all."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._accepts = accepted_arguments(model)
        self._rotary = [m for m in model.modules() if _is_dynamic(m)]

    def start(self, ids: Tensor) -> tuple[State, Tensor]:
        for module in self._rotary:
            _reset_rotary(module)
        given: dict[str, Any] = {"attention_mask": torch.ones_like(ids), "use_cache": False}
        if "position_ids" in self._accepts:
            given["position_ids"] = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        if "logits_to_keep" in self._accepts:
            given["logits_to_keep"] = 1
        inputs = self._model.prepare_inputs_for_generation(ids, is_first_iteration=True, **given)
        return State({}), self._model(**inputs, return_dict=True).logits[:, -1]

    def step(self, ids: Tensor, state: State) -> tuple[State, Tensor]:
        return self.start(ids)


def _is_dynamic(module: nn.Module) -> bool:
    """Whether it computes rotary frequencies anew for the longest text that it has seen."""
    kinds = getattr(module, "rope_type", "")
    return "dynamic" in (kinds.values() if isinstance(kinds, dict) else (kinds,))


def _reset_rotary(module: Any) -> None:
    """As it was before it saw any text: what one row made it do must not reach another."""
    for name in [n for n in vars(module) if n.endswith("max_seq_len_cached")]:
        prefix = name.removesuffix("max_seq_len_cached")
        original = getattr(module, f"{prefix}original_inv_freq", None)
        frequencies = getattr(module, f"{prefix}inv_freq", None)
        if original is None or frequencies is None:
            continue
        module.register_buffer(f"{prefix}inv_freq", original.to(frequencies.device), persistent=False)
        setattr(module, name, module.original_max_seq_len)


def select_rows(state: State, index: Tensor, rows: int) -> State:
    """These rows of a state that has `rows`, in this order; one may come several times."""

    def selected(tensors: list[Tensor]) -> Tensor:
        (tensor,) = tensors
        return tensor.index_select(0, index.to(tensor.device)) if tensor.dim() and tensor.shape[0] == rows else tensor

    kept, modules = _rebuilt([(state.kept, state.modules)], selected)
    return State(kept, modules)


def join_rows(states: Sequence[State], rows: Sequence[int]) -> State:
    """The rows of all these states, of texts of one length. Raises ValueError where they cannot be put together."""

    def joined(tensors: list[Tensor]) -> Tensor:
        if all(t.dim() and t.shape[0] == n for t, n in zip(tensors, rows, strict=True)):
            if len({(t.shape[1:], t.dtype) for t in tensors}) > 1:
                raise ValueError("states of different shapes")
            return torch.cat(tensors)
        if all(torch.equal(tensors[0], t) for t in tensors[1:]):
            return tensors[0]
        raise ValueError("states that differ")

    kept, modules = _rebuilt([(state.kept, state.modules) for state in states], joined)
    return State(kept, modules)


def _rebuilt(parts: list[Any], combine: Callable[[list[Tensor]], Tensor]) -> Any:
    """The like of several structures with their tensors combined. Whatever else is in them must be equal."""
    first = parts[0]
    if len({type(p) for p in parts}) > 1:
        raise ValueError("structures of different kinds")
    if isinstance(first, Tensor):
        return combine(parts)
    if isinstance(first, dict):
        if len({tuple(p) for p in parts}) > 1:
            raise ValueError("structures with different keys")
        made = {key: _rebuilt([p[key] for p in parts], combine) for key in first}
        return made if type(first) is dict else type(first)(made)
    if isinstance(first, list | tuple):
        if len({len(p) for p in parts}) > 1:
            raise ValueError("structures of different lengths")
        items = [_rebuilt(list(items), combine) for items in zip(*parts, strict=True)]
        return items if isinstance(first, list) else tuple(items)
    if _is_plain(first):
        if any(p != first for p in parts[1:]):
            raise ValueError(f"{first!r} beside something else")
        return first
    if hasattr(first, "__dict__"):  # a cache, a layer of one
        fields = _rebuilt([vars(p) for p in parts], combine)
        made = copy.copy(first)
        made.__dict__.update(fields)
        return made
    return first


def _is_plain(value: Any) -> bool:
    """What is the same for every row: numbers, names, types, functions, configurations."""
    return (
        value is None
        or isinstance(value, bool | int | float | str | bytes | type | torch.dtype | torch.device | torch.Size)
        or callable(value)
        or type(value).__name__.endswith("Config")
    )


def state_bytes(state: State) -> int:
    """Bytes of the tensors of a state."""
    total = 0

    def counted(tensors: list[Tensor]) -> Tensor:
        nonlocal total
        total += tensors[0].numel() * tensors[0].element_size()
        return tensors[0]

    _rebuilt([(state.kept, state.modules)], counted)
    return total
