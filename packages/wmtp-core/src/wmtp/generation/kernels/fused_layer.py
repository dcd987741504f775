"""Decoder layers of Llama's shape on the CPU in one call of C (``decoder_layer.c``), for the few rows of a decoding step.

A step of one row through torch is some forty small operations a layer, which take longer than the weights of a small model
take to be read. A layer is computed that way only while the decoder runs a step over few enough rows of a `RaggedCache`, and
is the library's own to all else. Whether a layer is of that shape is seen from its parts, and tried: its output has to be
what its own forward gives.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from wmtp.generation.kernels.native import Product, skinny_product
from wmtp.generation.ragged_cache import RaggedCache

log = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.03}  # of the norm of what a layer adds
MOST_DIM = 256  # of a head
TYPES = frozenset(
    f"transformers.models.{name.lower()}.modeling_{name.lower()}.{name}DecoderLayer"
    for name in ("Llama", "Mistral", "Qwen2", "Qwen3")
)
"""Layers of transformers that do nothing else, at any position: others of the same parts scale by position, or turn nothing."""
PARTS = {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
HEAD_NORMS = ("q_norm", "k_norm")
GATED = ("gate_proj", "up_proj", "down_proj")


OPTIONAL = ("q_bias", "k_bias", "v_bias", "o_bias", "q_norm", "k_norm")
SIZES = ("hidden", "inner", "heads", "kv_heads", "dim", "eps", "head_eps", "scale", "bytes")


class _Weights(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("norm1", "q", "k", "v", "o", "norm2", "gate", "up", "down", *OPTIONAL)),
        *((name, ctypes.c_ssize_t) for name in SIZES[:5]),
        *((name, ctypes.c_float) for name in SIZES[5:8]),
        (SIZES[8], ctypes.c_int),
    ]


class _Step(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("x", "cos", "sin", "mask", "y", "keys", "values", "scratch", "positions")
        ),
        *(
            (name, ctypes.c_ssize_t)
            for name in ("slots", "width", "length", "capacity", "rotary_rows", "mask_slot", "mask_row")
        ),
        ("threads", ctypes.c_int),
    ]


@attrs.define(eq=False)
class _Fused:
    """A layer while it is computed in C.

    Attributes:
        product: the functions.
        weights: the layer's, by address.
        room: scratch that all layers of a model share.
    """

    product: Product
    weights: _Weights
    room: dict[str, Tensor]
    number: int
    dtype: torch.dtype

    def run(self, hidden: Tensor, options: dict[str, Any]) -> Tensor | None:
        """The layer's output; ``None`` where it has to be computed by its own forward."""
        cache, mask = options.get("past_key_values", options.get("cache")), options.get("attention_mask")
        rotary = options.get("position_embeddings")
        if (
            type(cache) is not RaggedCache
            or type(mask) is not Tensor
            or rotary is None
            or hidden.dtype is not self.dtype
        ):
            return None
        slots, width = hidden.shape[:2]
        layer, (cos, sin) = cache.layers[self.number], rotary
        if (
            slots * width > self.product.most
            or not layer.is_initialized
            or layer.keys.shape[0] != slots
            or mask.dtype is not self.dtype
            or cos.dtype is not self.dtype
            or cos.shape not in ((slots, width, self.weights.dim), (1, width, self.weights.dim))
            or cos.shape != sin.shape
            or mask.shape[0] not in (1, slots)
            or mask.shape[1:3] != (1, width)
            or mask.shape[3] > cache.capacity
            or mask.stride(3) != 1
            or cache.positions.shape != (slots, width)
            or cache.last >= cache.capacity
            or not torch.is_inference_mode_enabled()
        ):
            return None
        hidden, cos, sin = hidden.contiguous(), cos.contiguous(), sin.contiguous()
        positions, out = cache.positions.contiguous(), torch.empty_like(hidden)
        threads = torch.get_num_threads()
        step = _Step(
            hidden.data_ptr(), cos.data_ptr(), sin.data_ptr(), mask.data_ptr(), out.data_ptr(), layer.keys.data_ptr(),
            layer.values.data_ptr(), 0, positions.data_ptr(), slots, width, mask.shape[-1], cache.capacity, cos.shape[0],
            mask.stride(0) if mask.shape[0] > 1 else 0, mask.stride(2), threads,
        )  # fmt: skip
        weights, here = ctypes.addressof(self.weights), ctypes.addressof(step)
        need, room = self.product.scratch(weights, here), self.room.get("scratch")
        if room is None or room.numel() < need:
            room = self.room["scratch"] = torch.empty(need, dtype=torch.uint8)
        step.scratch = room.data_ptr()
        self.product.layer(weights, here)
        return out


