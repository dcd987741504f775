"""What heads give a known text, against the dense forward's own logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import wmtp.generation.likelihood
from wmtp.errors import GenerationError
from wmtp.generation.engine import DecodingEngine

PROMPT, TEXT = "def f(x):", "\n    return x\n"


@pytest.mark.parametrize("at_once", [259, 1 << 24])
@pytest.mark.parametrize("heads", [None, 2])
def test_scores_are_those_of_the_dense_logits(
    mtp_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, at_once: int, heads: int | None
) -> None:
    monkeypatch.setattr(wmtp.generation.likelihood, "AT_ONCE", at_once)
    model = mtp_model("bad")
    found = DecodingEngine(model, tokenizer, identity={}, n_heads=heads, speculative="off").head_scores(PROMPT, TEXT)
    ids = tokenizer(PROMPT + TEXT)["input_ids"]
    start = len(tokenizer(PROMPT)["input_ids"])
    with torch.inference_mode():
        logits = model(torch.tensor([ids]), return_all_heads=True).logits[0].log_softmax(-1)
    assert len(found.loss) == (heads or 4)
    for head, (loss, right, tokens) in enumerate(zip(found.loss, found.right, found.scored, strict=True)):
        places = [(p - 1 - head, ids[p]) for p in range(start, len(ids))]
        assert tokens == len(places) == len(TEXT)
        assert loss == pytest.approx(-sum(float(logits[at, head, token]) for at, token in places), rel=1e-5)
        assert right == sum(int(logits[at, head].argmax()) == token for at, token in places)


def test_heads_that_have_nowhere_to_look_from_score_fewer_tokens(mtp_model: Any, tokenizer: Any) -> None:
    """Behind a prompt of one token, head i cannot predict the first i."""
    found = DecodingEngine(mtp_model("bad"), tokenizer, identity={}).head_scores("", "abcdef")
    assert (found.tokens, found.scored) == (6, (6, 5, 4, 3))
    short = DecodingEngine(mtp_model("bad"), tokenizer, identity={}).head_scores("", "a")
    assert short.scored == (1, 0, 0, 0)


def test_other_models_have_one_head(tokenizer: Any) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=4, n_positions=64)).eval()
    found = DecodingEngine(model, tokenizer, identity={}).head_scores(PROMPT, TEXT)
    ids = torch.tensor([tokenizer(PROMPT + TEXT)["input_ids"]])
    labels = ids.clone()
    labels[:, : len(tokenizer(PROMPT)["input_ids"])] = -100
    with torch.inference_mode():
        wanted = float(model(ids, labels=labels).loss)
    assert found.loss[0] / found.tokens == pytest.approx(wanted, rel=1e-5)


def test_what_does_not_fit_the_context_is_refused(mtp_model: Any, tokenizer: Any) -> None:
    with pytest.raises(GenerationError, match="context of 256"):
        DecodingEngine(mtp_model("bad"), tokenizer, identity={}).head_scores(PROMPT, "x" * 300)
