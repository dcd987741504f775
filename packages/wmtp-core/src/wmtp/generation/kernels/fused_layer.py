"""Decoder layers on the CPU in one call of C (``decoder_layer.c``), for the few rows of a decoding step.

A step of one row through torch is some forty small operations a layer, which take longer than the weights of a small model
take to be read. A layer is computed that way only while the decoder runs a step over few enough rows of a `RaggedCache`, and
is the library's own to all else. Whether a layer is of such a shape is seen from its type and parts, and tried: its output has
to be what its own forward gives.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import torch
from torch import Tensor, nn

from wmtp.generation.kernels.layer_shapes import LayerShape, shape_of
from wmtp.generation.kernels.native import Product, skinny_product
from wmtp.generation.ragged_cache import RaggedCache

log = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.03}  # of the norm of what a layer adds
MOST_ROWS = {torch.float32: 64, torch.bfloat16: 16}  # beyond, torch's products gain more than its small steps cost
ADDRESSES = ("x", "cos", "sin", "mask", "y", "keys", "values", "states", "past", "scratch", "positions")
NUMBERS = ("slots", "width", "length", "capacity", "turned_dim", "rotary_rows", "mask_slot", "mask_row")


class _Step(ctypes.Structure):
    """``struct wmtp_step``."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ADDRESSES),
        *((name, ctypes.c_ssize_t) for name in NUMBERS),
        ("threads", ctypes.c_int),
    ]


@attrs.frozen(eq=False)
class _Prepared:
    """A step but for what is one layer's own, and the tensors that have to live as long: their addresses are in it."""

    step: _Step
    held: tuple[Tensor, ...]