def _call(self: Any, hidden_states: Tensor, *arguments: Any, **options: Any) -> Any:
    """A layer's call: hooks are asked for when a layer is chosen."""
    out = None if arguments else self._wmtp_fused.run(hidden_states, options)
    return super(type(self), self).__call__(hidden_states, *arguments, **options) if out is None else out


_CLASSES: dict[type, type] = {}


def _fused_class(original: type) -> type:
    if original not in _CLASSES:
        _CLASSES[original] = type("FusedDecoderLayer", (original,), {"__call__": _call})
    return _CLASSES[original]


def fused_layers(*modules: nn.Module) -> list[nn.Module]:
    """The layers in them for which `fused` is right: one of each kind has been tried."""
    found: list[nn.Module] = []
    right: dict[tuple[Any, ...], bool] = {}
    for module in (m for top in modules for m in top.modules()):
        if (weights := _weights(module)) is None:
            continue
        there = tuple(getattr(weights, name) is None for name in OPTIONAL)
        kind = (type(module), there, *(getattr(weights, name) for name in SIZES))
        if kind not in right:
            right[kind] = _agrees(module, weights)
        if right[kind]:
            found.append(module)
    return found


@contextmanager
def fused(layers: Sequence[nn.Module]) -> Iterator[None]:
    """The layers are computed in C meanwhile where they can, but for those that have become something else since."""
    product = skinny_product()
    room: dict[str, Tensor] = {}
    chosen: list[tuple[Any, type]] = []
    for layer in layers if product else ():
        weights = _weights(layer)
        if weights is not None and product is not None:
            chosen.append((layer, type(layer)))
            dtype = layer.input_layernorm.weight.dtype  # type: ignore[union-attr]
            vars(layer)["_wmtp_fused"] = _Fused(product, weights, room, int(layer.self_attn.layer_idx), dtype)  # type: ignore
            layer.__class__ = _fused_class(type(layer))
    try:
        yield
    finally:
        for layer, original in chosen:
            layer.__class__ = original
            del vars(layer)["_wmtp_fused"]


def _weights(layer: Any) -> _Weights | None:
    """The addresses of a layer of Llama's shape; ``None`` for any other, and for one that something else watches."""
    if not _is_known(layer) or not _is_plain(layer):
        return None
    attention, mlp = layer.self_attn, layer.mlp
    (q, k, v, o), (gate, up, down) = (getattr(attention, n) for n in PROJECTIONS), (getattr(mlp, n) for n in GATED)
    norms = [attention._modules.get(name) for name in HEAD_NORMS]
    dim, hidden, inner = attention.head_dim, layer.input_layernorm.weight.shape[0], gate.weight.shape[0]
    of_heads, of_keys = q.weight.shape[0], k.weight.shape[0]
    shapes = {(of_heads, hidden): [q], (hidden, of_heads): [o], (inner, hidden): [gate, up], (hidden, inner): [down]}
    fits = all(tuple(m.weight.shape) == shape for shape, linear in shapes.items() for m in linear)
    fits &= tuple(k.weight.shape) == tuple(v.weight.shape) == (of_keys, hidden)
    fits &= not any(n % 16 for n in (hidden, inner, of_heads, of_keys)) and not (
        dim % 8 or of_heads % dim or of_keys % dim
    )
    fits &= dim <= MOST_DIM and of_heads % of_keys == 0 and all(m.bias is None for m in (gate, up, down))
    if not fits or any(norm is not None and tuple(norm.weight.shape) != (dim,) for norm in norms):
        return None
    return _Weights(
        *map(_address, (layer.input_layernorm.weight, q.weight, k.weight, v.weight, o.weight)),
        *map(_address, (layer.post_attention_layernorm.weight, gate.weight, up.weight, down.weight)),
        *map(_address, (q.bias, k.bias, v.bias, o.bias, *(norm and norm.weight for norm in norms))),
        hidden, inner, of_heads // dim, of_keys // dim, dim, layer.input_layernorm.variance_epsilon,
        getattr(norms[0], "variance_epsilon", 0.0), attention.scaling, q.weight.element_size(),
    )  # fmt: skip


