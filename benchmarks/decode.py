"""Speculative decoding beside plain decoding and beside transformers' generate, in interleaved rounds.

    python benchmarks/decode.py [--quick] [--part trained|wide|wide-bfloat16|sequential|many]

Three models: the demo's trained one (examples/demo-model); a trained trunk and its trained sequential module, made as large
as a real one without a change of what they compute (`widened.py`; `sequential_part` states its cost model); and a wide one
in Meta's proportions (29 blocks and 3 extra heads, over 100 M parameters). It has random weights with heads *made to
agree*: the last block and the heads add little to the trunk's output, so that all predict much the same token; its
acceptance is therefore no finding, its wall time per token is. It runs in float32, where the limit of 0.80 is meant, and in
bfloat16 (half the bytes to read, so that the arithmetic of four tokens shows more). The plain side runs no extra head;
generate has a model of its own, which our engine has not touched. Drafting is measured, so the engine may not give it up,
but for the last part: 64 prompts with 10 samples each.

Ratios of medians from one run, of wall time and, in brackets, of processor time, which neighbours disturb less; absolute times
mean nothing on a busy machine. Exit status 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import widened
from closing import missed_limits

import wmtp.generation.decoder
from wmtp.contracts.engines import GenerationRequest, GenerationStats, SampleKey, Sampling
from wmtp.generation.engine import DecodingEngine
from wmtp.models import load_model
from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

SHARE = 0.80  # of tokens a forward (a forward-equivalent), that wall time must gain: batch 1, wide models
ACCEPTED = 0.3  # of a trained module's first drafts: with fewer, drafting was not measured
MANY = 2.0  # times as fast as generate: 64 prompts, 10 samples each
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


def rounds(
    count: int, runs: dict[str, Callable[[], dict[str, float]]], *, warm: bool = True
) -> dict[str, dict[str, float]]:
    """Median of every figure of each run, over interleaved rounds; `warm`: after one that is not counted."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for number in range(count + warm):
        for name, run in runs.items():
            began, busy = time.perf_counter(), time.process_time()
            figures = run()
            figures |= {"seconds": time.perf_counter() - began, "processor": time.process_time() - busy}
            if number >= warm:
                found[name].append(figures)
    return {n: {k: statistics.median(f[k] for f in figures) for k in figures[0]} for n, figures in found.items()}


def ours(loaded: Any, requests: list[GenerationRequest], sampling: Sampling, batch: int, spec: str) -> dict[str, float]:
    engine = DecodingEngine(loaded[0], loaded[1], identity={}, speculative=spec, batch_size=batch)
    tokens = sum(completion.tokens for completion in engine.generate(requests, sampling))
    return counted(engine.stats, tokens)


def counted(stats: GenerationStats, tokens: int) -> dict[str, float]:
    figures = {"tokens": tokens, "tokens per forward": stats.tokens / stats.rows}
    for head, (right, made) in enumerate(zip(stats.accepted, stats.drafted, strict=True), 1):
        figures[f"head {head}"] = right / made
    return figures


def heads_of(figures: dict[str, float]) -> str:
    return ", ".join(f"{100 * v:.0f} %" for k, v in figures.items() if k.startswith("head"))


def generate(loaded: Any, prompts: list[str], n: int, sampling: Sampling, tokens: int, batch: int) -> dict[str, float]:
    """transformers' own generate on the next-token head, batches of `batch` rows, prompts padded on the left."""
    model, tokenizer = loaded
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    rows = [prompt for prompt in prompts for _ in range(n)]
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
    return {"tokens": total}


def requests(prompts: list[str], n: int, tokens: int, stop: tuple[str, ...] = ()) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            key=SampleKey(evaluator="b", problem=str(i), index=j), prompt=p, max_new_tokens=tokens, stop=stop
        )
        for i, p in enumerate(prompts)
        for j in range(n)
    ]


def per_token(figures: dict[str, float], clock: str = "seconds") -> float:
    return figures[clock] / figures["tokens"]


