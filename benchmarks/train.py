"""A step of the trainer beside other ways to make it: time, memory, and what journal and trackers cost.

    python benchmarks/train.py [speed|memory|journal]

- speed: tokens a second of a training step, beside Hugging Face's Trainer with the same model, rows and batch and a loss over
  full logits of every head; interleaved rounds in one process on one thread, medians. Once with every token trained, and once
  as fine-tuning has it: half of each row is a prompt.
- memory: peak of a whole training (weights, gradients, AdamW, activations) with four heads, beside one head of the same trunk
  and beside four heads with full logits, at a vocabulary of 32,000; each in a process of its own. Of tensors, and, without a
  limit, of the process above what imports take.
- journal: steps a second with a line of the journal each step and a tracker beside, over neither: from the CPU time of a
  step of the same model, and of everything that is done to tell of it, on whatever thread. One training logs in every other
  block of its steps; the ratio of paired blocks is printed with its interval, which is about as wide as what is looked for.

Exit status 1 where a limit is missed.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

import wmtp
from wmtp.tracking.listener import JournalListener
from wmtp.weighting import weighted_mtp_loss
from wmtp_train import loop
from wmtp_train.loop import Loop
from wmtp_train.plan import TrainingRequest
from wmtp_train.trainer import Training, train

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from train_demo_model import tokenizer

LENGTH, BATCH, STEPS, ROUNDS, SKIPPED = 128, 4, 5, 3, 1
BLOCK, BLOCKS, SETTLE_S = 3, 80, 0.02
SPEED = (16_000, 128, 4, 4)
"""Vocabulary, width, layers, heads."""
LIMITS = {
    "tokens/s over HF Trainer, full logits, half of each row a prompt": (1.15, "least"),
    "peak, 4 heads over 1 head": (1.15, "most"),
    "peak, 4 heads over 4 heads with full logits": (0.6, "most"),
    "steps/s, journal and tracker over neither": (0.99, "least"),
}


def model_folder(folder: Path, vocabulary: int, hidden: int, layers: int, heads: int) -> Path:
    """A random model with parallel heads, and a tokenizer over bytes."""
    if not folder.exists():
        torch.manual_seed(0)
        config = wmtp.MtpLlamaConfig(
            vocab_size=vocabulary, hidden_size=hidden, intermediate_size=hidden * 8 // 3, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=4, n_future_tokens=heads, max_position_embeddings=LENGTH,
            tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
        )  # fmt: skip
        wmtp.MtpLlamaForCausalLM(config).save_pretrained(folder)
        made: PreTrainedTokenizerFast = tokenizer()
        made.save_pretrained(folder)
    return folder


def rows_file(folder: Path, prompt: int) -> Path:
    """Rows of `LENGTH` tokens, the first `prompt` of them a prompt."""
    path = folder / f"rows-{prompt}.jsonl"
    generator = torch.Generator().manual_seed(1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(16):
            text = "".join(chr(97 + c) for c in torch.randint(26, (LENGTH - 2,), generator=generator).tolist())
            row = {"prompt": text[:prompt], "answer": text[prompt:]} if prompt else {"text": text}
            file.write(json.dumps(row) + "\n")
    return path


def request(folder: Path, model: Path, rows: Path, *, tracked: bool = False, **train_keys: Any) -> TrainingRequest:
    plugins = wmtp.create_plugin_manager()
    config: dict[str, Any] = {"devices": {"device": "cpu", "threads": 1}}
    if tracked:
        config["tracking"] = {"tensorboard": {"folder": str(folder / "board")}}
    part = {"sources": [{"dataset": "jsonl", "path": str(rows)}], "max_length": LENGTH, "pack_sequences": False}
    recipe = {
        "run": {"name": f"r{time.monotonic_ns()}"},
        "model": {"base_id": str(model)},
        "data": {"train": part},
        "train": {"batch_size": BATCH, "micro_batch_size": BATCH, **train_keys},
        "optim": {"lr": 1e-4, "warmup_ratio": 0.0},
        "checkpoint": {"every": 10**6, "asynchronous": False},
    }
    return TrainingRequest(
        config=wmtp.load_config(config, plugins=plugins),
        recipe=wmtp.load_recipe(recipe, plugins=plugins),
        plugins=plugins,
        runs=folder,
    )


def ours(asked: TrainingRequest) -> list[float]:
    """Seconds of every step but the first ones."""
    found: list[float] = []
    real = Loop._one

    def timed(self: Loop, step: int) -> None:
        began = time.perf_counter()
        real(self, step)
        found.append(time.perf_counter() - began)

    Loop._one = timed  # type: ignore[method-assign]
    try:
        train(Training(request=asked))
    finally:
        Loop._one = real  # type: ignore[method-assign]
    return found[SKIPPED:]


class FullLogits(Trainer):  # type: ignore[misc]
    """Every head's logits for the whole batch, and the plain loss."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        ids, trained = inputs["input_ids"], inputs["labels"]
        ones = torch.ones_like(ids, dtype=torch.float32)
        logits = model(ids, return_all_heads=True).logits
        loss = weighted_mtp_loss(logits, ids, ones, ones.bool(), trained=trained.bool())
        return (loss, logits) if return_outputs else loss


class Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.found.append(time.perf_counter() - self._began)


def theirs(folder: Path, model: Path, prompt: int, steps: int) -> list[float]:
    loaded = wmtp.MtpLlamaForCausalLM.from_pretrained(model)
    ids = torch.randint(2, 256, (16, LENGTH), generator=torch.Generator().manual_seed(1))
    rows = [{"input_ids": row, "labels": (torch.arange(LENGTH) >= prompt).long()} for row in ids]
    arguments = TrainingArguments(
        output_dir=str(folder / "hf"), max_steps=steps, per_device_train_batch_size=BATCH, learning_rate=1e-4,
        report_to="none", save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
        weight_decay=0.1, adam_beta2=0.95, dataloader_pin_memory=False, remove_unused_columns=False,
    )  # fmt: skip
    clock = Clock()
    FullLogits(model=loaded, args=arguments, train_dataset=rows, callbacks=[clock]).train()
    return clock.found[SKIPPED:]


def speed(folder: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    model = model_folder(folder / "speed", *SPEED)
    found = {}
    for prompt, told in ((0, "every token trained"), (LENGTH // 2, "half of each row a prompt")):
        rows = rows_file(folder, prompt)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            times[0].extend(ours(request(folder, model, rows, max_steps=STEPS)))
            times[1].extend(theirs(folder, model, prompt, STEPS))
        mine, other = map(statistics.median, times)
        print(f"{told}: ours {LENGTH * BATCH / mine:.0f} tokens/s, HF Trainer {LENGTH * BATCH / other:.0f}")
        found[f"tokens/s over HF Trainer, full logits, {told}"] = other / mine
    return found


def status(field: str) -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def two_steps(folder: Path, which: str) -> None:
    """A training of two steps with so many heads, or of Hugging Face's Trainer over full logits."""
    if which == "full logits":
        theirs(folder, folder / "memory", 0, 2)
    else:
        asked = request(folder, folder / "memory", folder / "rows-0.jsonl", max_steps=2, heads={"count": int(which)})
        train(Training(request=asked))


def peak_here(folder: Path, which: str, what: str) -> float:
    """MiB: what tensors took at their peak, as torch's allocator counts them; or what the process took above imports."""
    torch.set_num_threads(1)
    torch.randn(64, 64) @ torch.randn(64, 64)
    if what == "resident":
        before = status("VmRSS")
        two_steps(folder, which)
        return status("VmHWM") - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        two_steps(folder, which)
    changes = sorted(
        (e.start_ns(), e.nbytes()) for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"
    )
    return max(itertools.accumulate(size for _, size in changes)) / 2**20


def memory(folder: Path) -> dict[str, float]:
    """Tensors have limits; what a process takes depends on how its heap is cut up, by a tenth from one call to the next."""
    model_folder(folder / "memory", 32_000, 128, 8, 4)
    rows_file(folder, 0)
    found = {}
    for what, told in (("tensors", "peak"), ("resident", "resident peak")):
        peaks = {}
        for which in ("4", "1", "full logits"):
            command = [sys.executable, __file__, "peak", str(folder), which, what]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[which] = float(done.stdout.splitlines()[-1])
        print(f"{what}: " + ", ".join(f"{which}: {mib:.0f} MiB" for which, mib in peaks.items()))
        found[f"{told}, 4 heads over 1 head"] = peaks["4"] / peaks["1"]
        found[f"{told}, 4 heads over 4 heads with full logits"] = peaks["4"] / peaks["full logits"]
    return found


class Spent:
    """CPU time that a thread spends in some calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **more: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*arguments, **more)
            finally:
                self.seconds += time.thread_time() - began

        return timed


class Blocks:
    """Steps of one training in blocks that log, or do not: on, off, off, on, and so forth."""

    def __init__(self, real: Callable[[Loop, int], None], telling: Spent) -> None:
        """telling: what is done to tell of steps."""
        self._real, self._telling, self.told = real, telling, 0.0
        self.wall: dict[bool, list[float]] = {True: [], False: []}
        self.cpu: dict[bool, list[float]] = {True: [], False: []}

    def step(self, loop: Loop, step: int) -> None:
        block, place = divmod(step, BLOCK)
        logs = block % 4 in (0, 3)
        if place == 0:
            plan = loop._plan
            train = attrs.evolve(plan.sections.train, log_every=1 if logs else 10**6)
            loop._plan = attrs.evolve(plan, sections=attrs.evolve(plan.sections, train=train))
            self._began = time.perf_counter(), time.process_time(), self._telling.seconds
        self._real(loop, step)
        if place == BLOCK - 1:
            self.wall[logs].append(time.perf_counter() - self._began[0])
            time.sleep(SETTLE_S)  # what the journal's listener still writes of this block is this block's
            self.cpu[logs].append(time.process_time() - self._began[1])
            if block > 0:  # in the first one the tracker's process is started, once
                self.told += self._telling.seconds - self._began[2]


def journal(folder: Path) -> dict[str, float]:
    """CPU time is of all threads of the training; that of the tracker's process beside is not in it."""
    torch.set_num_threads(1)
    model, rows = model_folder(folder / "speed", *SPEED), rows_file(folder, 0)
    spent, patch = Spent(), ExitStack()
    blocks = Blocks(Loop._one, spent)
    asked = request(folder, model, rows, max_steps=BLOCK * BLOCKS, tracked=True)
    with patch:
        for owner, name in ((loop, "_shown"), (Loop, "_write"), (JournalListener, "handle")):
            patch.enter_context(mock.patch.object(owner, name, spent.counted(getattr(owner, name))))
        patch.enter_context(mock.patch.object(Loop, "_one", lambda self, step: blocks.step(self, step)))
        train(Training(request=asked))
    for what, times in (("CPU time", blocks.cpu), ("wall time", blocks.wall)):
        ratios = [math.log(off / on) for off, on in zip(times[False][1:], times[True][1:], strict=True)]
        centre, error = statistics.mean(ratios), statistics.stdev(ratios) / math.sqrt(len(ratios))
        at, low, high = (math.exp(centre + sign * 2 * error) for sign in (0, -1, 1))
        print(f"{what}, off over on: {at:.3f}, 95 % {low:.3f} to {high:.3f} ({len(ratios)} pairs of {BLOCK} steps)")
    step = statistics.median(blocks.cpu[False]) / BLOCK
    each = blocks.told / (BLOCK * (BLOCKS / 2 - 1))
    print(f"a step takes {1e3 * step:.1f} ms of CPU time, what is told of it {1e3 * each:.2f} ms")
    return {"steps/s, journal and tracker over neither": step / (step + each)}


def main() -> int:
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["peak"]:
        print(peak_here(Path(sys.argv[2]), *sys.argv[3:5]))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        for part in sys.argv[1:] or ("speed", "memory", "journal"):
            for name, ratio in {"speed": speed, "memory": memory, "journal": journal}[part](Path(place)).items():
                limit, kind = LIMITS.get(name, (0.0, ""))
                holds = not kind or (ratio >= limit if kind == "least" else ratio <= limit)
                missed += not holds
                print(f"{name}: {ratio:.3f}" + (f" (at {kind} {limit}{'' if holds else ': MISSED'})" if kind else ""))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
