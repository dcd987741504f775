"""This process among those that train together: one alone, or one of a group that torchrun started."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

import wmtp

LOST_WORDS = ("closed by peer", "reset by peer", "Broken pipe", "Socket closed", "gloo/transport", "NCCL")
"""What libraries say of a connection to a process that has ended."""
ANSWER_S = 5.0
Found = TypeVar("Found")


@attrs.frozen(kw_only=True)
class Processes:
    """Which of them this is.

    Attributes:
        names: What each is called in messages, where there are several: process, node, host, number of the operating system.
        store: What all of them can write to and read of beside collectives, where there are several.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    names: tuple[str, ...] = ()
    store: Any = attrs.field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def agree(self, flag: bool) -> bool:
        """Whether any of them says so; a collective."""
        if self.world == 1:
            return flag
        found = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found.item())

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all of them; a collective."""
        if self.world > 1:
            dist.all_reduce(values, dist.ReduceOp.SUM)
        return values

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            dist.barrier()

    def not_heard_from(self) -> tuple[str, ...]:
        """Names of those that do not say within a few seconds that they, too, have lost somebody."""
        deadline = time.monotonic() + ANSWER_S
        try:
            self.store.set(f"wmtp/lost/{self.rank}", "")
            while True:
                gone = [rank for rank in range(self.world) if not self.store.check([f"wmtp/lost/{rank}"])]
                if not gone or time.monotonic() > deadline:
                    return tuple(self.names[rank] for rank in gone)
                time.sleep(0.1)
        except (RuntimeError, OSError):  # the store is on the first node, and has gone with it
            return () if self.first else self.names[:1]

    def of_first(self, find: Callable[[], Found]) -> Found:
        """What the first process finds, on all of them, and so is a ConfigError that it raises; a collective."""
        told: list[Any] = [None]
        if self.first:
            try:
                told = [find()]
            except wmtp.ConfigError as error:
                told = [error]
        if self.world > 1:
            dist.broadcast_object_list(told, src=0)
        found: Found = told[0]
        if isinstance(found, wmtp.ConfigError):
            raise found
        return found

    def same(self, text: str) -> bool:
        """Whether all of them have the same text; a collective."""
        if self.world == 1:
            return True
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, text)
        return len(set(found)) == 1


@contextmanager
def threads(wanted: int | str) -> Iterator[None]:
    """torch's number of threads within, as config's ``devices.threads`` says; ``auto`` is torch's own.

    Unlike a decoder's it is not chosen by the clock: how sums are split decides last bits, and two trainings shall be equal.
    """
    before = torch.get_num_threads()
    if isinstance(wanted, int):
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _counted(name: str, otherwise: int) -> int:
    """A whole number of the environment, 0 or more."""
    said = os.environ.get(name, str(otherwise))
    if not said.isdecimal() or (name == "WORLD_SIZE" and int(said) < 1):
        raise wmtp.ConfigError(
            f"the environment variable {name} is {said!r}: torchrun sets it; leave it out without torchrun"
        )
    return int(said)


def _met() -> tuple[Any, int, int]:
    """The store that all processes share, this one's rank, and how many they are."""
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise wmtp.ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and {', '.join(missing)} not set: torchrun sets all of them; for one "
            "process leave WORLD_SIZE out"
        )
    _counted("RANK", 0)
    try:
        store, rank, world = next(rendezvous("env://"))
    except (RuntimeError, ValueError, OSError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise wmtp.WmtpError(
            f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} does not reach the first one at {place}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return store, rank, world


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Joins the group that the environment names (``torchrun`` sets it), or none."""
    if _counted("WORLD_SIZE", 1) == 1:
        yield Processes(device=device)
        return
    kind = torch.device(device).type
    if kind == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    store, rank, world = _met()
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", store=store, rank=rank, world_size=world
    )
    names: list[Any] = [None] * world
    node = os.environ.get("GROUP_RANK", "0")
    dist.all_gather_object(names, f"process {rank} (node {node}, {socket.gethostname()}, pid {os.getpid()})")
    processes = Processes(rank=rank, world=world, device=device, names=tuple(names), store=store)
    try:
        yield processes
    except Exception as error:
        if any(words in str(error) for words in LOST_WORDS) and (gone := processes.not_heard_from()):
            raise wmtp.WmtpError(
                f"{names[rank]} has lost {', '.join(gone)}, which ended or no longer answers; what it said is where it was "
                "started. Checkpoints are whole: start all of them again by the same command to go on from the newest."
            ) from error
        raise
    finally:
        dist.destroy_process_group()


def shard(model: nn.Module, processes: Processes) -> None:
    """Shards a model's blocks one by one, then the rest, which stays whole between forward and backward: the loss needs it."""
    if processes.world == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(torch.device(processes.device).type, (processes.world,))
    for block in model.shardable():  # type: ignore[operator]
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    register_fsdp_forward_method(model, "head_states")


class Signals:
    """SIGTERM and SIGUSR1 set a flag, which is looked at between steps: the first ends the training, both save."""

    def __init__(self) -> None:
        self.stop = self.save = False

    def _heard(self, number: int, _: Any) -> None:
        if number == signal.SIGUSR1:
            self.save = True
        else:
            self.stop = True

    @contextmanager
    def heard(self) -> Iterator[Signals]:
        """Within, the two signals are this object's, where this is the main thread."""
        try:
            before = {number: signal.signal(number, self._heard) for number in (signal.SIGTERM, signal.SIGUSR1)}
        except ValueError:  # not the main thread: signals are somebody else's
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
