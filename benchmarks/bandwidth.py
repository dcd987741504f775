"""Plain decoding of a Llama-shaped model of 128 M parameters at batch 1: how much of the memory's bandwidth it reaches, and
beside llama.cpp where it is installed (``llama-cpp-python``, the same weights as a GGUF file, the same threads).

    python benchmarks/bandwidth.py [--threads N] [--dtype float32|bfloat16]

The bandwidth is that of a sum over as many bytes as the weights that a token reads (layers and output matrix), by the same
threads in the same run: decoding reads and writes next to nothing, as a sum does. Medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from closing import missed_limits
from decode import EXAMPLES, requests
from transformers import LlamaConfig, LlamaForCausalLM

from wmtp.contracts.engines import Sampling
from wmtp.generation.engine import DecodingEngine
from wmtp.models import load_model

TOKENS, ROUNDS, SHARE, BESIDE = 64, 5, 0.85, 0.9


def model_of(vocabulary: int, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=768, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=12,
        num_key_value_heads=12, max_position_embeddings=512, bos_token_id=0, eos_token_id=None, pad_token_id=None,
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().to(dtype)


def write_gguf(path: Path, model: Any) -> None:
    import gguf

    config = model.config
    kind = gguf.GGMLQuantizationType.F32 if model.dtype == torch.float32 else gguf.GGMLQuantizationType.BF16
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        own = str(table.get_name(name, try_suffixes=(".weight",)))
        tensor = tensor.contiguous()
        if tensor.dim() == 1 or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(own, tensor.float().numpy())
        else:
            writer.add_tensor(own, tensor.view(torch.int16).numpy().view("uint8"), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp(path: Path, threads: int) -> Any:
    """What decodes `TOKENS` tokens there, one by one, and says how many seconds it took."""
    from llama_cpp import Llama

    llama = Llama(
        model_path=str(path), n_threads=threads, n_threads_batch=threads, n_ctx=512, verbose=False, use_mlock=False
    )

    def run() -> float:
        llama.reset()
        llama.eval([5, 6, 7])
        began = time.perf_counter()
        for i in range(TOKENS):
            llama.eval([10 + i])
        return time.perf_counter() - began

    return run


def compare(dtype: torch.dtype, threads: int) -> list[str]:
    tokenizer = load_model(EXAMPLES / "demo-model", device="cpu").tokenizer
    model = model_of(len(tokenizer), dtype)
    name = str(dtype).removeprefix("torch.")
    read = sum(p.numel() * p.element_size() for p in [*model.model.layers.parameters(), model.lm_head.weight])
    place = tempfile.TemporaryDirectory()
    there = find_spec("llama_cpp") is not None
    if there:
        write_gguf(Path(place.name, "model.gguf"), model)
    runs: dict[str, Any] = {"llama.cpp": llama_cpp(Path(place.name, "model.gguf"), threads)} if there else {}
    plain = torch.ones(read // 4, dtype=torch.float32)
    engine = DecodingEngine(model, tokenizer, identity={}, speculative="off", batch_size=1, threads=threads)

    def decoded() -> float:
        before = engine.stats.seconds
        list(engine.generate(requests(["d"], 1, TOKENS), Sampling(temperature=0.0)))
        return engine.stats.seconds - before

    def summed() -> float:
        began = time.perf_counter()
        for _ in range(8):
            plain.sum()
        return (time.perf_counter() - began) / 8

    runs |= {"ours": decoded, "sum": summed}
    torch.set_num_threads(threads)
    found: dict[str, list[float]] = {kind: [] for kind in runs}
    for number in range(ROUNDS + 1):
        for kind, run in runs.items():
            seconds = run()
            if number:
                found[kind].append(seconds)
    place.cleanup()
    ours, bare = statistics.median(found["ours"]) / TOKENS, statistics.median(found["sum"])
    share = bare / ours
    line = (
        f"{name}, {read / 1e6:.0f} MB a token, {threads} threads: {1 / ours:.1f} tokens a second, {share:.2f} of the "
    )
    line += f"bandwidth of a sum ({read / 1e9 / bare:.1f} GB/s)"
    missed = [f"{name}: {share:.2f} of the bandwidth, limit {SHARE}"] if share < SHARE else []
    if there:
        beside = statistics.median(found["llama.cpp"]) / TOKENS / ours
        line += f"; llama.cpp {1 / (beside * ours):.1f}, ours is {beside:.2f} of it"
        missed += [f"{name}: {beside:.2f} of llama.cpp, limit {BESIDE}"] if beside < BESIDE else []
    print(line, flush=True)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), action="append")
    arguments = parser.parse_args()
    missed = []
    for name in arguments.dtype or ("float32", "bfloat16"):
        missed += compare(getattr(torch, name), arguments.threads)
    return missed_limits(missed)


if __name__ == "__main__":
    sys.exit(main())
