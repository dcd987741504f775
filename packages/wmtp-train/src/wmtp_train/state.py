"""What a checkpoint holds, and how it is written and read: torch.distributed.checkpoint, one folder a checkpoint."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import async_save, save

import wmtp
from wmtp_train.folder import Checkpoint, TrainingFolder
from wmtp_train.processes import Processes

# What the library warns of where there is one process: that there is one process.
warnings.filterwarnings("ignore", message="torch.distributed is disabled", module="torch.distributed.checkpoint")


def adamw(model: nn.Module, *, lr: float, betas: tuple[float, float], eps: float, decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices alone. Its state is there from the start, so that a checkpoint always has all of it."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, eps=eps)
    for parameter in trained:
        optimiser.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimiser


class Ema:
    """A running mean of the trained weights, of whatever part this process holds."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.means = {name: p.detach().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights of a finished step."""
        for name, parameter in self._trained.items():
            self.means[name].lerp_(parameter.detach(), 1 - self._decay)


def contents(model: nn.Module, optimiser: torch.optim.Optimizer | None, ema: Ema | None) -> dict[str, Any]:
    """Every tensor of a training by name; reading a checkpoint writes into these very tensors."""
    found: dict[str, Any] = {"model": dict(model.state_dict())}
    if optimiser is not None:
        names = {id(p): name for name, p in model.named_parameters()}
        found["optimizer"] = {names[id(p)]: dict(state) for p, state in optimiser.state.items()}
    if ema is not None:
        found["ema"] = dict(ema.means)
    return found


def load(checkpoint: Checkpoint, into: dict[str, Any], processes: Processes) -> None:
    """Reads a checkpoint into tensors that are there, whatever number of processes wrote it."""
    try:
        dcp_load(into, checkpoint_id=str(checkpoint.path), no_dist=processes.world == 1)
    except CheckpointException as error:
        raise wmtp.WmtpError(
            f"checkpoint {checkpoint.path} cannot be read: {_reason(error)}. `wmtp checkpoints verify` says what is damaged; "
            "move it away, and the training goes on from the one before."
        ) from error


class Saver:
    """Writes checkpoints, beside training where that is wanted, one at a time."""

    def __init__(self, folder: TrainingFolder, processes: Processes, *, asynchronous: bool) -> None:
        self._folder, self._processes = folder, processes
        self._asynchronous = asynchronous
        # A group of its own: what the writing thread sends must not meet what training sends.
        self._group = dist.new_group(backend="gloo") if processes.world > 1 else None
        self._pending: tuple[Any, int, Mapping[str, Any]] | None = None

    def begin(self, step: int, state: Mapping[str, Any], tensors: dict[str, Any]) -> Checkpoint | None:
        """Writes a checkpoint, or begins to. Returns the one that is whole now: this one, or the one begun before."""
        before = self.finish()
        partial = self._folder.partial(step)
        if self._processes.first:
            self._folder.clear_partial()
            partial.mkdir(parents=True)
        self._processes.wait()
        alone = self._processes.world == 1
        if self._asynchronous:
            future = async_save(tensors, checkpoint_id=str(partial), process_group=self._group, no_dist=alone)
            self._pending = (future, step, state)
            return before
        with self._written(step):
            save(tensors, checkpoint_id=str(partial), process_group=self._group, no_dist=alone)
            return self._publish(step, state)

    def finish(self) -> Checkpoint | None:
        """Waits for what is being written. Returns it, now whole."""
        if self._pending is None:
            return None
        future, step, state = self._pending
        self._pending = None
        with self._written(step):
            future.result()
            return self._publish(step, state)

    @contextmanager
    def _written(self, step: int) -> Iterator[None]:
        """Turns what goes wrong with writing into a sentence, and leaves no part that would take the room of the next try."""
        try:
            yield
        except (CheckpointException, OSError) as error:
            partial = self._folder.partial(step)
            if self._processes.first:
                shutil.rmtree(partial, ignore_errors=True)
            raise wmtp.WmtpError(
                f"the checkpoint of step {step} cannot be written to {partial.parent}: {_reason(error)}. The checkpoints "
                "before it are whole; make room, and run the same command again."
            ) from error

    def _publish(self, step: int, state: Mapping[str, Any]) -> Checkpoint | None:
        self._processes.wait()
        found = self._folder.publish(step, dict(state)) if self._processes.first else None
        self._processes.wait()
        return found


def _reason(error: BaseException) -> str:
    """What one process met, in words: the library hands its exceptions over in one of its own."""
    failures = getattr(error, "failures", {})
    rank, (inner, *_) = next(iter(sorted(failures.items())), (0, (error,)))
    said = getattr(inner, "strerror", None) or str(inner)
    return f"{said} (process {rank})" if len(failures) and rank else said


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights of a model that is not sharded, on the CPU."""
    return {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
