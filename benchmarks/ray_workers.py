"""Two Ray workers beside two plain processes with the same requests.

    python benchmarks/ray_workers.py [--requests 400] [--rounds 3]

A small model of random weights in float32, one thread an engine. The processes get half of the requests each and begin
together; the workers get what the engine hands them. In turns; opening engines is not timed. Efficiency is the processes' time
divided by the workers' (limit at least 0.9), the median of rounds. Needs wmtp-ray, and two free processors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import wmtp
from wmtp.testing.byte_tokenizer import byte_tokenizer

LEAST = 0.9
SAMPLING = wmtp.Sampling(temperature=0.8, max_new_tokens=48)


def make_model(folder: Path) -> None:
    """A Llama over bytes, large enough that decoding it is most of the work."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    byte_tokenizer(bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=258, max_position_embeddings=512, bos_token_id=0, eos_token_id=1, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)


def requests(count: int) -> list[wmtp.GenerationRequest]:
    return [
        wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem=str(i), index=0), prompt=f"def f{i}(x):", max_new_tokens=48
        )
        for i in range(count)
    ]


def opened(folder: str, **model: Any) -> Any:
    plugins = wmtp.create_plugin_manager()
    config = wmtp.load_config({"devices": {"device": "cpu", "dtype": "float32", "threads": 1}}, plugins=plugins)
    recipe = wmtp.load_recipe({"model": {"base_id": folder, **model}, "eval": {"batch_size": 16}}, plugins=plugins)
    return wmtp.create_model_loader(config, recipe, plugins=plugins).load()


def answer(engine: Any, wanted: list[wmtp.GenerationRequest]) -> None:
    found = sum(c.finish_reason != "error" for c in engine.generate(wanted, SAMPLING))
    assert found == len(wanted), (found, len(wanted))


def process(folder: str, wanted: list[wmtp.GenerationRequest], line: Any) -> None:
    """A plain process: opens the engine, and answers its half each time the driver and the other are there."""
    engine = opened(folder)
    answer(engine, wanted[:16])
    while True:
        line.wait()
        answer(engine, wanted)
        line.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    wanted = requests(options.requests)
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        context = multiprocessing.get_context("spawn")
        line = context.Barrier(3)
        for half in (wanted[::2], wanted[1::2]):
            context.Process(target=process, args=(folder, half, line), daemon=True).start()
        spread = opened(folder, loader="ray", loaders={"ray": {"workers": 2, "address": "local"}})
        while not all(slot.ready for slot in spread._slots):  # both are to be there before the clock runs
            spread._look()
        answer(spread, wanted[:64])
        rounds = []
        for _ in range(options.rounds):
            line.wait()
            started = time.perf_counter()
            line.wait()
            plain = time.perf_counter() - started
            started = time.perf_counter()
            answer(spread, wanted)
            rounds.append((plain, time.perf_counter() - started))
            print("two processes {:.1f} s, two workers {:.1f} s".format(*rounds[-1]), flush=True)
        spread.close()
    found = statistics.median(plain / ray for plain, ray in rounds)
    print(f"efficiency {found:.3f} (limit {LEAST})", "" if found >= LEAST else "MISSED")
    return int(found < LEAST)


if __name__ == "__main__":
    sys.exit(main())
