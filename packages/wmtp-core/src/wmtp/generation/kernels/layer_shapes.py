"""Decoder layers of transformers as ``decoder_layer.c`` takes them: which they are, their weights by address, their sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

MOST_DIM = 256  # of a head

POINTERS = (
    "norm1", "mixed_norm", "norm2", "fed_norm", "q", "k", "v", "q_bias", "k_bias", "v_bias", "q_norm", "k_norm", "in",
    "in_gate", "betas", "decays", "conv", "dt_bias", "a_log", "head_norm", "o", "o_bias", "gate", "up", "down", "router",
    "experts_in", "experts_out", "shared_gate",
)  # fmt: skip
SIZES = (
    "hidden", "inner", "heads", "kv_heads", "dim", "value_heads", "key_heads", "value_dim", "key_dim", "taps", "experts",
    "each", "expert_inner",
)  # fmt: skip
REALS = ("eps", "head_eps", "scale", "cap")
FLAGS = ("bytes", "from_one", "gelu", "gated", "shares_sum")


class Weights(ctypes.Structure):
    """``struct wmtp_layer``."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_ssize_t) for name in SIZES),
        *((name, ctypes.c_float) for name in REALS),
        *((name, ctypes.c_int) for name in FLAGS),
    ]


@attrs.frozen
class _Traits:
    """What layers of one type do that their parts do not tell.

    Attributes:
        from_one: the weights of their norms count from 1, and multiply before a number is rounded.
        behind: a norm stands behind either half as well.
        gated: queries bring gates for what attention gives, and positions may turn a part of each head only.
        capped: their attention takes a cap for its scores.
    """

    from_one: bool = False
    behind: bool = False
    gated: bool = False
    capped: bool = False


def _named(module: str, name: str) -> str:
    return f"transformers.models.{module}.modeling_{module}.{name}DecoderLayer"


TYPES: Mapping[str, _Traits] = {
    **{_named(name.lower(), name): _Traits() for name in ("Llama", "Mistral", "Qwen2", "Qwen3")},
    _named("gemma2", "Gemma2"): _Traits(from_one=True, behind=True, capped=True),
    _named("gemma3", "Gemma3"): _Traits(from_one=True, behind=True),
    _named("qwen3_next", "Qwen3Next"): _Traits(from_one=True, gated=True),
    _named("qwen3_5", "Qwen3_5"): _Traits(from_one=True, gated=True),
    _named("qwen3_5_moe", "Qwen3_5Moe"): _Traits(from_one=True, gated=True),
}
"""Layers of transformers that do nothing else, at any position: others of the same parts scale by position, or turn nothing."""

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
HEAD_NORMS = ("q_norm", "k_norm")
GATED = ("gate_proj", "up_proj", "down_proj")
RULE = {"conv1d", "norm", "out_proj"}
RULE_TOGETHER, RULE_APART = ("in_proj_qkvz", "in_proj_ba"), ("in_proj_qkv", "in_proj_b", "in_proj_a", "in_proj_z")
EXPERTS = {"gate", "experts", "shared_expert", "shared_expert_gate"}
ACTIVATIONS = {"SiLU": 0, "SiLUActivation": 0, "GELUTanh": 1}


@attrs.define(eq=False)
class LayerShape:
    """A layer as C takes it.

    Attributes:
        weights: by address.
        number: of its place in the cache.
        recurrent: whether it keeps a state, and no keys.
        kind: equal for layers that are computed alike.
        room: scratch that layers of a model share.
    """

    weights: Weights
    number: int
    dtype: torch.dtype
    recurrent: bool
    kind: tuple[Any, ...]
    room: dict[str, Tensor]
    _children: dict[str, Any]
    _modules: list[tuple[nn.Module, type, dict[str, Any]]]
    _parameters: list[tuple[dict[str, Any], str, Tensor, int]]

    def is_still(self, layer: nn.Module) -> bool:
        """Whether the layer is what it was, down to where its numbers lie. Asked before every completion, so it is quick."""
        if _is_watched(layer) or layer._modules != self._children:
            return False
        for module, kind, children in self._modules:
            if (type(module) is not kind and type(module).__name__ != "SkinnyLinear") or _is_watched(module):
                return False
            if module._modules != children:
                return False
        for held, name, parameter, address in self._parameters:
            if held.get(name) is not parameter or parameter.data_ptr() != address or parameter.dtype is not self.dtype:
                return False
        return True


