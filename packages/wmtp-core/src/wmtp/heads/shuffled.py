"""Modules whose weights are dealt anew within every matrix: what untrained modules of the same scale give."""

from __future__ import annotations

import copy

import torch

from wmtp.models.architectures.module import SequentialModules


def shuffled_copy(modules: SequentialModules, seed: int) -> SequentialModules:
    """A copy with the entries of every matrix in another order; norms stay. The trunk is shared."""
    generator = torch.Generator().manual_seed(seed)
    items = copy.deepcopy(modules.items)
    with torch.no_grad():
        for parameter in items.parameters():
            if parameter.dim() > 1:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    made = SequentialModules(modules.trunk, list(items), modules.spec)  # type: ignore[arg-type]
    made.convention = modules.convention
    return made.eval()
