"""Two processes on one machine: the same weights as one up to rounding, the same bits after a kill, and who was killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_training import Bench, OverflowingStepper

from wmtp_train import loop
from wmtp_train.folder import TrainingFolder
from wmtp_train.journal import read_journal


class Command:
    """``wmtp train`` in processes of its own, in a folder with its config and recipe."""

    def __init__(self, folder: Path, bench: Bench, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.run = folder, folder / "runs" / name
        recipe = {**bench.recipe, "run": {"name": name}}
        (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
        (folder / "config.yaml").write_text(json.dumps(bench.config), encoding="utf-8")

    def start(self, processes: int, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "wmtp", "train", "config.yaml", "recipe.yaml", "--processes", str(processes), *more],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, processes: int, *more: str) -> str:
        process = self.start(processes, *more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out + err


def tensors(path: Path) -> dict[str, torch.Tensor]:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    dcp_to_torch_save(path, path.parent / "whole.pt")
    found: dict[str, torch.Tensor] = torch.load(path.parent / "whole.pt", weights_only=True)["model"]
    return found


def ranks(run: Path) -> list[int]:
    """Processes of this machine that train in this run, launcher aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                here = (entry / "cwd").resolve() == run.parent.parent.resolve()
            except OSError:
                continue
            if here and any(part.startswith(b"LOCAL_RANK=") for part in environment):
                found.append(int(entry.name))
    return sorted(found)


def wait_for(condition: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


# AdamW hides a factor on the gradient; with an eps of 1 it does not, and with such a limit every step is clipped.
NO_HIDING = {"lr": 1.0, "warmup_ratio": 0.0, "eps": 1.0, "grad_clip": 0.1, "scheduler": "constant"}


def check_two(bench: Bench, folder: Path, start: Callable[[Command], None], **train: str) -> None:
    """Weights and the norm of the gradient are those of one process, up to rounding."""
    bench.recipe["train"] = {"max_steps": 3, "batch_size": 4, "micro_batch_size": 1, **train}
    bench.recipe["optim"] = NO_HIDING
    bench.train()
    two = Command(folder, bench, "two")
    start(two)
    norms = [
        [values.get("train/grad_norm", 0.0) for _, _, values in read_journal(run / "train" / "metrics.jsonl")]
        for run in (bench.folder / "t", two.run)
    ]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    wanted, found = tensors(bench.of().at(3)), tensors(two.run / "train" / "checkpoints" / "step-00000003")
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        assert torch.allclose(found[name], tensor, atol=2e-5), name


def test_two_processes_end_with_the_weights_of_one_up_to_rounding(bench: Bench, tmp_path: Path) -> None:
    check_two(bench, tmp_path / "two", lambda command: command.finish(2) and None)


NORM_OF_SHARDS = """
def clip(self):
    grads = [p.grad.to_local() for p in self._plan.model.parameters() if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(grads))
    for grad in grads:
        grad.mul_(min(1.0, self._plan.sections.optim.grad_clip / norm))
    return norm
loop.Loop._clip = clip
"""
MEANS_OF_PROCESSES = """
def gradient(self, step_number, coefficients):
    real = self.denominators
    def mine(rows, chosen):
        parts = step.order.micro_batches(chosen, size=1, rank=self._processes.rank, world=2)
        return real(rows, [row for part in parts for row in part]) * 2
    self.denominators = mine
    try:
        return whole(self, step_number, coefficients)
    finally:
        self.denominators = real
whole = step.Stepper.gradient
step.Stepper.gradient = gradient
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", [NORM_OF_SHARDS, MEANS_OF_PROCESSES, ""], ids=["norm of shards", "means", "none"])
def test_the_comparison_fails_for_two_processes_with_this_fault(bench: Bench, tmp_path: Path, fault: str) -> None:
    script = tmp_path / "faulty.py"
    script.write_text(
        f"import sys, torch\nfrom wmtp_train import loop, step\n{fault}\nfrom wmtp.cli import main\nsys.exit(main())\n"
    )

    if not fault:
        check_two(bench, tmp_path / "faulty", torchrun(script))
        return
    with pytest.raises(AssertionError):
        check_two(bench, tmp_path / "faulty", torchrun(script))


def torchrun(script: Path) -> Callable[[Command], None]:
    """Starts a script that stands for `wmtp`, in two processes."""

    def start(command: Command) -> None:
        two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        subprocess.run(
            [*two, str(script), "train", "config.yaml", "recipe.yaml"],
            cwd=command.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
            timeout=300,
        )

    return start


@pytest.mark.slow
def test_what_a_step_that_is_left_out_had_computed_is_in_no_later_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards keep the gradient of earlier micro-batches where nobody sets it to nothing."""
    script = tmp_path / "overflowing.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom tiny_training import OverflowingStepper\n"
        "from wmtp_train import loop\nloop.Stepper = OverflowingStepper\nfrom wmtp.cli import main\nsys.exit(main())\n"
    )
    monkeypatch.setattr(loop, "Stepper", OverflowingStepper)
    check_two(bench, tmp_path / "two", torchrun(script), on_nan="skip")


