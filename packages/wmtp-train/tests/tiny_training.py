"""A tiny model with four heads, a few examples, and trainings in this process."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import wmtp
from wmtp.testing import byte_tokenizer as testing
from wmtp_train.folder import TrainingFolder
from wmtp_train.journal import read_journal
from wmtp_train.loop import TrainingResult
from wmtp_train.plan import TrainingRequest
from wmtp_train.step import Stepper
from wmtp_train.trainer import Training, train

ROWS = [
    {"prompt": f"add {a} and {b}: ", "answer": f"{a} + {b} is {a + b}" + "!" * (a % 4)}
    for a, b in [(1, 2), (12, 7), (3, 30), (100, 4), (5, 5), (61, 2), (7, 70), (18, 9), (2, 2), (31, 8)]
]


SIZES: dict[str, Any] = {
    "vocab_size": 258, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": False,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip


def byte_tokenizer() -> PreTrainedTokenizerFast:
    return testing.byte_tokenizer(bos_token="<s>", eos_token="</s>", clean_up_tokenization_spaces=False)


def tiny_mtp(heads: int = 4, seed: int = 0) -> wmtp.MtpLlamaForCausalLM:
    torch.manual_seed(seed)
    return wmtp.MtpLlamaForCausalLM(wmtp.MtpLlamaConfig(n_future_tokens=heads, **SIZES))


def plain_llama(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_mtp().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def plugins() -> wmtp.Plugins:
    return wmtp.create_plugin_manager()


@attrs.frozen
class Finished:
    """A training of `Bench`'s own recipe to its end, made once: its run folder, and `Bench.digests` of it."""

    run: Path
    digests: dict[int, str]


class Bench:
    """Recipes of one tiny training in one folder of runs."""

    def __init__(self, folder: Path, model: Path, rows: Path, plugins: wmtp.Plugins) -> None:
        self.folder, self.plugins = folder, plugins
        self.recipe: dict[str, Any] = {
            "run": {"name": "t"},
            "model": {"base_id": str(model)},
            "data": {
                "train": {
                    "sources": [{"dataset": "jsonl", "path": str(rows)}],
                    "max_length": 64,
                    "pack_sequences": False,
                }
            },
            "train": {"max_steps": 6, "batch_size": 4, "micro_batch_size": 2},
            "optim": {"lr": 1e-2, "warmup_ratio": 0.0},
            "checkpoint": {"every": 2, "keep_last": None, "asynchronous": False},
        }
        self.config: dict[str, Any] = {"devices": {"device": "cpu"}}

    def request(self, **changes: Any) -> TrainingRequest:
        """A request of the recipe with sections' keys replaced: ``train={"max_steps": 3}``."""
        recipe = {name: dict(section) for name, section in self.recipe.items()}
        for section, keys in changes.items():
            recipe[section] = {**recipe.get(section, {}), **keys}
        return TrainingRequest(
            config=wmtp.load_config(self.config, plugins=self.plugins),
            recipe=wmtp.load_recipe(recipe, plugins=self.plugins),
            plugins=self.plugins,
            runs=self.folder,
        )

    def train(self, resume: str = "auto", listeners: tuple[Any, ...] = (), **changes: Any) -> TrainingResult:
        return train(
            Training(
                request=self.request(**changes),
                resume=resume,
                listeners=tuple((str(number), one) for number, one in enumerate(listeners)),
            )
        )

    def of(self, name: str = "t") -> TrainingFolder:
        return TrainingFolder(self.folder / name)

    def digests(self, name: str = "t") -> dict[int, str]:
        """Step → what decides the tensors of its checkpoint."""
        return {one.step: tensors_digest(one.path) for one in self.of(name).whole()}

    def values(self, name: str = "t") -> list[tuple[int, dict[str, float]]]:
        """The journal without its clock."""
        return [
            (step, {key: value for key, value in values.items() if not key.startswith("perf/")})
            for step, _, values in read_journal(self.of(name).journal)
        ]

    def finished(self, known: Finished) -> dict[int, str]:
        """Copies a finished training of the recipe as it stands here; returns its digests."""
        shutil.copytree(known.run, self.folder / "t")
        return known.digests

    def renamed(self, name: str) -> Bench:
        """The same training under another name."""
        other = Bench.__new__(Bench)
        other.__dict__ = {**self.__dict__, "recipe": {**self.recipe, "run": {"name": name}}}
        return other


def tensors_digest(path: Path) -> str:
    """sha256 of every tensor of a checkpoint, by name."""
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    whole = path.parent / f".{path.name}.pt"
    dcp_to_torch_save(path, whole)
    found = torch.load(whole, weights_only=True)
    whole.unlink()
    digest = hashlib.sha256()
    for name, tensor in sorted(_flat("", found)):
        digest.update(name.encode() + tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _flat(prefix: str, value: Any) -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(prefix, value)]
    return [pair for name, inner in value.items() for pair in _flat(f"{prefix}/{name}", inner)]


@pytest.fixture(scope="session")
def known(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, rows_file: Path, plugins: wmtp.Plugins
) -> Finished:
    made = Bench(tmp_path_factory.mktemp("finished"), model_folder, rows_file, plugins)
    made.train()
    return Finished(made.folder / "t", made.digests())


@pytest.fixture
def bench(tmp_path: Path, model_folder: Path, rows_file: Path, plugins: wmtp.Plugins) -> Bench:
    return Bench(tmp_path / "runs", model_folder, rows_file, plugins)


class OverflowingStepper(Stepper):
    """The loss of the second step's second micro-batch is not a number; that of its first is."""

    def gradient(self, step: int, coefficients: Any) -> Any:
        self._step, self._part = step, 0
        return super().gradient(step, coefficients)

    def _losses(self, *arguments: Any) -> Any:
        losses, weights = super()._losses(*arguments)
        self._part += 1
        if (self._step, self._part) == (1, 2):
            losses = attrs.evolve(losses, loss=losses.loss * float("inf"))
        return losses, weights


class StopAfter:
    """Sends this process SIGTERM when a step is logged: the training saves and ends."""

    def __init__(self, step: int, signal_number: int) -> None:
        self._step, self._signal = step, signal_number

    def handle(self, event: Any) -> None:
        import os

        from wmtp.events import StepLogged

        if isinstance(event, StepLogged) and event.step == self._step:
            os.kill(os.getpid(), self._signal)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def stop_after() -> Callable[[int, int], StopAfter]:
    return StopAfter


__all__ = ["Bench", "Finished", "byte_tokenizer", "plain_llama", "tensors_digest", "tiny_mtp"]
