"""Kill -9 in steps, in saves, between shards and COMPLETE, in exports: the end is that of a run without kills."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import Bench

from wmtp_train.export import export

WATCHED = ("/wmtp_train/", "/torch/distributed/checkpoint/")
CHANGES: dict[str, Any] = {
    "train": {
        "max_steps": 4,
        "lora": {"rank": 2, "dropout": 0.3, "target_modules": ["q_proj", "v_proj"]},
        "ema": 0.9,
        "micro_batch_size": 4,
    },
    "checkpoint": {"every": 2, "asynchronous": True},
}


def work(bench: Bench) -> None:
    """A training and the export of its end."""
    bench.train(**CHANGES)
    export(bench.request(**CHANGES), bench.of(bench.recipe["run"]["name"]).whole()[-1])


def in_child(call: Callable[[], None], kill_at: int | None = 0) -> tuple[int, int]:
    """Runs it in a process of its own, which kills itself at that call of a watched function, on whatever thread.

    kill_at: ``None``: they are counted, and it lives. 0: nor are they counted.

    Returns:
        The child's status, and how many calls there were if it lived.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        calls = 0

        def profile(frame: Any, event: str, _: Any) -> None:
            nonlocal calls
            if event == "call" and any(part in frame.f_code.co_filename for part in WATCHED):
                calls += 1
                if calls == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            if kill_at != 0:
                threading.setprofile(profile)
                sys.setprofile(profile)
            call()
            sys.setprofile(None)
            os.write(writing, str(calls).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        return status, int(pipe.read() or b"0")


def digest_of(bench: Bench) -> dict[str, Any]:
    """Weights, optimiser, running mean, export and journal."""
    name = bench.recipe["run"]["name"]
    folder = bench.of(name)
    exported = folder.export(4)
    files = sorted(path for path in exported.rglob("*") if path.is_file())
    return {
        "tensors": bench.digests(name)[4],
        "export": [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files],
        "journal": bench.values(name),
    }


def kills(bench: Bench, moments: list[float]) -> None:
    for module in ("peft", "torch.distributed.checkpoint.format_utils"):
        import_module(module)  # here, and not in every child
    whole = bench.renamed("whole")
    status, calls = in_child(lambda: work(whole), None)
    assert status == 0
    assert calls > 500
    wanted = digest_of(whole)
    for number, moment in enumerate(moments):
        killed = bench.renamed(f"killed-{number}")
        status, _ = in_child(lambda one=killed: work(one), max(1, int(moment * calls)))
        assert os.WTERMSIG(status) == signal.SIGKILL, "it was not killed"
        status, _ = in_child(lambda one=killed: work(one))
        assert status == 0
        assert digest_of(killed) == wanted, f"killed at {moment:.3f} of the way"
        assert not list(bench.folder.rglob(".partial-*")), "what the kill left is still there"


def test_five_kills_end_with_the_same_bits(bench: Bench) -> None:
    kills(bench, [0.2, 0.45, 0.6, 0.8, 0.97])


@pytest.mark.slow
def test_twenty_kills_at_random_moments_end_with_the_same_bits(bench: Bench) -> None:
    chance = random.Random(7)
    kills(bench, [chance.random() for _ in range(20)])


def test_killed_between_the_files_and_the_mark_a_checkpoint_is_not_there(bench: Bench, tmp_path: Path) -> None:
    """The function that publishes is entered, and no more."""
    from wmtp_train.folder import TrainingFolder

    def publish(self: TrainingFolder, step: int, state: dict[str, Any]) -> Any:
        assert list(self.partial(step).glob("*.distcp"))
        os.kill(os.getpid(), signal.SIGKILL)

    def dying() -> None:
        TrainingFolder.publish = publish  # type: ignore[method-assign]  (in the child alone)
        work(bench)

    status, _ = in_child(dying)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert bench.of().whole() == []
    assert list(bench.of().checkpoints.glob(".partial-*"))
    whole = bench.renamed("whole")
    for one in (bench, whole):
        assert in_child(lambda one=one: work(one))[0] == 0
    assert digest_of(bench) == digest_of(whole)