def shape_of(layer: Any) -> LayerShape | None:
    """A layer that C can compute; ``None`` for any other, and for one that something else watches."""
    traits = TYPES.get(f"{type(layer).__module__}.{type(layer).__name__}")
    if traits is None or not _is_plain(layer):
        return None
    recurrent = "linear_attn" in layer._modules
    try:
        found = _Parts(traits)
        mixer = layer.linear_attn if recurrent else layer.self_attn
        found.norms(layer, {"linear_attn" if recurrent else "self_attn", "mlp"})
        (found.rule if recurrent else found.attention)(mixer)
        found.feeding(layer.mlp)
    except (_OtherError, AttributeError):
        return None
    return found.shape(layer, int(mixer.layer_idx), recurrent)


class _OtherError(Exception):
    """This layer does something else."""


def _must(holds: bool) -> None:
    if not holds:
        raise _OtherError


class _Parts:
    """Collects what C takes of one layer. What is not as expected raises _OtherError, or AttributeError."""

    def __init__(self, traits: _Traits) -> None:
        self.traits = traits
        self.tensors: dict[str, Tensor] = {}
        self.numbers: dict[str, Any] = {"from_one": traits.from_one, "gated": traits.gated}

    def put(self, name: str, tensor: Tensor, *shape: int) -> None:
        _must(tuple(tensor.shape) == shape)
        self.tensors[name] = tensor

    def linear(self, name: str, module: Any, outs: int, width: int, *, biased: bool = False) -> None:
        _must(isinstance(module, nn.Linear) and not (outs % 4 or width % 16))
        self.put(name, module.weight, outs, width)
        if module.bias is not None:
            _must(biased)
            self.put(f"{name}_bias", module.bias, outs)

    def norms(self, layer: Any, others: set[str]) -> None:
        names = {"norm1": "input_layernorm", "norm2": "post_attention_layernorm"}
        if self.traits.behind:
            names |= {
                "mixed_norm": "post_attention_layernorm", "norm2": "pre_feedforward_layernorm",
                "fed_norm": "post_feedforward_layernorm",
            }  # fmt: skip
        _must(set(layer._modules) == {*names.values(), *others})
        hidden = self.numbers["hidden"] = len(layer.input_layernorm.weight)
        norms = {name: getattr(layer, of) for name, of in names.items()}
        for name, norm in norms.items():
            self.put(name, norm.weight, hidden)
        self.numbers["eps"] = _epsilon(*norms.values())

    def attention(self, attention: Any) -> None:
        numbers, hidden, dim = self.numbers, self.numbers["hidden"], attention.head_dim
        _must(set(attention._modules) in ({*PROJECTIONS}, {*PROJECTIONS, *HEAD_NORMS}))
        _must(isinstance(dim, int) and not dim % 8 and 0 < dim <= MOST_DIM and isinstance(attention.scaling, float))
        of_heads, of_keys = attention.o_proj.in_features, attention.k_proj.out_features
        _must(not (of_heads % dim or of_keys % dim or of_keys % 16) and of_heads % of_keys == 0)
        numbers |= {"dim": dim, "heads": of_heads // dim, "kv_heads": of_keys // dim, "scale": attention.scaling}
        self.linear("q", attention.q_proj, of_heads * (2 if self.traits.gated else 1), hidden, biased=True)
        self.linear("k", attention.k_proj, of_keys, hidden, biased=True)
        self.linear("v", attention.v_proj, of_keys, hidden, biased=True)
        self.linear("o", attention.o_proj, hidden, of_heads, biased=True)
        norms = [attention._modules[name] for name in HEAD_NORMS if name in attention._modules]
        for name, norm in zip(HEAD_NORMS, norms, strict=False):
            self.put(name, norm.weight, dim)
        numbers["head_eps"] = _epsilon(*norms) if norms else 0.0
        numbers["cap"] = (attention.attn_logit_softcapping or 0.0) if self.traits.capped else 0.0

    def rule(self, rule: Any) -> None:
        numbers, hidden = self.numbers, self.numbers["hidden"]
        apart = "in_proj_z" in rule._modules
        _must(set(rule._modules) == {*RULE, *(RULE_APART if apart else RULE_TOGETHER)})
        sizes = {
            "value_heads": rule.num_v_heads, "key_heads": rule.num_k_heads, "value_dim": rule.head_v_dim,
            "key_dim": rule.head_k_dim, "taps": rule.conv_kernel_size,
        }  # fmt: skip
        heads, key_heads, value_dim, key_dim, taps = sizes.values()
        _must(max(value_dim, key_dim) <= MOST_DIM and not (value_dim % 8 or key_dim % 8 or heads % key_heads))
        numbers |= sizes
        values, channels = heads * value_dim, 2 * key_heads * key_dim + heads * value_dim
        if apart:
            outs = {"in": channels, "betas": heads, "decays": heads, "in_gate": values}
            for (name, wide), part in zip(outs.items(), RULE_APART, strict=True):
                self.linear(name, getattr(rule, part), wide, hidden)
        else:
            self.linear("in", rule.in_proj_qkvz, channels + values, hidden)
            self.linear("betas", rule.in_proj_ba, 2 * heads, hidden)
        self.linear("o", rule.out_proj, hidden, values)
        _must(rule.activation in ("silu", "swish") and rule.norm.activation == "silu" and rule.conv1d.bias is None)
        self.put("conv", rule.conv1d.weight, channels, 1, taps)
        self.put("dt_bias", rule.dt_bias, heads)
        self.put("a_log", rule.A_log, heads)
        self.put("head_norm", rule.norm.weight, value_dim)
        numbers["head_eps"] = _epsilon(rule.norm)

    def feeding(self, mlp: Any) -> None:
        if "experts" not in mlp._modules:
            self.product(mlp)
            return
        experts, router, hidden = mlp.experts, mlp.gate, self.numbers["hidden"]
        _must(set(mlp._modules) == EXPERTS and not self.traits.behind)
        self.product(mlp.shared_expert)
        self.put("shared_gate", mlp.shared_expert_gate.weight, 1, hidden)
        _must(mlp.shared_expert_gate.bias is None and set(experts._parameters) == {"gate_up_proj", "down_proj"})
        _must(set(router._parameters) == {"weight"} and not router._modules and router.num_experts % 4 == 0)
        _must(experts.has_gate and not (experts.has_bias or experts.is_transposed or experts._is_expert_parallel))
        _must(experts.is_concatenated and not experts.has_post_expert_norm)
        _must(ACTIVATIONS.get(type(experts.act_fn).__name__) == self.numbers["gelu"])
        count, wide = router.num_experts, experts.down_proj.shape[-1]
        _must(not wide % 16 and 0 < router.top_k <= count)
        self.numbers |= {"experts": count, "each": router.top_k, "expert_inner": wide}
        self.numbers["shares_sum"] = bool(getattr(router, "norm_topk_prob", True))
        self.put("router", router.weight, count, hidden)
        self.put("experts_in", experts.gate_up_proj, count, 2 * wide, hidden)
        self.put("experts_out", experts.down_proj, count, hidden, wide)

    def product(self, mlp: Any) -> None:
        _must(set(mlp._modules) == {*GATED, "act_fn"})
        activation = ACTIVATIONS.get(type(mlp.act_fn).__name__)
        _must(activation is not None)
        hidden, inner = self.numbers["hidden"], mlp.gate_proj.out_features
        _must(inner > 0 and not inner % 16)  # transformers takes an expert of no units, which adds nothing
        self.numbers |= {"gelu": activation, "inner": inner}
        self.linear("gate", mlp.gate_proj, inner, hidden)
        self.linear("up", mlp.up_proj, inner, hidden)
        self.linear("down", mlp.down_proj, hidden, inner)

    def shape(self, layer: Any, number: int, recurrent: bool) -> LayerShape:
        dtype = self.tensors["norm1"].dtype
        self.numbers["bytes"] = dtype.itemsize
        weights = Weights(**self.numbers, **{name: tensor.data_ptr() for name, tensor in self.tensors.items()})
        inside = [module for module in layer.modules() if module is not layer]
        return LayerShape(
            weights, number, dtype, recurrent, (type(layer), *sorted(self.tensors), *sorted(self.numbers.items())), {},
            dict(layer._modules), [(module, type(module), dict(module._modules)) for module in inside],
            [(module._parameters, name, p, p.data_ptr()) for module, name, p in _parameters(inside)],
        )  # fmt: skip


def _parameters(modules: list[nn.Module]) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for module in modules:
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield module, name, parameter


def _epsilon(*norms: Any) -> float:
    """What norms add to their mean square: one number for all."""
    found = {norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps for norm in norms}
    _must(len(found) == 1)
    return float(found.pop())


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)


def _is_plain(layer: nn.Module) -> bool:
    """Whether nothing listens in it, and its parameters are of one type, each in one piece of this machine's memory."""
    if any(map(_is_watched, layer.modules())):
        return False
    parameters = list(layer.parameters())
    dtypes = {p.dtype for p in parameters}
    return dtypes in ({torch.float32}, {torch.bfloat16}) and all(
        type(p) is nn.Parameter and p.is_cpu and p.is_contiguous() for p in parameters
    )
