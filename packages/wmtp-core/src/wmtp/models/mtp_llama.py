"""A Llama that predicts several tokens: the trunk and next-token head of Llama, plus extra heads.

The architecture of Gloeckle et al., "Better & Faster Large Language Models via Multi-token Prediction" (arXiv 2404.19737),
as their released checkpoints have it: every head is one transformer block that takes the trunk's output, and all heads
share the final norm and the output matrix. Head i at position t predicts token t + 1 + i; head 0 is the next-token head,
which is Llama's own last layer.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers import AutoConfig, AutoModelForCausalLM, Cache, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer


class MtpLlamaConfig(LlamaConfig):  # type: ignore[misc]
    """Llama's configuration and `n_future_tokens`, the heads in all. ``num_hidden_layers`` counts trunk and head 0.

    variant: that of the checkpoint of Meta's that it was converted from, if it was.
    """

    model_type = "mtp_llama"

    n_future_tokens: int = 1
    variant: str = ""


class MtpLlamaForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """`extra_heads[i]` is head i + 1; its layer index continues after the trunk's, so that one cache serves all."""

    config: MtpLlamaConfig
    config_class = MtpLlamaConfig

    def __init__(self, config: MtpLlamaConfig) -> None:
        super().__init__(config)
        first = config.num_hidden_layers
        self.extra_heads = nn.ModuleList(
            [LlamaDecoderLayer(config, first + i) for i in range(config.n_future_tokens - 1)]
        )
        self.post_init()

    def forward(self, *args: Any, return_all_heads: bool = False, **kwargs: Any) -> CausalLMOutputWithPast:
        """Logits of the next token [batch, sequence, vocabulary]; with `return_all_heads` those of all heads
        [batch, sequence, heads, vocabulary].

        All heads together take `input_ids`, and optionally a 2-D padding or 4-D boolean `attention_mask`,
        `position_ids` and a cache with layers for the extra heads. Everything else is Llama's own forward.
        """
        if not return_all_heads:
            return super().forward(*args, **kwargs)
        states, cache = self._all_states(*args, **kwargs)
        return CausalLMOutputWithPast(logits=self.project(states).movedim(0, 2), past_key_values=cache)

    def _all_states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        **_: Any,
    ) -> tuple[Tensor, Cache | None]:
        batch, width = input_ids.shape
        if position_ids is None:
            start = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = torch.arange(start, start + width, device=input_ids.device).expand(batch, width)
        if attention_mask is None or attention_mask.dim() == 2:
            length = int(position_ids.max()) + 1
            mask = torch.arange(length, device=input_ids.device) <= position_ids[:, None, :, None]
            if attention_mask is not None:
                # A query always sees itself, so that padding rows hold finite numbers; nobody reads them.
                itself = torch.arange(length, device=input_ids.device) == position_ids[:, None, :, None]
                mask = mask & (attention_mask[:, None, None, :length].bool() | itself)
            attention_mask = mask
        states = self.head_states(input_ids, position_ids, attention_mask, past_key_values, self.config.n_future_tokens)
        return states, past_key_values

    def head_states(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor | BlockMask | None,
        past_key_values: Cache | None,
        n_heads: int,
    ) -> Tensor:
        """Outputs of the first `n_heads` heads before norm and output.

        Writes keys and values of the trunk and of these heads into the cache: a position that skipped a head leaves that
        head's cache wrong for good.

        Args:
            input_ids: [batch, width].
            position_ids: [batch, width].
            attention_mask: Boolean [batch, 1, width, length], true where seen (or what is added to scores, in floats);
                ``None`` for plain causal attention, which lets SDPA take its flash kernel; or a BlockMask of
                flex attention, which is spelled out where the model runs another kind of attention.
            past_key_values: Cache with layers for trunk and heads, or ``None``.
            n_heads: How many heads to run, head 0 first.

        Returns:
            States, [heads, batch, width, hidden].
        """
        trunk = self.trunk_states(input_ids, position_ids, attention_mask, past_key_values)
        return self.run_heads(trunk, range(n_heads), position_ids, attention_mask, past_key_values)

    def head_count(self) -> int:
        """All heads, the next-token head included."""
        return int(self.config.n_future_tokens)

    def trunk_states(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor | BlockMask | None,
        past_key_values: Cache | None,
    ) -> Tensor:
        """The trunk's output, which every head takes: [batch, width, hidden]. Arguments as in `head_states`."""
        hidden = self.model.embed_tokens(input_ids)
        shared = self._shared(hidden, position_ids, attention_mask, past_key_values)
        for layer in islice(self.model.layers, len(self.model.layers) - 1):  # a slice of it would be a module made anew
            hidden = layer(hidden, **shared)
        return hidden  # type: ignore[no-any-return]

    def run_heads(
        self,
        trunk: Tensor,
        heads: range,
        position_ids: Tensor,
        attention_mask: Tensor | BlockMask | None,
        past_key_values: Cache | None,
    ) -> Tensor:
        """Outputs of these heads before norm and output matrix: [heads, batch, width, hidden]."""
        shared = self._shared(trunk, position_ids, attention_mask, past_key_values)
        blocks = [self.extra_heads[i - 1] if i else self.model.layers[-1] for i in heads]
        return torch.stack([block(trunk, **shared) for block in blocks])

    def _shared(
        self,
        hidden: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor | BlockMask | None,
        past_key_values: Cache | None,
    ) -> dict[str, Any]:
        """What every block takes beside its input."""
        return {
            "attention_mask": self._attention_mask(attention_mask, hidden, position_ids, past_key_values),
            "position_ids": position_ids,
            "past_key_values": past_key_values,
            "use_cache": past_key_values is not None,
            "position_embeddings": self._rotary(hidden, position_ids, past_key_values),
        }

    def _rotary(self, hidden: Tensor, position_ids: Tensor, cache: Cache | None) -> Any:
        """Rotary embeddings of the positions, kept where the cache has room for what belongs to one forward."""
        kept: dict[str, Any] = getattr(cache, "of_forward", {})
        positions, embeddings = kept.get("rotary", (None, None))
        if positions is not position_ids or embeddings[0].dtype != hidden.dtype:
            embeddings = self.model.rotary_emb(hidden, position_ids=position_ids)
            kept["rotary"] = (position_ids, embeddings)
        return embeddings

    def _attention_mask(
        self, given: Tensor | BlockMask | None, hidden: Tensor, position_ids: Tensor, cache: Cache | None
    ) -> Tensor | BlockMask | None:
        """The mask in the form that this kind of attention reads."""
        kind = self.config._attn_implementation
        if isinstance(given, BlockMask):
            if kind == "flex_attention":
                return given
            queries, keys = given.shape[-2:]
            rows = torch.arange(hidden.shape[0], device=hidden.device)[:, None, None, None]
            head = torch.zeros((), dtype=torch.long, device=hidden.device)
            at = torch.arange(queries, device=hidden.device)[None, None, :, None]
            given = given.mask_mod(rows, head, at, torch.arange(keys, device=hidden.device)[None, None, None])
        if given is None and (cache is not None or kind == "eager"):  # neither knows what comes later by itself
            length = int(position_ids.max()) + 1
            given = torch.arange(length, device=hidden.device) <= position_ids[:, None, :, None]
        if given is not None and given.dtype == torch.bool and kind == "eager":  # which adds the mask to its scores
            return torch.zeros(given.shape, dtype=hidden.dtype, device=hidden.device).masked_fill(~given, -torch.inf)
        return given

    def shardable(self) -> list[nn.Module]:
        """The blocks that a trainer shards, checkpoints or moves one by one: layers of the trunk, then the heads."""
        return [*self.model.layers, *self.extra_heads]

    def output_parameters(self) -> list[nn.Parameter]:
        """What `project` depends on. Ask after `head_states` where parameters are sharded: they are whole only then."""
        return [*self.model.norm.parameters(), *self.lm_head.parameters()]

    def project(self, states: Tensor) -> Tensor:
        """Shared norm and output matrix: [..., hidden] → logits [..., vocabulary]."""
        logits: Tensor = self.lm_head(self.model.norm(states))
        return logits


AutoConfig.register("mtp_llama", MtpLlamaConfig, exist_ok=True)
AutoModelForCausalLM.register(MtpLlamaConfig, MtpLlamaForCausalLM, exist_ok=True)
