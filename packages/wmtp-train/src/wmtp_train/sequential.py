"""Sequential modules (DeepSeek's kind) as further heads of the model that they stand behind, and which weights are trained."""

from __future__ import annotations

import logging
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

import wmtp
from wmtp_train import models

log = logging.getLogger("wmtp.train")
PREFIX = "mtp_modules."
"""What the names of a model's parameters begin with where they are its modules'."""


def prepare(loaded: wmtp.LoadedModel) -> str:
    """Gives a loaded model the methods that the trainer asks for; modules that can be trained become heads of it.

    Returns:
        Why stored modules are not heads; empty where they are, or where there are none.

    Raises:
        ConfigError: As `models.prepare`.
    """
    model = loaded.model
    if hasattr(model, "head_states"):
        return ""
    models.prepare(model)
    modules = loaded.modules
    if modules is None:
        return loaded.heads.why
    if why := _untrainable(modules):
        return f"{modules.spec.name}: {why}"
    model.mtp_modules = modules.requires_grad_(True)
    for method in (head_states, head_count, shardable):
        setattr(model, method.__name__, MethodType(method, model))
    return ""


def _untrainable(modules: Any) -> str:
    if any(module.head is not None for module in modules.items):
        return "its modules have output matrices of their own, and the trainer has one for all heads"
    if modules.count > 1 and not all("{" in start for start in modules.spec.tensors):
        return "its modules share tensors with one another"
    return ""


def head_states(
    self: Any, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor | None, cache: None, n_heads: int
) -> Tensor:
    """States behind the norm in front of the output matrix, the trunk's first: [heads, batch, width, hidden]."""
    modules = self.mtp_modules
    before, behind = modules.trunk.run(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=models.added(self, attention_mask),
        use_cache=False,
        return_dict=True,
    )
    depth = n_heads - 1
    hidden = modules.first_hidden(before, behind)
    found = modules.all_states(input_ids, hidden, depth, positions=position_ids, seen=attention_mask) if depth else []
    return torch.stack([behind, *(modules.normed(step, states) for step, states in enumerate(found))])


def head_count(self: Any) -> int:
    """The next-token head, and one for each module."""
    return 1 + int(self.mtp_modules.count)


def shardable(self: Any) -> list[nn.Module]:
    """The trunk's layers, then the modules'."""
    return [*models.layers_of(self), *(module.block for module in self.mtp_modules.items)]


def detached(model: Any) -> Any:
    """Takes the modules off a model again, so that it is transformers' own, and returns them."""
    modules = getattr(model, "mtp_modules", None)
    if modules is not None:
        del model.mtp_modules
    return modules


def choose_trained(model: Any, heads: int, *, freeze_trunk: bool) -> None:
    """Says which parameters are trained: modules and extra heads that are none of `heads` are not, nor a frozen trunk.

    Raises:
        ConfigError: Nothing would be left.
    """
    modules = getattr(model, "mtp_modules", None)
    further = getattr(model, "extra_heads", ()) if modules is None else modules.items
    for module in further[max(heads - 1, 0) :]:
        module.requires_grad_(False)
    if not freeze_trunk:
        return
    trained = tuple(f"{of}{number}." for number in range(heads - 1) for of in (f"{PREFIX}items.", "extra_heads."))
    for name, parameter in model.named_parameters():
        if not name.startswith(trained):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise wmtp.ConfigError(
            "train.heads.freeze_trunk leaves nothing to train: the model has no heads beside the next-token head, or "
            "train.heads.count asks for none"
        )
