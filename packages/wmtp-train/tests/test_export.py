"""An export is opened by everybody, and writes the same; its drafts are what training its heads was for."""

from __future__ import annotations

from typing import Any

import torch
from tiny_training import ROWS, Bench, byte_tokenizer
from transformers import AutoModelForCausalLM, LlamaForCausalLM

import wmtp
from wmtp_train.export import export

TOKENS = 12


def by_wmtp(bench: Bench, place: Any) -> tuple[list[list[int]], int]:
    """What it writes greedily, as ids, and how many drafts were right."""
    request = bench.request(model={"base_id": str(place)})
    engine: Any = wmtp.create_model_loader(request.config, request.recipe, plugins=bench.plugins).load()
    asked = [
        wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem=str(n), index=0), prompt=row["prompt"], max_new_tokens=TOKENS
        )
        for n, row in enumerate(ROWS)
    ]
    found = {one.key.problem: one.token_ids for one in engine.generate(asked, wmtp.Sampling(max_new_tokens=TOKENS))}
    return [list(found[str(n)]) for n in range(len(asked))], sum(engine.stats.accepted)


def by_transformers(model: Any) -> list[list[int]]:
    found = []
    for row in ROWS:
        ids = torch.tensor([byte_tokenizer()(row["prompt"])["input_ids"]])
        out = model.generate(
            ids, max_new_tokens=TOKENS, do_sample=False, attention_mask=torch.ones_like(ids), pad_token_id=1
        )
        found.append(out[0, ids.shape[1] :].tolist())
    return found


def test_wmtp_transformers_and_a_plain_llama_write_the_same_and_trained_heads_are_accepted_more_often(
    bench: Bench,
) -> None:
    changes = {"max_steps": 30, "batch_size": 10, "micro_batch_size": 10}
    bench.train(train=changes, checkpoint={"every": 100})
    place = export(bench.request(train=changes, checkpoint={"every": 100}), bench.of().whole()[-1])
    tokens, accepted = by_wmtp(bench, place)
    auto = AutoModelForCausalLM.from_pretrained(place)
    assert isinstance(auto, wmtp.MtpLlamaForCausalLM)
    wanted = by_transformers(auto)
    assert by_transformers(LlamaForCausalLM.from_pretrained(place)) == wanted, "extra heads are dropped"
    assert [[*one, 1] if len(one) < TOKENS and one[-1:] != [1] else one for one in tokens] == wanted
    assert accepted > by_wmtp(bench, bench.recipe["model"]["base_id"])[1]
