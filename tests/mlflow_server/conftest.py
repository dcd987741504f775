"""A real MLflow server on loopback, over sqlite, that a test may kill and start again."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from s3_servers import free_ports

NEEDED = ("mlflow", "sqlalchemy", "alembic", "pandas", "aiohttp")


class Server:
    """Its url stays the same over starts, and so do its runs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        arguments += ["--backend-store-uri", f"sqlite:///{self._folder}/runs.db"]
        arguments += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            )
        until = time.monotonic() + 180
        while not self._answers():
            assert time.monotonic() < until, (self._folder / "log").read_text()[-2000:]
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """kill -9, with all that it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.url)

    def run(self, name: str) -> Any:
        """The one run of this name, in any experiment."""
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        (found,) = self.client.search_runs(experiments, f"tags.`mlflow.runName` = '{name}'")
        return found

    def history(self, name: str, key: str) -> list[tuple[int, float, int]]:
        """(step, value, time in milliseconds) of every point, by step."""
        points = self.client.get_metric_history(self.run(name).info.run_id, key)
        return sorted((p.step, p.value, p.timestamp) for p in points)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        message = f"an MLflow server lacks {', '.join(missing)}: pip install -c constraints.txt -r requirements-dev.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    server = Server(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()
