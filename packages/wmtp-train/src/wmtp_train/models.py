"""What the trainer asks of a model: the states of its heads, the matrix behind them, and the blocks to shard."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

import wmtp
from wmtp.kit import context_of
from wmtp_train.rows import Batch, Rows

TOLERANCE = 1e-3
"""Largest difference, relative to the largest logit, between a model's own logits and those of states and output matrix."""


def prepare(model: nn.Module) -> None:
    """Gives a plain causal model the methods that a model with parallel heads has; it then has one head.

    Raises:
        ConfigError: Its logits are not its output matrix applied to its hidden states, so that no loss can be taken here.
    """
    if hasattr(model, "head_states"):
        return
    if not hasattr(model, "base_model_prefix") or model.get_output_embeddings() is None:  # type: ignore[operator]
        raise wmtp.ConfigError(f"{type(model).__name__} has no output matrix that the trainer could find")
    for method in (head_states, project, head_count, output_parameters, shardable):
        setattr(model, method.__name__, MethodType(method, model))
    _check_logits(model)


def head_states(
    self: Any, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor | None, cache: None, n_heads: int
) -> Tensor:
    """The states behind the trunk's last norm, [1, batch, width, hidden]."""
    trunk = getattr(self, self.base_model_prefix)
    found = trunk(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=added(self, attention_mask),
        use_cache=False,
        return_dict=True,
    )
    return found.last_hidden_state[None]  # type: ignore[no-any-return]


def added(model: Any, seen: Tensor | None) -> Tensor | None:
    """A boolean mask in the form that the model's kind of attention reads: eager attention adds it to its scores."""
    if seen is None or model.config._attn_implementation != "eager":
        return seen
    scores = torch.zeros(seen.shape, dtype=model.dtype, device=seen.device)
    return scores.masked_fill(~seen, torch.finfo(model.dtype).min)


def project(self: Any, states: Tensor) -> Tensor:
    """States → logits."""
    logits: Tensor = self.get_output_embeddings()(states)
    return logits


def head_count(self: Any) -> int:
    """A plain model has one head."""
    return 1


def output_parameters(self: Any) -> list[nn.Parameter]:
    """What `project` depends on."""
    return list(self.get_output_embeddings().parameters())


def shardable(self: Any) -> list[nn.Module]:
    """The layers."""
    return layers_of(self)


def layers_of(model: Any) -> list[nn.Module]:
    """The longest list of modules in the model's trunk."""
    trunk = getattr(model, model.base_model_prefix)
    lists = [list(module) for module in trunk.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def _check_logits(model: Any) -> None:
    """Some families scale or cap their logits behind the output matrix; a loss without that would be another."""
    device = next(model.parameters()).device
    ids = torch.arange(1, 9, device=device)[None] % int(model.get_input_embeddings().weight.shape[0])
    positions = torch.arange(8, device=device)[None]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            own = model(input_ids=ids, use_cache=False).logits.float()
            ours = model.project(model.head_states(ids, positions, None, None, 1)[0]).float()
    finally:
        model.train(training)
    if not torch.allclose(own, ours, rtol=0, atol=TOLERANCE * max(1.0, float(own.abs().max()))):
        raise wmtp.ConfigError(
            f"{type(model).__name__} changes its logits behind the output matrix (it scales or caps them), which this trainer "
            "does not do yet; its loss would be another model's"
        )


def check_packing(model: Any, max_length: int) -> None:
    """Raises ConfigError for a model whose attention cannot be kept within documents of a packed row."""
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    windowed = window is not None and getattr(config, "use_sliding_window", True) and window < max_length
    if kinds or windowed:
        what = f"layers of type {', '.join(sorted(kinds))}" if kinds else f"a window of {window} tokens"
        raise wmtp.ConfigError(
            f"{type(model).__name__} has {what}, and its documents would see one another in a packed row; set "
            "data.train.pack_sequences: false"
        )


def check_context(model: Any, rows: Rows) -> None:
    """Raises ConfigError for documents that are longer than what the model was made for."""
    context = context_of(model.config.get_text_config(decoder=True))
    longest = max(rows.documents, key=lambda one: len(one.ids))
    if len(longest.ids) > context:
        raise wmtp.ConfigError(
            f"example {longest.id} has {len(longest.ids)} tokens, and the model a context of {context} "
            f"(max_position_embeddings); lower max_length to {context} in section data, which cuts such examples"
        )


def attention_mask(batch: Batch) -> Tensor | None:
    """``None`` where plain causal attention is right (padding is at the end), else what each token of a packed row sees."""
    if not batch.packed:
        return None
    width = batch.ids.shape[1]
    causal = torch.ones((width, width), dtype=torch.bool, device=batch.ids.device).tril()
    same = batch.segments[:, :, None] == batch.segments[:, None, :]
    return (causal & same)[:, None]


def states_of(model: Any, batch: Batch, heads: int) -> Tensor:
    """The states of the first heads, [heads, rows, width, hidden]."""
    found: Tensor = model.head_states(batch.ids, batch.positions, attention_mask(batch), None, heads)
    return found


def token_ce(model: Any, states: Tensor, batch: Batch, rows: int = 512) -> Tensor:
    """−log p of each token under the next-token head, where the token lies, [rows, width]; 0 for a document's first.

    Args:
        model: Whose output matrix.
        states: Of the next-token head, [rows, width, hidden].
        batch: The tokens.
        rows: Positions whose logits are in memory at once.
    """
    found = torch.zeros(batch.ids.shape, device=batch.ids.device)
    with torch.no_grad():
        flat, wanted = states.detach()[:, :-1].flatten(0, 1), batch.ids[:, 1:].flatten()
        parts = [
            nn.functional.cross_entropy(
                model.project(flat[start : start + rows][None])[0].float(),
                wanted[start : start + rows],
                reduction="none",
            )
            for start in range(0, len(flat), rows)
        ]
        if parts:
            found[:, 1:] = torch.cat(parts).view(batch.ids.shape[0], -1)
    first = torch.ones_like(batch.exists)
    first[:, 1:] = batch.segments[:, 1:] != batch.segments[:, :-1]
    return found.masked_fill(first | ~batch.exists, 0.0)
