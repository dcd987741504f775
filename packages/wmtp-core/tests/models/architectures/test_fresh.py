"""Modules that are made, trained, and written under their family's names come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import wmtp
from wmtp.models.architectures.families import FAMILIES
from wmtp.models.load import load_model
from wmtp.testing.mtp_models import write_mtp_model


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("family", ["mimo", "ernie4.5", "deepseek-v3", "glm4-moe", "hy-v3"])
def test_new_modules_are_written_and_found_again(tmp_path: Path, byte_tokenizer: Any, family: str, count: int) -> None:
    trunk = write_mtp_model(tmp_path / "source", family).trunk
    spec = next(s for s in FAMILIES if s.name == family)
    modules = wmtp.new_modules(trunk, spec, count)
    folder = tmp_path / "made"
    trunk.save_pretrained(folder)
    byte_tokenizer.save_pretrained(folder)
    wmtp.save_modules(modules, folder)
    again = load_model(folder, device="cpu", dtype="float32", architectures=FAMILIES)
    assert (again.heads.family, again.heads.modules, again.heads.declared, again.heads.used) == (
        family,
        count,
        count,
        True,
    )
    ids = torch.randint(3, 250, (1, 12), generator=torch.Generator().manual_seed(1))
    found = []
    for one in (modules.eval(), again.modules):
        assert one is not None
        with torch.inference_mode():
            hidden = one.first_hidden(*one.trunk.run(input_ids=ids, use_cache=False))
            found.append([one.project(d, states) for d, states in enumerate(one.all_states(ids, hidden, 3))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_gradients_reach_every_parameter_and_rows_are_independent(tmp_path: Path) -> None:
    trunk = write_mtp_model(tmp_path / "source", "mimo").trunk.requires_grad_(False)
    modules = wmtp.new_modules(trunk, next(s for s in FAMILIES if s.name == "mimo"), 2)
    ids = torch.randint(3, 250, (3, 12), generator=torch.Generator().manual_seed(1))
    hidden = modules.first_hidden(*modules.trunk.run(input_ids=ids, use_cache=False))
    whole = [modules.project(d, states) for d, states in enumerate(modules.all_states(ids, hidden, 2))]
    alone = modules.all_states(ids[1:2], hidden[1:2], 2)
    for d, logits in enumerate(whole):
        assert torch.allclose(logits[1:2], modules.project(d, alone[d]), atol=1e-5)
    sum(logits[:, :-3].square().mean() for logits in whole).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and bool(p.grad.any()) for p in modules.parameters())
    assert all(p.grad is None for p in trunk.parameters())
