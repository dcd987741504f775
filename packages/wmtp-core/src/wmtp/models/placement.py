"""Where a model's parts lie: on one device, on several, or in memory from which they are fetched when they are run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def input_device(model: Any) -> torch.device:
    """The device that a model takes its token ids on: its first parameter's, or where that one is brought to be run."""
    first: torch.device = next(model.parameters()).device
    if first.type != "meta":
        return first
    for part in model.modules():
        device = getattr(getattr(part, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return first


def tensors_of(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a state, in order of name; what lies elsewhere is brought here one module at a time."""
    held = dict(model.state_dict())
    for name in sorted(held):
        tensor = held[name]
        yield name, _fetched(model, name) if tensor.device.type == "meta" else tensor


def _fetched(model: Any, name: str) -> Tensor:
    """A tensor that accelerate keeps for a module; on the meta device where nobody does."""
    owner, _, own = name.rpartition(".")
    module = model.get_submodule(owner)
    for hook in _hooks(module):
        kept = getattr(hook, "weights_map", None)
        if kept is not None and own in kept:
            return kept[own]  # type: ignore[no-any-return]
    return module.state_dict()[own]  # type: ignore[no-any-return]


def _hooks(module: Any) -> Iterator[Any]:
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", ()) or ((hook,) if hook is not None else ())


@contextmanager
def in_eval_mode(model: Any) -> Iterator[None]:
    """Every module in eval mode within; each in its own mode again behind, as its owner may be training it."""
    found = [model]
    for module in found:  # `modules()` takes a third of a millisecond, and this is entered for every completion
        if module is not None and (parts := module._modules):
            found.extend(parts.values())
    training = [module for module in found if module is not None and module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
