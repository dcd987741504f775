"""Models with sliding windows and hybrids beside transformers' generate: one prompt, and 64 prompts with 10 samples each.

    python benchmarks/windows.py [--quick] [--model mistral|gemma3|qwen3-next]

Random models of some 15 M parameters, window 64, float32; generate gets batches of 32 rows, padded on the left, as one would
call it. Ratios of medians from interleaved rounds of one run; above 1 is faster than generate. Exit status 1 below 1.0 for one
prompt, or below 2.0 for many.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from functools import partial
from typing import Any

import torch
from closing import missed_limits
from decode import EXAMPLES, generate, ours, per_token, requests, rounds
from transformers import AutoModelForCausalLM, utils
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from wmtp.contracts.engines import Sampling
from wmtp.models import load_model

SIZES = {
    "hidden_size": 320, "intermediate_size": 960, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 40, "max_position_embeddings": 1024, "sliding_window": 64, "bos_token_id": 0, "eos_token_id": None,
    "pad_token_id": None, "tie_word_embeddings": False,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral": ("mistral", {}),
    "gemma3": ("gemma3_text", {}),
    "qwen3-next": (
        "qwen3_next",
        {
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 320, "shared_expert_intermediate_size": 320,
            "linear_num_key_heads": 4, "linear_num_value_heads": 8, "linear_key_head_dim": 40, "linear_value_head_dim": 40,
        },
    ),
}  # fmt: skip
ONE, MANY = 1.0, 2.0


def model_of(kind: str, vocabulary: int) -> Any:
    name, more = KINDS[kind]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[name](**SIZES, **more, vocab_size=vocabulary)).eval()
    model.generation_config.eos_token_id = None
    return model


def measure(kind: str, prompts: list[str], n: int, batch: int, temperature: float, tokens: int, count: int) -> float:
    tokenizer = load_model(EXAMPLES / "demo-model", device="cpu").tokenizer
    model, untouched = (model_of(kind, len(tokenizer)) for _ in range(2))
    sampling, wanted = Sampling(temperature=temperature, n=n), requests(prompts, n, tokens)
    found = rounds(
        count,
        {
            "ours": partial(ours, (model, tokenizer), wanted, sampling, batch, "off"),
            "generate": partial(generate, (untouched, tokenizer), prompts, n, sampling, tokens, batch),
        },
        warm=batch == 1,
    )
    wall, busy = (
        per_token(found["generate"], clock) / per_token(found["ours"], clock) for clock in ("seconds", "processor")
    )
    print(
        f"{kind}, {len(prompts)} prompts, n {n}, batch {batch}: generate takes {wall:.2f}x ({busy:.2f}x) of ours",
        flush=True,
    )
    return wall


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="8 prompts with 10 samples")
    parser.add_argument("--model", choices=KINDS, action="append")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    utils.logging.set_verbosity_error()
    missed = []
    for kind in arguments.model or KINDS:
        one = measure(kind, ["def f(x):" + "#" * 60], 1, 1, 0.0, 96, 5)
        texts = [f"def f{i}(x):" + "#" * (37 * i % 90) for i in range(8 if arguments.quick else 64)]
        many = measure(kind, texts, 10, 32, 0.8, 32, 1)
        missed += [f"{kind}: {one:.2f} at batch 1, limit {ONE}"] if one < ONE else []
        missed += [f"{kind}: {many:.2f} for many prompts, limit {MANY}"] if many < MANY else []
    return missed_limits(missed)


if __name__ == "__main__":
    sys.exit(main())
