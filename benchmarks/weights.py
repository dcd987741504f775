"""Does weighting tokens change what it should? A toy with a known answer: tiny programs with junk between their tokens.

    python benchmarks/weights.py [--seeds 8] [--steps 150] [--arms uniform,oracle,…]

Arms differ in nothing but token weights: with one seed all have one initialisation, one order of data and, for each row, the
mean weight 1. So differences are paired by seed, and their intervals are Student's over seeds. Measured on fresh text:
cross-entropy of the code's tokens *given that they are code* (softmax over code alone), by head. The plain cross-entropy of the
same tokens is shown beside it: it falls where weights only tell the model that junk is rare.

uniform          every token 1
oracle           code up, junk down: what a perfect scorer would say
rho1 signed      rho1-excess-v1, its default: excess over a reference that saw clean code
rho1 absolute    the same without the sign
shuffled         signed's weights, dealt anew among the tokens of each row
random-matched   weights drawn from signed's of the whole batch
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence

import attrs
import torch
from scipy import stats
from torch.nn import functional

import wmtp
from wmtp.weighting import Rho1Settings, next_token_cross_entropy, normalize_weights, weighted_mtp_loss

LENGTH, ROWS, JUNK, SHARE = 64, 16, 32, 0.35
HEADS, REFERENCE_STEPS, REFERENCE_SEED = 2, 250, 99
VARIABLES, DIGITS = [f"v{i}" for i in range(20)], [str(i) for i in range(10)]
WORDS = [
    *[
        "for",
        "in",
        "range",
        "(",
        ")",
        ":",
        "=",
        "+",
        "-",
        "*",
        "if",
        "return",
        "def",
        ",",
        "print",
        "==",
        "<",
        "[",
        "]",
        ";",
        "and",
        "len",
    ],
    *VARIABLES,
    *DIGITS,
]
IDS = {word: number for number, word in enumerate(WORDS)}
LINES = [
    line.split()
    for line in (
        "for A in range ( N ) : B = B + A ;", "if A < N : print ( A ) ;", "def A ( B , C ) : return B * C ;",
        "A = len ( B ) - N ;", "A [ B ] = C [ B ] + N ;", "if A == B and C == N : return A ;", "print ( A + B , C ) ;",
        "A = B * B - C * C ;",
    )
]  # fmt: skip
Weigh = Callable[[torch.nn.Module, torch.Tensor, Sequence[int]], torch.Tensor]


@attrs.frozen(kw_only=True)
class Arm:
    """What one training of one arm came to.

    Attributes:
        conditional: Cross-entropy given that the token is code, by head.
        plain: Cross-entropy of head 0 on code, over the whole vocabulary.
        code: Mean weight of code. junk: of junk.
        effective: Effective tokens, (Σw)² / Σw², as a share of all.
        mean_off: Largest distance of a row's mean weight from 1.
        seconds: CPU time.
    """

    conditional: tuple[float, ...]
    plain: float
    code: float
    junk: float
    effective: float
    mean_off: float
    seconds: float


def rows(seed: int, share: float, count: int = ROWS) -> torch.Tensor:
    """[count, LENGTH] of code with `share` of junk."""
    chance = random.Random(seed)
    return torch.tensor([_row(chance, share) for _ in range(count)])


def _row(chance: random.Random, share: float) -> list[int]:
    out: list[int] = []
    while len(out) < LENGTH:
        filled = {name: chance.choice(VARIABLES) for name in "ABC"} | {"N": chance.choice(DIGITS)}
        for word in chance.choice(LINES):
            while chance.random() < share:
                out.append(len(WORDS) + chance.randrange(JUNK))
            out.append(IDS[filled.get(word, word)])
    return out[:LENGTH]


def model(seed: int, heads: int) -> wmtp.MtpLlamaForCausalLM:
    """Two layers, 48 wide, and the extra heads."""
    torch.manual_seed(seed)
    return wmtp.MtpLlamaForCausalLM(
        wmtp.MtpLlamaConfig(
            vocab_size=len(WORDS) + JUNK, hidden_size=48, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, n_future_tokens=heads, max_position_embeddings=LENGTH,
            tie_word_embeddings=False,
        )
    )  # fmt: skip


def train(made: torch.nn.Module, weigh: Weigh, seed: int, share: float, steps: int) -> torch.nn.Module:
    optimiser = torch.optim.AdamW(made.parameters(), lr=3e-3, betas=(0.9, 0.95))
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 20)
        ids = rows(seed * 100_003 + step, share)
        weights = weigh(made, ids, [step * ROWS + row for row in range(ROWS)])
        logits = made(input_ids=ids, return_all_heads=True).logits
        weighted_mtp_loss(logits, ids, weights, torch.ones_like(ids, dtype=torch.bool)).backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return made


def cross_entropy(made: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Of each token under head 0, where the token lies."""
    with torch.no_grad():
        return next_token_cross_entropy(made(input_ids=ids).logits, ids)


