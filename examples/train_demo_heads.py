"""Trains a small trunk and one sequential module behind it on the demo's solutions, for a convention of your choice.

    python examples/train_demo_heads.py OUT [--concat he|eh] [--hidden post|pre] [--trunk FOLDER]

What it is for: `wmtp heads OUT --text … --check` must find the convention that the module was trained with. The trunk is a
Qwen2 of three layers over bytes, the module MiMo's kind; both learn the solutions by heart in a minute of processor time. With
--trunk the trunk of an earlier run is taken, and the module alone is trained.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from train_demo_model import tokenizer
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

import wmtp
from wmtp.models.architectures.families import FAMILIES

HERE = Path(__file__).parent
MIMO = next(spec for spec in FAMILIES if spec.name == "mimo")


def solutions() -> list[str]:
    lines = (HERE / "demo_problems.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["code"] for line in lines][:24]


def batch(texts: list[str]) -> Tensor:
    """[texts, length]; what is behind a text is end tokens."""
    coder = tokenizer()
    rows = [[coder.bos_token_id, *coder(text)["input_ids"], coder.eos_token_id] for text in texts]
    length = max(map(len, rows))
    return torch.tensor([row + [coder.eos_token_id] * (length - len(row)) for row in rows])


def new_trunk(vocabulary: int, size: int = 64, **shape: int) -> Qwen2ForCausalLM:
    """shape: of its attention, where that is to be another."""
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, **shape}
    config = Qwen2Config(
        vocab_size=vocabulary, hidden_size=size, intermediate_size=2 * size, num_hidden_layers=3, **heads,
        max_position_embeddings=1024, bos_token_id=0, eos_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    # Those of large models are far from 1, and few steps do not take them there. Were they 1, a state before the norm and one
    # behind it would be the same to a module, which norms both.
    torch.nn.init.uniform_(model.model.norm.weight, 0.2, 3.0)
    return model


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def fit(parameters: list[Tensor], loss: object, steps: int, rate: float = 3e-3) -> float:
    """AdamW with one cycle of its rate; returns the last loss."""
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    value = torch.zeros(())
    for step in range(steps):
        value = loss()  # type: ignore[operator]
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {value.item():.4f}", flush=True)
    return value.item()


def train_trunk(ids: Tensor, steps: int, **shape: int) -> Qwen2ForCausalLM:
    model = new_trunk(len(tokenizer()), **shape)
    fit(list(model.parameters()), lambda: cross_entropy(model(ids).logits[:, :-1], ids[:, 1:]), steps)
    return model.eval().requires_grad_(False)


def train_module(model: Qwen2ForCausalLM, ids: Tensor, convention: wmtp.Convention, steps: int) -> object:
    """A module trained with this convention behind a trunk that stays as it is."""
    modules = wmtp.new_modules(model, MIMO)
    modules.convention = convention
    with torch.no_grad():
        hidden = modules.first_hidden(*modules.trunk.run(input_ids=ids, use_cache=False))

    def loss() -> Tensor:
        (states,) = modules.whole(ids, hidden, 1)
        return cross_entropy(modules.project(0, states)[:, :-2], ids[:, 2:])

    fit(list(modules.parameters()), loss, steps)
    return modules.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--concat", choices=["he", "eh"], default="he")
    parser.add_argument("--hidden", choices=["post", "pre"], default="post")
    parser.add_argument("--trunk", type=Path, help="A folder that an earlier run wrote.")
    parser.add_argument("--steps", type=int, default=250)
    arguments = parser.parse_args()
    ids = batch(solutions())
    if arguments.trunk:
        model = AutoModelForCausalLM.from_pretrained(arguments.trunk).requires_grad_(False)
    else:
        model = train_trunk(ids, arguments.steps)
    convention = wmtp.Convention(concat=arguments.concat, hidden=arguments.hidden)
    modules = train_module(model, ids, convention, arguments.steps)
    model.save_pretrained(arguments.out)
    tokenizer().save_pretrained(arguments.out)
    wmtp.save_modules(modules, arguments.out)


if __name__ == "__main__":
    main()