def test_sigusr1_reaches_processes_and_a_killed_one_is_named_and_another_number_goes_on(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.recipe["train"] = {"max_steps": 60, "batch_size": 4, "micro_batch_size": 1}
    bench.recipe["checkpoint"] = {"every": 1000, "keep_last": 2}
    command = Command(tmp_path / "killed", bench, "killed")
    process = command.start(2)
    wait_for(lambda: len(ranks(command.run)) == 2)
    worker = ranks(command.run)[1]

    def saved() -> bool:
        process.send_signal(signal.SIGUSR1)
        return newest(command.run) > 0

    wait_for(saved)
    os.kill(worker, signal.SIGKILL)
    _, error = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "of 2 was killed by SIGKILL" in error
    assert "run the same command again" in error
    again = bench.renamed("killed")
    again.folder = command.run.parent
    assert again.train().step == 60
    assert "written by 2 processes and 1 go on" in caplog.text


@pytest.mark.slow
def test_two_processes_killed_twenty_times_at_random_end_with_the_same_bits(bench: Bench, tmp_path: Path) -> None:
    """Either process or both, some milliseconds behind a step: in a step, in a save, before the mark."""
    from tiny_training import tensors_digest

    lora = {"rank": 2, "dropout": 0.3, "target_modules": ["q_proj", "v_proj"]}
    bench.recipe["train"] = {"max_steps": 120, "batch_size": 4, "micro_batch_size": 1, "lora": lora}
    bench.recipe["checkpoint"] = {"every": 2, "keep_last": None}
    whole, killed = Command(tmp_path / "a", bench, "a"), Command(tmp_path / "b", bench, "b")
    whole.finish(2)
    chance = random.Random(11)
    for _ in range(20):
        process, began = killed.start(2), time.time()
        steps = newest(killed.run) + chance.randint(1, 3)
        wait_for(lambda p=process, t=began, n=steps: p.poll() is not None or logged(killed.run, t) >= n, 400)
        time.sleep(chance.random() * 0.1)
        there = ranks(killed.run)
        for one in chance.choice([there, there[:1], there[1:]]):
            os.kill(one, signal.SIGKILL)
        process.communicate(timeout=300)
        assert process.returncode != 0, "it ended before it was killed"
    killed.finish(2)
    last = Path("train") / "checkpoints" / "step-00000120"
    assert tensors_digest(whole.run / last) == tensors_digest(killed.run / last)
    journals = [Bench(run.parent, run, run, bench.plugins).values(run.name) for run in (whole.run, killed.run)]
    assert journals[0] == journals[1]
    assert not list(killed.run.rglob(".partial-*"))


def newest(run: Path) -> int:
    """The step of the newest checkpoint."""
    return max((one.step for one in TrainingFolder(run).whole()), default=0)


def logged(run: Path, since: float) -> int:
    """The last step of a journal that was written to since then; 0 before."""
    journal = run / "train" / "metrics.jsonl"
    if not journal.exists() or journal.stat().st_mtime < since:
        return 0
    return max((step for step, _, _ in read_journal(journal)), default=0)


def start_nodes(command: Command) -> list[subprocess.Popen[str]]:
    """Two nodes of torchrun on loopback, a process each."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "x"]
    options += ["--local-addr", "127.0.0.1", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    return [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *options,
                "-m",
                "wmtp",
                "train",
                "config.yaml",
                "recipe.yaml",
            ],
            cwd=command.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]


@pytest.mark.slow
def test_two_nodes_of_torchrun_on_loopback_end_with_the_weights_of_one_up_to_rounding(
    bench: Bench, tmp_path: Path
) -> None:
    def start(command: Command) -> None:
        for node in start_nodes(command):
            _, error = node.communicate(timeout=300)
            assert node.returncode == 0, error

    check_two(bench, tmp_path / "nodes", start)


@pytest.mark.slow
@pytest.mark.parametrize("of_process", [0, 1])
def test_a_killed_node_is_named_by_the_other_and_the_same_command_goes_on(
    bench: Bench, tmp_path: Path, of_process: int
) -> None:
    bench.recipe["train"] = {"max_steps": 60, "batch_size": 4, "micro_batch_size": 1}
    bench.recipe["checkpoint"] = {"every": 3, "keep_last": 2}
    command = Command(tmp_path / "nodes", bench, "nodes")
    nodes = start_nodes(command)
    wait_for(lambda: len(ranks(command.run)) == 2, 400)
    worker = next(pid for pid in ranks(command.run) if f"RANK={of_process}".encode() in variables(pid))
    launcher = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    checkpoints = command.run / "train" / "checkpoints"
    wait_for(lambda: any((one / "COMPLETE").exists() for one in checkpoints.glob("step-*")), 400)
    for pid in (launcher, worker):
        os.kill(pid, signal.SIGKILL)
    said = [node.communicate(timeout=300)[1] for node in nodes]
    other = next(text for node, text in zip(nodes, said, strict=True) if node.pid != launcher)
    assert f"has lost process {of_process} (node {of_process}, " in other
    assert "by the same command to go on" in other
    for node in start_nodes(command):
        node.communicate(timeout=300)
        assert node.returncode == 0
    assert (checkpoints / "step-00000060" / "COMPLETE").exists()


def variables(pid: int) -> list[bytes]:
    return (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
