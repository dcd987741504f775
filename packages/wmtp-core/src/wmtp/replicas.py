"""Engines of one machine side by side: a process for each device, as one engine.

On graphics processors each replica has one of them. On the CPU they share the processors, which helps where one engine does
not keep all of them busy.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Protocol

from wmtp.contracts.engines import Departure, Engine, GenerationRequest, HeadScores, Message, Sampling
from wmtp.errors import ConfigError, WmtpError
from wmtp.kit.spreading import Spread
from wmtp.kit.workers import EngineStream, Taken, WorkerFacts, WorkerLostError, raised

WINDOW = 128
"""Requests that a replica holds at most: it decodes some, and has the next ones at hand."""
PATIENCE_S = 600.0


class Opens(Protocol):
    """What opens an engine, in whatever process. It is pickled."""

    def load(self) -> Engine: ...


def devices_of(device: str, replicas: int | str) -> list[str]:
    """The device of each replica.

    Raises:
        ConfigError: More are asked for than there are graphics processors.
    """
    if replicas == 1:
        return [device]
    import torch

    here = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if replicas == "auto":
        return [f"cuda:{i}" for i in range(here)] if here > 1 else [device]
    if here and int(replicas) > here:
        raise ConfigError(
            f"devices.replicas is {replicas}, but torch sees {here} graphics processors (devices.replicas: auto)"
        )
    return [f"cuda:{i}" if here else device for i in range(int(replicas))]


def threads_of(replicas: int) -> int:
    """Threads of each of so many engines on this machine's processors."""
    return max(1, len(os.sched_getaffinity(0)) // replicas)


def open_replicas(loaders: Sequence[Opens], patience_s: float = PATIENCE_S) -> Spread:
    """A process for each of `loaders`, that opens its engine. Raises what opening raises."""
    starts = [partial(Replica, loader) for loader in loaders]
    advice = "A process that is killed at once has mostly run out of memory: use fewer devices.replicas."
    return Spread(starts, window=WINDOW, patience_s=patience_s, advice=advice)


class Replica:
    """A process with an engine. See `wmtp.kit.workers.Worker`."""

    def __init__(self, loader: Opens) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, pickle.dumps(loader)), daemon=True)
        self._process.start()
        theirs.close()

    def _ask(self, *question: Any) -> Any:
        try:
            self._ours.send(question)
            answer = self._ours.recv()
        except (EOFError, OSError):
            self._process.join(timeout=5)
            raise WorkerLostError(f"process {self._process.pid} ended with status {self._process.exitcode}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def facts(self) -> WorkerFacts:
        return self._ask("facts")  # type: ignore[no-any-return]

    def give(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
        self._ask("give", list(requests), sampling)

    def take(self) -> Taken:
        return self._ask("take")  # type: ignore[no-any-return]

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        return self._ask("head_scores", prompt, text)  # type: ignore[no-any-return]

    def departures(
        self, request: GenerationRequest, sampling: Sampling, texts: Sequence[str]
    ) -> Sequence[Departure | None] | None:
        return self._ask("departures", request, sampling, texts)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._ours.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def serve(connection: Connection, loader: bytes) -> None:
    """The process: answers until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the command, which ends us
    stream: EngineStream | None = None
    while True:
        try:
            name, *arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if stream is None:
                stream = EngineStream(pickle.loads(loader).load(), {})
            answer = getattr(stream, name)(*arguments)
        except Exception as error:  # noqa: BLE001  (it is raised at the other end)
            answer = raised(error)
        try:
            connection.send(answer)
        except (pickle.PicklingError, TypeError, AttributeError):
            connection.send(WmtpError(str(answer)))
        except OSError:
            return