@attrs.frozen(eq=False)
class _Fused:
    """A layer while it is computed in C."""

    product: Product
    shape: LayerShape

    def run(self, hidden: Tensor, options: dict[str, Any]) -> Tensor | None:
        """The layer's output; ``None`` where it has to be computed by its own forward."""
        cache, shape = options.get("past_key_values", options.get("cache")), self.shape
        if type(cache) is not RaggedCache or hidden.dtype is not shape.dtype or not torch.is_inference_mode_enabled():
            return None
        slots, width = hidden.shape[:2]
        if slots * width > MOST_ROWS[shape.dtype] or cache.positions.shape != (slots, width):
            return None
        found = (self._recur if shape.recurrent else self._attend)(cache, options, slots, width)
        if found is None:
            return None
        step, hidden, out = found.step, hidden.contiguous(), torch.empty_like(hidden)
        step.x, step.y = hidden.data_ptr(), out.data_ptr()
        weights, here = ctypes.addressof(shape.weights), ctypes.addressof(step)
        need, room = self.product.scratch(weights, here), shape.room.get("scratch")
        if room is None or room.numel() < need:
            # Full of NaN: what was read before it was written would be seen when a layer is tried.
            room = shape.room["scratch"] = torch.full((need,), 255, dtype=torch.uint8)
        step.scratch = room.data_ptr()
        self.product.layer(weights, here)
        return out

    def _attend(self, cache: RaggedCache, options: dict[str, Any], slots: int, width: int) -> _Prepared | None:
        """A step with what attention takes; ``None`` where that does not fit."""
        mask, rotary, shape = options.get("attention_mask"), options.get("position_embeddings"), self.shape
        layer, weights = cache.layers[shape.number], shape.weights
        if type(mask) is not Tensor or rotary is None or not layer.is_initialized or layer.keys.shape[0] != slots:
            return None
        key = ("in C", id(mask), id(rotary[0]), id(rotary[1]), weights.dim, weights.gated, shape.dtype)
        found: _Prepared | None
        if key in cache.of_forward:  # what is looked up here is alike for all layers of a kind
            found = cache.of_forward[key]
        else:
            found = cache.of_forward[key] = self._prepared(cache, mask, rotary, slots, width)
        if found is not None:
            found.step.keys, found.step.values = layer.keys.data_ptr(), layer.values.data_ptr()
        return found

    def _prepared(
        self, cache: RaggedCache, mask: Tensor, rotary: tuple[Tensor, Tensor], slots: int, width: int
    ) -> _Prepared | None:
        (cos, sin), shape, dim = rotary, self.shape, self.shape.weights.dim
        if (
            mask.dtype is not shape.dtype
            or cos.dtype is not shape.dtype
            or cos.shape[0] not in (1, slots)
            or cos.shape[1] != width
            or (cos.shape[2] != dim and not (shape.weights.gated and cos.shape[2] < dim and cos.shape[2] % 2 == 0))
            or cos.shape != sin.shape
            or mask.shape[0] not in (1, slots)
            or mask.shape[1:3] != (1, width)
            or mask.shape[3] > cache.capacity
            or mask.stride(3) != 1
            or cache.last >= cache.capacity
        ):
            return None
        places = cos.contiguous(), sin.contiguous(), mask, cache.positions.contiguous()
        step = _Step(
            slots=slots, width=width, threads=torch.get_num_threads(), length=mask.shape[3], capacity=cache.capacity
        )
        step.cos, step.sin, step.mask, step.positions = (t.data_ptr() for t in places)
        step.rotary_rows, step.turned_dim = cos.shape[0], cos.shape[2]
        step.mask_slot, step.mask_row = mask.stride(0) if mask.shape[0] > 1 else 0, mask.stride(2)
        return _Prepared(step, (*places, *rotary))

    def _recur(self, cache: RaggedCache, options: dict[str, Any], slots: int, width: int) -> _Prepared | None:
        """The same for a state, which is written over where it lies: a row's own, and one token a step."""
        states, past = cache.get_recurrent_state(self.shape.number), cache.get_conv_state(self.shape.number)
        weights = self.shape.weights
        channels = 2 * weights.key_heads * weights.key_dim + weights.value_heads * weights.value_dim
        if (
            width != 1
            or options.get("attention_mask") is not None
            or states is None
            or past is None
            or states.shape != (slots, weights.value_heads, weights.key_dim, weights.value_dim)
            or past.shape != (slots, channels, weights.taps)
            or states.dtype is not torch.float32
            or past.dtype is not self.shape.dtype
            or not (states.is_contiguous() and past.is_contiguous())
        ):
            return None
        found: _Prepared | None = cache.of_forward.get("in C")
        if found is None:
            found = _Prepared(_Step(slots=slots, width=1, threads=torch.get_num_threads()), ())
            cache.of_forward["in C"] = found
        found.step.states, found.step.past = states.data_ptr(), past.data_ptr()
        return found


def _call(self: Any, hidden_states: Tensor, *arguments: Any, **options: Any) -> Any:
    """A layer's call: hooks are asked for when a layer is chosen."""
    out = None if arguments else self._wmtp_fused.run(hidden_states, options)
    return super(type(self), self).__call__(hidden_states, *arguments, **options) if out is None else out


_CLASSES: dict[type, type] = {}
_SHAPES: WeakKeyDictionary[nn.Module, LayerShape] = WeakKeyDictionary()


def _fused_class(original: type) -> type:
    if original not in _CLASSES:
        _CLASSES[original] = type("FusedDecoderLayer", (original,), {"__call__": _call})
    return _CLASSES[original]


def fused_layers(*modules: nn.Module) -> list[nn.Module]:
    """The layers in them for which `fused` is right: one of each kind has been tried."""
    found: list[nn.Module] = []
    right: dict[tuple[Any, ...], bool] = {}
    room: dict[str, Tensor] = {}
    for module in (m for top in modules for m in top.modules()):
        if (shape := shape_of(module)) is None:
            continue
        shape.room = room
        _SHAPES[module] = shape
        if shape.kind not in right:
            right[shape.kind] = _agrees(module, shape)
        if right[shape.kind]:
            found.append(module)
    return found


