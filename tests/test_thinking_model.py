"""A chat model that thinks and fences its answers, from its template through the local engine to its score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.testing.byte_tokenizer import byte_tokenizer

WIDTH, POSITIONS = 768, 2048
SPECIAL = ("<pad>", "<s>", "</s>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
NAMES = ("double", "triple", "square")
BODIES = {"double": "2 * x", "triple": "3 * x", "square": "x * x"}
FAR = {"double": 0, "triple": 500, "square": 1000}  # so that their answers stand at positions of their own


def row(name: str, number: int) -> dict[str, Any]:
    code = f"def {name}(x):\n    return {BODIES[name]}"
    tests = [f"assert {name}(3) == {eval(BODIES[name], {'x': 3})}"]
    return {
        "task_id": number, "text": f"Write a function. {'.' * FAR[name]}", "code": code, "test_list": tests,
        "test_setup_code": "", "challenge_test_list": [],
    }  # fmt: skip


def tokenizer_of_bytes() -> Any:
    return byte_tokenizer(SPECIAL, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>", chat_template=TEMPLATE)


def model_that_writes(where: Path, tokenizer: Any, answers: Sequence[tuple[int, list[int]]]) -> None:
    """A GPT-2 of positions alone: behind a prompt of so many tokens it writes these ids."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    places = [start - 1 + i for start, ids in answers for i in range(len(ids))]
    tokens = [token for _, ids in answers for token in ids]
    assert len(set(places)) == len(places) < WIDTH
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=POSITIONS, n_embd=WIDTH, n_layer=1, n_head=4, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=3, pad_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wte.weight.zero_()
        model.transformer.wpe.weight.copy_(torch.randn(POSITIONS, WIDTH))
        for part in (model.transformer.h[0].attn.c_proj, model.transformer.h[0].mlp.c_proj):
            part.weight.zero_()
            part.bias.zero_()
        states = torch.nn.functional.layer_norm(model.transformer.wpe.weight, (WIDTH,)).double()[places]
        wanted = torch.zeros(len(tokens), len(tokenizer), dtype=torch.float64)
        wanted[torch.arange(len(tokens)), torch.tensor(tokens)] = 30.0
        model.lm_head.weight.copy_((torch.linalg.pinv(states) @ wanted).T.float())
    model.save_pretrained(where)
    tokenizer.save_pretrained(where)


@pytest.mark.parametrize("opened", [True, False], ids=["the template opens thinking", "the model opens it"])
def test_a_model_that_thinks_and_fences_scores_what_its_answers_are_worth(tmp_path: Path, opened: bool) -> None:
    rows = [row(name, number) for number, name in enumerate(NAMES, 11)]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    tokenizer = tokenizer_of_bytes()
    settings = {"chat": True, "shots": 0, "template_args": {"enable_thinking": opened}}
    recipe: dict[str, Any] = {
        "run": {"name": "thinks"},
        "model": {"base_id": str(tmp_path / "model")},
        "eval": {
            "metrics": ["mbpp_pass@1"],
            "sampling": {"max_new_tokens": 200},
            "evaluators": {"mbpp-v1": settings},
            "batch_size": 2,
        },
    }
    from wmtp_eval_mbpp.benchmark import _question

    answers = []
    for each, name in zip(rows, NAMES, strict=True):
        turns = [{"role": "user", "content": _question(each)}]
        prompt = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=opened
        )
        draft = f"Maybe\n```python\ndef {name}(x):\n    return 0\n```\nNo.\n"
        text = f"{'' if opened else '<think>' + chr(10)}{draft}</think>\n\n```python\n{each['code']}\n```\nSo."
        if name == "square":  # it never stops thinking
            text = text.replace("</think>", "Hm.")
        encoded = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, text)]
        answers.append((len(encoded[0]), [*encoded[1], 3]))
    model_that_writes(tmp_path / "model", tokenizer, answers)
    config = {"project": "t", "paths": {"datasets": {"mbpp_local": str(tmp_path / "mbpp.jsonl")}},
              "judging": {"level": "auto", "workers": 1}}  # fmt: skip
    plugins = wmtp.create_plugin_manager()
    results = wmtp.evaluate(
        *wmtp.load_configuration(config, recipe, plugins=plugins), plugins=plugins, runs=tmp_path / "runs"
    )
    run = wmtp.open_run(results.folder)
    samples = {s.key.problem: s for s in run.samples("mbpp-v1")}
    values = {
        line["problem"]: line["values"]["mbpp_pass@1"]
        for line in map(json.loads, (results.folder / "values/mbpp-v1.jsonl").read_text().splitlines())
    }
    assert values == {"11": 1.0, "12": 1.0, "13": 0.0}, "1.0 where its answers are right"
    assert results.metrics["mbpp_pass@1"].value == pytest.approx(2 / 3)
    assert [samples[p].extra["rule"] for p in ("11", "12", "13")] == ["block", "block", "unclosed thinking"]
    assert [samples[p].finish_reason for p in ("11", "12", "13")] == ["stop"] * 3
    assert samples["11"].extra["thinking"] == "closed"
    assert "return 0" in samples["11"].completion
    report = (results.folder / "report.md").read_text()
    assert "| 1 | unclosed thinking |" in report