def arms(reference: torch.nn.Module) -> dict[str, Weigh]:
    """Name → weights [rows, LENGTH] of ids, each row's mean 1. Scorer and controls are those that a recipe names."""
    plugins = wmtp.create_plugin_manager()

    def rho1(kind: str) -> Weigh:
        scorer = plugins.scorers["rho1-excess-v1"].spec.create(Rho1Settings(kind=kind))  # type: ignore[arg-type]

        def weigh(made: torch.nn.Module, ids: torch.Tensor, keys: Sequence[int]) -> torch.Tensor:
            base, known = cross_entropy(made, ids), cross_entropy(reference, ids)
            mask = torch.ones_like(ids, dtype=torch.bool)
            return scorer({"base_ce": base, "reference_ce": known, "mask": mask, "targets": ids})

        return weigh

    def control(name: str) -> Weigh:
        made_control, signed = plugins.controls[name].spec.create(None), rho1("signed")

        def weigh(made: torch.nn.Module, ids: torch.Tensor, keys: Sequence[int]) -> torch.Tensor:
            weights = made_control(signed(made, ids, keys), torch.ones_like(ids, dtype=torch.bool), keys)
            return weights / weights.mean(1, keepdim=True)

        return weigh

    return {
        "uniform": lambda made, ids, keys: torch.ones(ids.shape),
        "oracle": lambda made, ids, keys: normalize_weights(
            (ids < len(WORDS)).float(), torch.ones_like(ids, dtype=torch.bool)
        ),
        "rho1 signed": rho1("signed"),
        "rho1 absolute": rho1("absolute"),
        "shuffled": control("shuffled"),
        "random-matched": control("random-matched"),
    }


def measure(made: torch.nn.Module, weigh: Weigh, seed: int, seconds: float) -> Arm:
    """On text that no arm has seen."""
    test = rows(10**9 + seed, SHARE, 48)
    with torch.no_grad():
        logits = made(input_ids=test, return_all_heads=True).logits
    conditional = []
    for head in range(HEADS):
        targets = test[:, 1 + head :]
        code = targets < len(WORDS)
        conditional.append(
            functional.cross_entropy(logits[:, : -(1 + head), head, : len(WORDS)][code], targets[code]).item()
        )
    code = test < len(WORDS)
    weights = weigh(made, test, list(range(len(test))))
    plain = cross_entropy(made, test)[:, 1:][code[:, 1:]].mean().item()
    return Arm(
        conditional=tuple(conditional),
        plain=plain,
        code=weights[code].mean().item(),
        junk=weights[~code].mean().item(),
        effective=(weights.sum() ** 2 / (weights**2).sum() / weights.numel()).item(),
        mean_off=(weights.mean(1) - 1).abs().max().item(),
        seconds=seconds,
    )


def run(
    seeds: int, steps: int, reference_steps: int = REFERENCE_STEPS, only: Sequence[str] = ()
) -> dict[str, list[Arm]]:
    """Every arm with every seed: arm → one measurement a seed."""
    reference = train(
        model(REFERENCE_SEED, 1), lambda made, ids, keys: torch.ones(ids.shape), REFERENCE_SEED, 0.0, reference_steps
    )
    found: dict[str, list[Arm]] = {}
    for seed in range(1, seeds + 1):
        for name, weigh in arms(reference).items():
            if only and name not in only:
                continue
            began = time.process_time()
            made = train(model(seed, HEADS), weigh, seed, SHARE, steps)
            found.setdefault(name, []).append(measure(made, weigh, seed, time.process_time() - began))
    return found


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of paired differences."""
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(differences) / count**0.5
    return mean, mean - half, mean + half


def table(found: dict[str, list[Arm]]) -> list[str]:
    """Markdown: each arm, and its differences from uniform."""
    lines = [
        "| arm | weight on code / junk | effective tokens | head 0, given code | minus uniform (95 %), same "
        "sign | head 1 minus uniform (95 %), same sign | plain, minus uniform |",
        "|---|---|---|---|---|---|---|",
    ]
    base = found["uniform"]
    for name, measured in found.items():
        mean = {f: statistics.fmean(getattr(m, f) for m in measured) for f in ("code", "junk", "effective")}
        heads = [
            [m.conditional[h] - b.conditional[h] for m, b in zip(measured, base, strict=True)] for h in range(HEADS)
        ]
        plain = [m.plain - b.plain for m, b in zip(measured, base, strict=True)]
        own = statistics.fmean(m.conditional[0] for m in measured)
        cells = [_cell(d) for d in heads] if name != "uniform" else ["–"] * HEADS
        last = (
            f"{statistics.fmean(plain):+.3f}"
            if name != "uniform"
            else f"({statistics.fmean(m.plain for m in measured):.3f})"
        )
        lines.append(
            f"| {name} | {mean['code']:.2f} / {mean['junk']:.2f} | {100 * mean['effective']:.0f} % | {own:.3f} | "
            f"{' | '.join(cells)} | {last} |"
        )
    return lines


def _cell(differences: Sequence[float]) -> str:
    mean, low, high = interval(differences)
    same = max(sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {same}/{len(differences)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Arms of token weights on a toy with a known answer.")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--arms", default="", help="A few of them, by comma; uniform is always there.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = ["uniform", *options.arms.split(",")] if options.arms else []
    found = run(options.seeds, options.steps, only=chosen)
    print("\n".join(table(found)))
    off = max(arm.mean_off for measured in found.values() for arm in measured)
    print(f"largest distance of a row's mean weight from 1: {off:.1e} (limit 1e-5{', MISSED' if off > 1e-5 else ''})")
    print(f"CPU seconds an arm: {statistics.median(a.seconds for m in found.values() for a in m):.1f}")


if __name__ == "__main__":
    main()
