"""Trains the demo's model: a byte-level Llama with four heads that learns the demo's first twelve problems by heart.

    python examples/train_demo_model.py            # writes examples/demo-model; twelve minutes of processor time

It answers what it was trained on and nothing else. Every head is trained (arXiv 2404.19737: one loss a head, summed), so
that decoding with them shows what speculation gains: deep and narrow, so that three heads cost little beside the trunk, as in
a large model. Fixed seeds and float32 on the CPU: the same kind of machine writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from make_demo_problems import FIRST_ID, TRAINED
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wmtp import MtpLlamaConfig, MtpLlamaForCausalLM

HERE = Path(__file__).parent
HEADS = 4
STEPS = 450
SEED = 7
TASK = (
    "You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:"
    "\n\n{tests}\n[BEGIN]\n"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens: 256 of them, and <s>, </s>."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1, **{letter: i for i, letter in enumerate(alphabet, 2)}}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", clean_up_tokenization_spaces=False
    )


def texts() -> list[tuple[str, str]]:
    """(prompt, answer) of the problems to learn, in the zero-shot form of mbpp-v1."""
    lines = (HERE / "demo_problems.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    chosen = [row for row in rows if FIRST_ID <= row["task_id"] < FIRST_ID + TRAINED]
    return [
        (TASK.format(text=row["text"], tests="\n".join(row["test_list"])), f"{row['code']}\n[DONE]") for row in chosen
    ]


def batch(coder: PreTrainedTokenizerFast) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and weights [problems, length]: answers weigh 1, prompts a little, padding nothing."""
    rows = []
    for prompt, answer in texts():
        question, reply = coder(prompt)["input_ids"], coder(answer)["input_ids"]
        ids = [coder.bos_token_id, *question, *reply, coder.eos_token_id]
        rows.append((ids, [0.05] * (len(question) + 1) + [1.0] * (len(reply) + 1)))
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [coder.eos_token_id] * (length - len(i)) for i, _ in rows])
    weights = torch.tensor([w + [0.0] * (length - len(w)) for _, w in rows])
    return ids, weights


def loss_of(model: MtpLlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean over heads of the weighted cross-entropy; head i at position t predicts token t + 1 + i."""
    logits = model(ids, return_all_heads=True).logits
    losses = []
    for head in range(HEADS):
        shift = 1 + head
        target, weight = ids[:, shift:], weights[:, shift:]
        flat = torch.nn.functional.cross_entropy(
            logits[:, :-shift, head].flatten(0, 1), target.flatten(), reduction="none"
        )
        losses.append((flat * weight.flatten()).sum() / weight.sum())
    return torch.stack(losses).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "demo-model")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--also-at", type=int, action="append", default=[], metavar="STEP", help="write OUT-STEP then, too"
    )
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    coder = tokenizer()
    config = MtpLlamaConfig(
        vocab_size=len(coder), hidden_size=64, intermediate_size=160, num_hidden_layers=22, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=1024, bos_token_id=coder.bos_token_id,
        eos_token_id=coder.eos_token_id, pad_token_id=None, tie_word_embeddings=False, n_future_tokens=HEADS,
    )  # fmt: skip
    model = MtpLlamaForCausalLM(config)
    ids, weights = batch(coder)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=arguments.steps)
    started = time.time()
    for step in range(arguments.steps):
        loss = loss_of(model, ids, weights)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step + 1 in arguments.also_at:
            save(model, coder, arguments.out.with_name(f"{arguments.out.name}-{step + 1}"))
        if step % 50 == 0 or step == arguments.steps - 1:
            print(f"step {step}: loss {loss.item():.4f}, {time.time() - started:.0f} s", flush=True)
    save(model, coder, arguments.out)


def save(model: MtpLlamaForCausalLM, coder: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)
    coder.save_pretrained(folder)


if __name__ == "__main__":
    main()
