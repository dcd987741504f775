"""Several processes on this machine, by torch's own launcher; what ended one is said in a sentence."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import wmtp
from wmtp_train.plan import TrainingRequest, check_processes
from wmtp_train.settings import sections_of
from wmtp_train.signals import heard

SHUTDOWN_S = 600
"""How long processes that are told to stop may take to save."""


def check(processes: int, request: TrainingRequest) -> None:
    """Raises ConfigError for what would fail in every process, before one is started."""
    check_processes(processes, sections_of(request.recipe))


def launch(processes: int, arguments: Sequence[str]) -> None:
    """Runs ``wmtp`` with these arguments in so many processes that train together.

    Raises:
        WmtpError: One of them ended otherwise than it should; says which, and how.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(),
        shutdown_timeout=SHUTDOWN_S,
    )
    try:
        with _passed_on():
            elastic_launch(config, sys.executable)("-m", "wmtp", *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise wmtp.WmtpError(
            f"process {rank} of {processes} {_how(failure.exitcode)}; what it said is above. Checkpoints are whole: run the "
            "same command again to go on from the newest."
        ) from None
    except SignalException as error:
        # The processes have saved and ended; this one ends as a signal ends it.
        signal.signal(error.sigval, signal.default_int_handler if error.sigval == signal.SIGINT else _terminated)
        os.kill(os.getpid(), error.sigval)


@contextmanager
def _passed_on() -> Iterator[None]:
    """Within, SIGUSR1 goes on to the processes that train: those children that have come to where they listen for it."""

    def pass_on(number: int, _: object) -> None:
        for child in _children():
            with suppress(OSError):  # it has ended meanwhile
                if int(_status(child, "SigCgt"), 16) >> (number - 1) & 1:
                    os.kill(child, number)

    with heard(signal.SIGUSR1, pass_on):
        yield


def _children() -> list[int]:
    return [int(one) for tasks in Path("/proc/self/task").glob("*/children") for one in tasks.read_text().split()]


def _status(process: int, field: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field))


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"