def compare(
    title: str, loaded: Any, prompts: list[str], n: int, tokens: int, batch: int, temperature: float, count: int, *,
    stop: tuple[str, ...] = (), peer: Any = None, warm: bool = True,
) -> dict[str, float]:  # fmt: skip
    """Prints a line and returns its wall ratios, each ≥ 1 where we are faster; ``share`` is speed-up over tokens a forward."""
    sampling = Sampling(temperature=temperature, top_p=1.0, n=n)
    wanted = requests(prompts, n, tokens, stop)
    runs: dict[str, Callable[[], dict[str, float]]] = {
        "speculative": lambda: ours(loaded, wanted, sampling, batch, "auto"),
        "plain": lambda: ours(loaded, wanted, sampling, batch, "off"),
    }
    if peer:
        runs["generate"] = lambda: generate(peer, prompts, n, sampling, tokens, batch)
    found = rounds(count, runs, warm=warm)

    def ratio(slow: str, fast: str, clock: str = "seconds") -> float:
        return per_token(found[slow], clock) / per_token(found[fast], clock)

    def both(slow: str, fast: str) -> str:
        return f"{ratio(slow, fast):.2f}x ({ratio(slow, fast, 'processor'):.2f}x)"

    yielded = found["speculative"]["tokens per forward"]
    share, of_processor = (ratio("plain", "speculative", clock) / yielded for clock in ("seconds", "processor"))
    line = f"{title}, batch {batch}, T {temperature}, n {n}: {yielded:.2f} tokens a forward "
    line += f"({heads_of(found['speculative'])}); "
    line += f"{both('plain', 'speculative')} plain, which is {share:.2f} ({of_processor:.2f}) of tokens a forward"
    ratios = {"share": share}
    if peer:
        ratios |= {f"generate/{name}": ratio("generate", name) for name in ("speculative", "plain")}
        line += (
            f"; generate takes {both('generate', 'speculative')} of speculative, {both('generate', 'plain')} of plain"
        )
    print(line, flush=True)
    return ratios


def trained_part(prompts: list[str], quick: bool) -> list[str]:
    demo = load_model(EXAMPLES / "demo-model", device="cpu")
    for batch in (1, 16):
        for temperature in (0.0, 0.8):
            n = 1 if batch == 1 or quick else 10
            model = (demo.model, demo.tokenizer)
            compare("trained", model, prompts, n, 120, batch, temperature, 1 if quick else 3, stop=("[DONE]",))
    return []


def wide_part(prompts: list[str], quick: bool, dtype: torch.dtype = torch.float32) -> list[str]:
    tokenizer = load_model(EXAMPLES / "demo-model", device="cpu").tokenizer
    name = f"wide {str(dtype).removeprefix('torch.')}"
    model, untouched = ((wide_model(len(tokenizer), dtype), tokenizer) for _ in range(2))
    size = sum(p.numel() for p in model[0].parameters()) / 1e6
    print(f"{name}: {size:.0f} M parameters, heads made to agree; {torch.get_num_threads()} threads", flush=True)
    missed = []
    for batch in (1, 16):
        short = [prompt[-8:] for prompt in prompts[: 2 if batch == 1 else 16]]  # decoding is meant, not prefill
        for temperature in (0.0,) if quick else (0.0, 0.8):
            peer = untouched if batch == 1 and temperature == 0 else None
            found = compare(name, model, short, 1, 96, batch, temperature, 1 if quick else 3, peer=peer)
            if batch == 1 and dtype == torch.float32 and found["share"] < SHARE:
                missed.append(f"{name}, T {temperature}: {found['share']:.2f} of tokens a forward, limit {SHARE}")
            if peer and found["generate/plain"] < 1:
                missed.append(f"{name}: plain decoding takes {1 / found['generate/plain']:.2f}x of generate, limit 1")
    return missed


def wide_bfloat16_part(prompts: list[str], quick: bool) -> list[str]:
    return wide_part(prompts, quick, torch.bfloat16)


