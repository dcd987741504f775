"""Speculative decoding beside plain decoding and beside transformers' generate, in interleaved rounds.

    python benchmarks/decode.py [--quick]

Two models: the demo's trained one (examples/demo-model), and a wide one in Meta's proportions (29 blocks and 3 extra heads,
over 100 M parameters). The wide one has random weights with heads *made to agree*: the last block and the heads add
little to the trunk's output, so that all predict much the same token; its acceptance is therefore no finding, its wall time
per token is. It runs in bfloat16, where four tokens cost a forward little more than one, and in float32, where MKL's product of
four rows takes 1.5 times that of one. The plain side runs no extra head. Drafting is measured, so the engine may not give it
up, but for the last line. Ratios of medians from one run; absolute times mean nothing on a busy machine. Exit status 1 if a
limit is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import wmtp.generation.engine
from wmtp.generation.engine import DecodingEngine
from wmtp.generation.records import GenerationRequest, Sampling
from wmtp.models import load_model
from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def wide_model(vocabulary: int, dtype: torch.dtype) -> MtpLlamaForCausalLM:
    torch.manual_seed(0)
    config = MtpLlamaConfig(
        vocab_size=vocabulary, hidden_size=576, intermediate_size=1536, num_hidden_layers=29, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=1024, n_future_tokens=4, bos_token_id=0, eos_token_id=None,
        pad_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    model = MtpLlamaForCausalLM(config).eval()
    with torch.no_grad():
        # One token follows whatever stands before it, so drafts for later positions can be right as well.
        model.lm_head.weight.zero_()
        model.lm_head.weight[65:73].normal_(0, 0.02)
        for block in (model.model.layers[-1], *model.extra_heads):
            block.self_attn.o_proj.weight.mul_(0.02)
            block.mlp.down_proj.weight.mul_(0.02)
    return model.to(dtype)


def rounds(count: int, runs: dict[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Median of every figure of each run, over interleaved rounds after one that is not counted."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for number in range(count + 1):
        for name, run in runs.items():
            figures = run()
            if number:
                found[name].append(figures)
    return {n: {k: statistics.median(f[k] for f in figures) for k in figures[0]} for n, figures in found.items()}


def ours(loaded: Any, requests: list[GenerationRequest], sampling: Sampling, batch: int, spec: str) -> dict[str, float]:
    engine = DecodingEngine(loaded[0], loaded[1], identity={}, speculative=spec, batch_size=batch)
    started = time.perf_counter()
    tokens = sum(completion.tokens for completion in engine.generate(requests, sampling))
    figures = {"seconds": time.perf_counter() - started, "tokens": tokens}
    stats = engine.stats
    figures["tokens per forward"] = stats.tokens / stats.rows
    for head, (right, made) in enumerate(zip(stats.accepted, stats.drafted, strict=True), 1):
        figures[f"head {head}"] = right / made
    return figures


def generate(loaded: Any, prompts: list[str], n: int, sampling: Sampling, tokens: int, batch: int) -> dict[str, float]:
    """transformers' own generate on the next-token head, batches of `batch` rows, prompts padded on the left."""
    model, tokenizer = loaded
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    rows = [prompt for prompt in prompts for _ in range(n)]
    started = time.perf_counter()
    total = 0
    for start in range(0, len(rows), batch):
        inputs = tokenizer(rows[start : start + batch], return_tensors="pt", padding=True)
        greedy = (
            {"do_sample": False} if sampling.temperature == 0 else {"do_sample": True, "temperature": 0.8, "top_k": 0}
        )
        with torch.inference_mode():
            out = model.generate(
                inputs.input_ids, attention_mask=inputs.attention_mask, max_new_tokens=tokens, **greedy,
                pad_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
        new = out[:, inputs.input_ids.shape[1] :]
        total += int((new != tokenizer.eos_token_id).sum())
    return {"seconds": time.perf_counter() - started, "tokens": total}


def requests(prompts: list[str], n: int, tokens: int, stop: tuple[str, ...] = ()) -> list[GenerationRequest]:
    return [
        GenerationRequest(evaluator="b", problem=str(i), index=j, prompt=p, max_new_tokens=tokens, stop=stop)
        for i, p in enumerate(prompts)
        for j in range(n)
    ]


def per_token(figures: dict[str, float]) -> float:
    return figures["seconds"] / figures["tokens"]


def compare(title: str, loaded: Any, prompts: list[str], n: int, tokens: int, batch: int, temperature: float, count: int,
            *, stop: tuple[str, ...] = (), peer: bool = False) -> dict[str, float]:  # fmt: skip
    """Prints a line and returns its ratios, each ≥ 1 where we are faster; ``share`` is speed-up over tokens a forward."""
    sampling = Sampling(temperature, 1.0, n)
    wanted = requests(prompts, n, tokens, stop)
    runs: dict[str, Callable[[], dict[str, float]]] = {
        "speculative": lambda: ours(loaded, wanted, sampling, batch, "auto"),
        "plain": lambda: ours(loaded, wanted, sampling, batch, "off"),
    }
    if peer:
        runs["generate"] = lambda: generate(loaded, prompts, n, sampling, tokens, batch)
    found = rounds(count, runs)
    fast, slow = found["speculative"], found["plain"]
    ratio = per_token(slow) / per_token(fast)
    heads = ", ".join(f"{100 * fast[k]:.0f} %" for k in fast if k.startswith("head"))
    line = (
        f"{title}, batch {batch}, T {temperature}, n {n}: {fast['tokens per forward']:.2f} tokens a forward ({heads}); "
    )
    line += f"wall {ratio:.2f}x plain, {ratio / fast['tokens per forward']:.2f} of tokens a forward"
    ratios = {"speed-up": ratio, "share": ratio / fast["tokens per forward"]}
    if peer:
        ratios |= {
            f"generate/{name}": per_token(found["generate"]) / per_token(found[name])
            for name in ("speculative", "plain")
        }
        line += f"; generate takes {per_token(found['generate']) / per_token(fast):.2f}x of speculative, "
        line += f"{per_token(found['generate']) / per_token(slow):.2f}x of plain"
    print(line, flush=True)
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round of each, fewer settings")
    quick = parser.parse_args().quick
    count = 1 if quick else 3
    demo = load_model(EXAMPLES / "demo-model", device="cpu")
    rows = [json.loads(line) for line in (EXAMPLES / "demo_problems.jsonl").read_text(encoding="utf-8").splitlines()][
        3:15
    ]
    prompts = [
        f"You are an expert Python programmer, and here is your task: {row['text']} Your code should pass these tests:\n\n"
        + "\n".join(row["test_list"])
        + "\n[BEGIN]\n"
        for row in rows
    ]
    trained = (demo.model, demo.tokenizer)
    wide = {
        name: (wide_model(len(demo.tokenizer), dtype), demo.tokenizer)
        for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32))
    }
    size = sum(p.numel() for p in wide["float32"][0].parameters()) / 1e6
    print(f"wide model: {size:.0f} M parameters, heads made to agree", flush=True)
    first_weighing = wmtp.generation.engine.FIRST_WEIGHING
    wmtp.generation.engine.FIRST_WEIGHING = 1 << 60
    missed = []
    for batch in (1, 16):
        for temperature in (0.0, 0.8):
            n = 10 if batch > 1 and not quick else 1
            compare("trained", trained, prompts, n, 120, batch, temperature, count, stop=("[DONE]",))
            if not quick or temperature == 0:
                short = [
                    prompt[-40:] for prompt in prompts[: 2 if batch == 1 else 16]
                ]  # decoding is meant, not prefill
                for dtype, model in wide.items():
                    peer = batch == 1 and temperature == 0
                    found = compare(f"wide {dtype}", model, short, 1, 96, batch, temperature, count, peer=peer)
                    if batch == 1 and dtype == "bfloat16" and found["share"] < 0.80:
                        missed.append(
                            f"wide {dtype}, T {temperature}: {found['share']:.2f} of tokens a forward, limit 0.80"
                        )
                    if peer and found["generate/plain"] < 1:
                        missed.append(f"wide {dtype}: plain decoding is slower than generate")
    many = [prompts[i % len(prompts)] + "#" * (i // len(prompts)) for i in range(8 if quick else 64)]
    wmtp.generation.engine.FIRST_WEIGHING = first_weighing
    found = compare("trained, many prompts", trained, many, 2 if quick else 10, 64, 32, 0.8, 1, peer=True)
    if found["generate/speculative"] < 2:
        missed.append(f"many prompts: generate takes {found['generate/speculative']:.2f}x of ours, limit 2")
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
