"""What transformers was seen to do otherwise than one would think, and what is done here instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wmtp.generation.sampling import nucleus
from wmtp.models.architectures.families import FAMILIES
from wmtp.models.load import load_model
from wmtp.testing.mtp_models import write_mtp_model


def test_tokens_that_tie_with_the_last_of_a_nucleus_are_in_it() -> None:
    """transformers keeps the one with the higher id and drops the other."""
    logits = torch.tensor([[0.4, 0.2, 0.2, 0.2]]).log()
    assert nucleus(logits, 0.5).tolist() == [[True, True, True, True]]
    assert nucleus(logits, 0.4).tolist() == [[True, False, False, False]]
    even = torch.zeros(1, 5)
    assert nucleus(even, 1e-6).all()


@pytest.mark.parametrize("family", ["mimo", "ernie4.5"])
def test_rotary_frequencies_are_not_rounded_in_half_precision(tmp_path: Path, tokenizer: object, family: str) -> None:
    """`model.to(bfloat16)` rounds them; what is loaded in bfloat16 turns positions as in float32, in trunk and modules."""
    folder = write_mtp_model(tmp_path / "model", family).folder
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    whole, half = (
        load_model(folder, device="cpu", dtype=dtype, architectures=FAMILIES).model for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == torch.bfloat16
    found = half.model.rotary_emb.inv_freq
    assert found.dtype == torch.float32
    assert torch.equal(found, whole.model.rotary_emb.inv_freq)
    assert not torch.equal(found, found.bfloat16().float()), "rounding would not be seen with these frequencies"