def _known(layer: nn.Module) -> LayerShape | None:
    """The shape of a layer, looked at anew where something about it has changed."""
    shape = _SHAPES.get(layer)
    if shape is not None and shape.kind[0] is type(layer) and shape.is_still(layer):
        return shape
    if (anew := shape_of(layer)) is not None:
        anew.room = shape.room if shape else {}
        _SHAPES[layer] = anew
    return anew


@contextmanager
def fused(layers: Sequence[nn.Module]) -> Iterator[None]:
    """The layers are computed in C meanwhile where they can, but for those that have become something else since."""
    product = skinny_product()
    chosen: list[tuple[Any, type]] = []
    for layer in layers if product else ():
        if product is not None and (shape := _known(layer)) is not None:
            chosen.append((layer, type(layer)))
            vars(layer)["_wmtp_fused"] = _Fused(product, shape)
            layer.__class__ = _fused_class(type(layer))
    try:
        yield
    finally:
        for layer, original in chosen:
            layer.__class__ = original
            del vars(layer)["_wmtp_fused"]


def _agrees(layer: Any, shape: LayerShape) -> bool:
    """Whether two rows at places of their own come out as by the layer's own forward, and so does what it keeps."""
    try:
        theirs, ours = _tried(layer, shape, []), _tried(layer, shape, [layer])
    except Exception as error:  # whatever a layer raises that is called another way  # noqa: BLE001
        log.info("%s is computed by torch: %s: %s", type(layer).__name__, type(error).__name__, error)
        return False
    off = max(float((a - b).norm() / a.norm().clamp(min=1e-30)) for a, b in zip(theirs, ours, strict=True))
    if not off <= TOLERANCE[shape.dtype]:
        log.info("%s is computed by torch: in C it differs by %.2g", type(layer).__name__, off)
        return False
    return True


def _tried(layer: Any, shape: LayerShape, how: Sequence[nn.Module]) -> list[Tensor]:
    """What a layer adds to a few inputs, and what it keeps of them; `how`: of what is computed in C."""
    weights, dtype, width = shape.weights, shape.dtype, 1 if shape.recurrent else 2
    hidden = _some((2, width, weights.hidden), 4).to(dtype)
    cache = RaggedCache(shape.number + 1, 16)
    layer_cache, options = cache.layers[shape.number], {}
    if shape.recurrent:
        channels = 2 * weights.key_heads * weights.key_dim + weights.value_heads * weights.value_dim
        state = _some((2, weights.value_heads, weights.key_dim, weights.value_dim), 6)
        layer_cache.keep("recurrent", 0, state)
        layer_cache.keep("conv", 0, _some((2, channels, weights.taps), 7).to(dtype))
        cache.set_positions(torch.tensor([[4], [10]]), 11)
    else:
        keys, values = (_some((2, weights.kv_heads, 16, weights.dim), seed).to(dtype) for seed in (6, 7))
        layer_cache.lazy_initialization(keys, values)
        layer_cache.keys.copy_(keys)
        layer_cache.values.copy_(values)
        cache.set_positions(torch.tensor([[3, 4], [9, 10]]), 11)
        options["attention_mask"] = cache.mask(dtype)
        options["position_ids"] = cache.positions
    turned = int(weights.dim * _turned_share(layer)) if not shape.recurrent else 2
    angles = _some((2, width, turned // 2), 5).repeat(1, 1, 2)
    with torch.inference_mode(), fused(how):
        out: Tensor = layer(
            hidden, past_key_values=cache, use_cache=True,
            position_embeddings=(angles.cos().to(dtype), angles.sin().to(dtype)), **options,
        )  # fmt: skip
    kept = layer_cache.states.values() if shape.recurrent else (layer_cache.keys, layer_cache.values)
    return [(out - hidden).float(), *(tensor.float() for tensor in kept)]


def _turned_share(layer: Any) -> float:
    """Of the numbers of a head: those that positions turn."""
    found = getattr(getattr(layer.self_attn, "config", None), "rope_parameters", None) or {}
    return float(found.get("partial_rotary_factor") or 1.0)


def _some(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
