"""Expected acceptance beside acceptance that real drafting counts, under the same noise.

    python benchmarks/acceptance.py [--seeds 20] [--steps 60]

A small trunk learns the demo's solutions, and a sequential module learns them half as well (examples/train_demo_heads.py), so
that drafts are often right and often wrong. For every seed, temperature and number of drafts the model answers twelve prompts.
What its decoder counted at each depth must lie in the 95 % interval of what `wmtp.heads` expects of the same texts. Exit
status 1 where fewer than nine seeds in ten do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
import train_demo_heads as demo

import wmtp
import wmtp.generation.decoder
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.generation.engine import DecodingEngine
from wmtp.heads.measure import measure
from wmtp.heads.walk import depths
from wmtp.models.architectures.load import StoredModules

LIMIT = 0.9


def trained(trunk_steps: int, steps: int) -> tuple[Any, StoredModules]:
    """A trunk, and a module behind it."""
    ids = demo.batch(demo.solutions())
    model = demo.train_trunk(ids, trunk_steps)
    modules: Any = demo.train_module(model, ids, demo.MIMO.convention, steps)
    modules.requires_grad_(False)
    return model, StoredModules(demo.MIMO, 1, lambda: modules)


def requests(count: int, tokens: int) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            key=SampleKey(evaluator="b", problem=str(i), index=0), prompt=text.partition("\n")[0], max_new_tokens=tokens
        )
        for i, text in enumerate(demo.solutions()[:count])
    ]


def compared(
    model: Any, stored: StoredModules, sampling: Sampling, k: int, tokens: int = 40
) -> Iterator[tuple[float, float, float, float]]:
    """(counted, expected, low, high) of every depth, over one decoding of twelve prompts."""
    engine = DecodingEngine(model, demo.tokenizer(), identity={}, stored=stored, n_heads=k + 1, batch_size=4)
    wanted = requests(12, tokens)
    answers = {c.key: c for c in engine.generate(wanted, sampling)}
    walks = []
    with torch.inference_mode():
        for request in wanted:
            before, _ = engine.tokens(request.prompt or "", "")
            written = answers[request.key].token_ids or ()
            text = engine.known_text([*before, *written], len(before))
            walks.append(measure(text, sampling, drawn=True).walk("gumbel", k))
    stats = engine.stats
    for depth, share in enumerate(depths(walks)[0]):
        counted = stats.accepted[depth] / stats.drafted[depth]
        value = share.value or 0.0
        yield counted, value, value if share.low is None else share.low, value if share.high is None else share.high


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60, help="of the module's training")
    arguments = parser.parse_args()
    wmtp.generation.decoder.DRAFTING_CHECK_AFTER = 1 << 60  # drafting is measured, so it is not given up
    model, stored = trained(250, arguments.steps)
    missed = 0
    for temperature in (0.0, 0.8):
        for k in (1, 2, 3):
            inside, rows = 0, []
            for seed in range(arguments.seeds):
                sampling = Sampling(temperature=temperature, seed=seed)
                found = list(compared(model, stored, sampling, k))
                inside += all(low - 1e-6 <= counted <= high + 1e-6 for counted, _, low, high in found)
                rows.append(found)
            means = [sum(r[d][i] for r in rows) / len(rows) for d in range(k) for i in (0, 1)]
            pairs = ", ".join(f"{100 * a:.1f} / {100 * b:.1f} %" for a, b in zip(means[::2], means[1::2], strict=True))
            print(
                f"T {temperature}, k {k}: counted / expected {pairs}; inside for {inside} of {len(rows)} seeds",
                flush=True,
            )
            missed += inside < LIMIT * len(rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