def sequential_part(prompts: list[str], quick: bool) -> list[str]:
    """A trained module behind a trained trunk, made as large as a real one (`widened.py`), answers prompts that they learned.

    Cost model: a step is one forward of the trunk and k runs of the module. A forward counts 1 whether it takes one token or
    k + 1; a run of the module counts the weights that it reads (its layer, its projection, the output matrix) over those that
    the trunk reads. Tokens a step over 1 + k of those are tokens a forward-equivalent. Prompts are run on both sides and are
    in the wall time alone.
    """
    small = widened.trained()
    model, stored = widened.widened(*small)
    tokenizer, matrix = widened.demo.tokenizer(), model.lm_head.weight.numel()
    trunk = sum(p.numel() for p in model.model.layers.parameters()) + matrix
    module = sum(p.numel() for p in stored.open().parameters()) + matrix
    print(
        f"sequential: trunk {trunk / 1e6:.0f} M, a module's run is {module / trunk:.3f} of its forward; limit {SHARE}",
        flush=True,
    )
    longest = sorted(widened.demo.solutions(), key=len)[-2:]
    wanted, missed = requests(["<s>" + text.partition("\n")[0] for text in longest], 1, 64), []

    def run(k: int, sampling: Sampling) -> dict[str, float]:
        engine = DecodingEngine(model, tokenizer, identity={}, stored=stored, batch_size=1, n_heads=k + 1)
        tokens = sum(completion.tokens for completion in engine.generate(wanted, sampling))
        return counted(engine.stats, tokens)

    for temperature in (0.0,) if quick else (0.0, 0.8):
        drafts = (0, 1) if quick else (0, 1, 2, 3)
        runs = {str(k): partial(run, k, Sampling(temperature=temperature)) for k in drafts}
        found = rounds(1 if quick else 3, runs)
        for k in drafts[1:]:
            plain, drafted = found["0"], found[str(k)]
            gain, busy = (per_token(plain, clock) / per_token(drafted, clock) for clock in ("seconds", "processor"))
            yielded = drafted["tokens per forward"]
            worth = yielded / (1 + k * module / trunk)
            line = f"sequential, batch 1, T {temperature}, k {k}: {yielded:.2f} tokens a step ({heads_of(drafted)}), "
            line += f"{worth:.2f} a forward-equivalent; {gain:.2f}x ({busy:.2f}x) plain, "
            print(f"{line}which is {gain / worth:.2f} ({busy / worth:.2f}) of it", flush=True)
            if gain < SHARE * worth:
                missed.append(f"sequential, T {temperature}, k {k}: {gain / worth:.2f} of tokens a forward-equivalent")
            if drafted["head 1"] < ACCEPTED:
                missed.append(f"sequential, T {temperature}, k {k}: {drafted['head 1']:.2f} of first drafts right")
    return missed


def many_part(prompts: list[str], quick: bool) -> list[str]:
    model, untouched = (load_model(EXAMPLES / "demo-model", device="cpu") for _ in range(2))
    many = [prompts[i % len(prompts)] + "#" * (i // len(prompts)) for i in range(8 if quick else 64)]
    found = compare(
        "trained, many prompts", (model.model, model.tokenizer), many, 2 if quick else 10, 64, 32, 0.8, 1,
        peer=(untouched.model, untouched.tokenizer), warm=False,
    )  # fmt: skip
    ratio = found["generate/speculative"]
    return [] if quick or ratio >= MANY else [f"many prompts: generate takes {ratio:.2f}x of ours, limit {MANY}"]


def main() -> int:
    parts = {
        "trained": trained_part, "wide": wide_part, "wide-bfloat16": wide_bfloat16_part, "sequential": sequential_part,
        "many": many_part,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round of each, fewer settings")
    parser.add_argument("--part", choices=parts, action="append", help="only this (default: all)")
    arguments = parser.parse_args()
    lines = (EXAMPLES / "demo_problems.jsonl").read_text(encoding="utf-8").splitlines()[3:15]
    prompts = [
        f"You are an expert Python programmer, and here is your task: {row['text']} Your code should pass these tests:\n\n"
        + "\n".join(row["test_list"])
        + "\n[BEGIN]\n"
        for row in map(json.loads, lines)
    ]
    missed = []
    for name, part in parts.items():
        if arguments.part and name not in arguments.part:
            continue
        first_weighing = wmtp.generation.decoder.DRAFTING_CHECK_AFTER
        if name != "many":
            wmtp.generation.decoder.DRAFTING_CHECK_AFTER = 1 << 60
        missed += part(prompts, arguments.quick)
        wmtp.generation.decoder.DRAFTING_CHECK_AFTER = first_weighing
    return missed_limits(missed)


if __name__ == "__main__":
    sys.exit(main())
