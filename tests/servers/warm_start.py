"""``wmtp ARGUMENTS`` in a process of its own that has imported already what the command will.

torch and transformers cost a command four seconds of processor time before it does anything, and tests run the command a
hundred times. Here one process imports them once and forks for each command. The command starts as ``python -m wmtp`` does,
with its own arguments, folder, environment and output, and ends as one does: threads, then exit functions. What differs: the
hash seed is that of the first process, and imports of core that a command forgot are not noticed. Commands that start cold
are tested elsewhere (`test_readme`'s first, `test_resume`, core's `cli`), and so is what they import.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

MODULES = (
    "torch", "transformers", "transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama",
    "transformers.tokenization_utils_tokenizers", "safetensors.torch", "scipy.stats", "boto3", "rich.progress", "rich.table",
    "wmtp.cli.eval", "wmtp.evaluation.driver", "wmtp.models.load", "wmtp.generation.engine", "wmtp.reports",
)  # fmt: skip
# What an interpreter or one of those modules reads when it starts: a command with its own starts cold.
READ_AT_START = (
    "PYTHON",
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "TORCH",
    "OMP_",
    "MKL_",
    "CUDA_",
    "LD_",
    "LC_",
    "LANG",
)
_MESSAGE_BYTES = 1 << 17


class WarmStart:
    """The client: one for each of pytest's workers."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._channel, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(there.fileno())],
                pass_fds=[there.fileno()], env=self._environment, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether a command with this environment may start warm."""
        own, other = (
            {k: v for k, v in of.items() if k.startswith(READ_AT_START)} for of in (self._environment, environment)
        )
        return own == other

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with ``capture_output=True, text=True``. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)})
            socket.send_fds(self._channel, [request.encode()], [out.fileno(), err.fileno()])
            pid = int(self._received(until))
            try:
                status = int(self._received(until))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._received(time.monotonic() + 60)
                raise subprocess.TimeoutExpired(list(arguments), timeout) from None
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode().replace("\r\n", "\n").replace("\r", "\n"))
        return subprocess.CompletedProcess(list(arguments), status, *texts)

    def _received(self, until: float) -> bytes:
        self._channel.settimeout(max(until - time.monotonic(), 0.001))
        message = self._channel.recv(_MESSAGE_BYTES)
        if not message:
            raise RuntimeError(f"the process that starts commands ended with status {self._process.wait()}")
        return message

    def close(self) -> None:
        self._channel.close()
        self._process.wait(60)


def _serve(channel: socket.socket) -> None:
    """Forks for each request."""
    for name in MODULES:
        import_module(name)
    gc.freeze()
    while True:
        message, files, *_ = socket.recv_fds(channel, _MESSAGE_BYTES, 2)
        if not message:
            return
        pid = os.fork()
        if not pid:
            channel.close()
            _ended(_command(**json.loads(message), files=files))
        for file in files:
            os.close(file)
        channel.send(str(pid).encode())
        channel.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def _command(arguments: list[str], cwd: str, environment: dict[str, str], files: list[int]) -> int:
    """The status with which the interpreter would exit."""
    from wmtp.cli import main

    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = ["wmtp", *arguments]
    try:
        return main()
    except SystemExit as error:
        if isinstance(error.code, int | None):
            return error.code or 0
        print(error.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  (as the interpreter does)
        traceback.print_exc()
    return 1


def _ended(status: int) -> NoReturn:
    """Ends as an interpreter does, but for the taking apart of 3,400 modules, which takes longer than the command."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