def _is_known(layer: nn.Module) -> bool:
    """Whether it is one of `TYPES`, of the parts that these have here, with an activation that is computed here."""
    if f"{type(layer).__module__}.{type(layer).__name__}" not in TYPES or set(layer._modules) != PARTS:
        return False
    attention, mlp = layer.self_attn, layer.mlp
    parts, gated = set(attention._modules), set(mlp._modules)  # type: ignore[union-attr]
    return (
        parts in ({*PROJECTIONS}, {*PROJECTIONS, *HEAD_NORMS})
        and gated - {"act_fn"} == {*GATED}
        and type(mlp.act_fn).__name__ in ("SiLU", "SiLUActivation")  # type: ignore[union-attr]
        and isinstance(getattr(attention, "head_dim", None), int)
        and isinstance(getattr(attention, "scaling", None), float)
        and hasattr(layer.input_layernorm, "variance_epsilon")
        and layer.post_attention_layernorm.variance_epsilon == layer.input_layernorm.variance_epsilon  # type: ignore[union-attr]
        and all(isinstance(getattr(attention, name), nn.Linear) for name in PROJECTIONS)
        and all(isinstance(getattr(mlp, name), nn.Linear) for name in GATED)
    )


def _is_plain(layer: nn.Module) -> bool:
    """Whether nothing listens in it, and its parameters are of one type, each in one piece of this machine's memory."""
    if any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in layer.modules()):
        return False
    parameters = list(layer.parameters())
    dtypes = {p.dtype for p in parameters}
    return dtypes in ({torch.float32}, {torch.bfloat16}) and all(
        type(p) is nn.Parameter and p.is_cpu and p.is_contiguous() for p in parameters
    )


def _address(value: Tensor | None) -> int | None:
    return None if value is None else value.data_ptr()


def _agrees(layer: Any, weights: _Weights) -> bool:
    """Whether two rows at places of their own come out as by the layer's own forward, and so do the keys and values."""
    dtype = layer.input_layernorm.weight.dtype
    try:
        theirs, ours = _tried(layer, weights, []), _tried(layer, weights, [layer])
    except Exception as error:  # whatever a layer raises that is called another way  # noqa: BLE001
        log.info("%s is computed by torch: %s: %s", type(layer).__name__, type(error).__name__, error)
        return False
    off = max(float((a - b).norm() / a.norm().clamp(min=1e-30)) for a, b in zip(theirs, ours, strict=True))
    if not off <= TOLERANCE[dtype]:
        log.info("%s is computed by torch: in C it differs by %.2g", type(layer).__name__, off)
        return False
    return True


def _tried(layer: Any, weights: _Weights, how: Sequence[nn.Module]) -> list[Tensor]:
    """What a layer adds to four inputs, and the keys and values behind it; `how`: of what is computed in C."""
    dtype, number = layer.input_layernorm.weight.dtype, int(layer.self_attn.layer_idx)
    hidden = _some((2, 2, weights.hidden), 4).to(dtype)
    angles = _some((2, 2, weights.dim // 2), 5).repeat(1, 1, 2)
    cache = RaggedCache(number + 1, 16)
    keys, values = (_some((2, weights.kv_heads, 16, weights.dim), seed).to(dtype) for seed in (6, 7))
    kept = cache.layers[number]
    kept.lazy_initialization(keys, values)
    kept.keys.copy_(keys)
    kept.values.copy_(values)
    cache.set_positions(torch.tensor([[3, 4], [9, 10]]), 11)
    with torch.inference_mode(), fused(how):
        out: Tensor = layer(
            hidden, attention_mask=cache.mask(dtype), position_ids=cache.positions, past_key_values=cache, use_cache=True,
            position_embeddings=(angles.cos().to(dtype), angles.sin().to(dtype)),
        )  # fmt: skip
    return [(out - hidden).float(), kept.keys.float(), kept.values.float()]


def _some(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
