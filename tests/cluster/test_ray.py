"""`model.loader: ray`: samples and results are those of one process, whatever happens to workers and nodes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs wmtp-ray")

import ray.exceptions

import wmtp
from wmtp_ray.cluster import SilentError, answer_of, connect
from wmtp_ray.engine import inner_loader, inner_options
from wmtp_ray.settings import RaySettings

SAMPLES = "samples/mbpp-v1.jsonl"
TIMES = ("seconds", "tokens_per_second")


@pytest.fixture
def files(tiny_llama: Path, write_files: Callable[..., None]) -> Callable[..., None]:
    """config.yaml and recipe.yaml of a small run, on a cluster where `ray` says how."""

    def write(problems: int = 12, tokens: int = 12, **ray: Any) -> None:
        on_ray = {"loader": "ray", "loaders": {"ray": ray}} if ray else {}
        write_files(
            problems=problems,
            config={"devices": {"device": "cpu", "dtype": "float32", "threads": 1}},
            model={"base_id": str(tiny_llama), **on_ray},
            eval={
                "metrics": ["mbpp_pass@1"],
                "batch_size": 4,
                "sampling": {"temperature": 0.8, "n": 4, "max_new_tokens": tokens},
                "evaluators": {"mbpp-v1": {"shots": 0}},
            },
        )

    return write


def same(results: dict[str, Any]) -> dict[str, Any]:
    """results.json but for times, and for what was written in the files."""
    kept = {k: v for k, v in results.items() if k not in ("run", "config", "recipe")}
    kept["generation"] = {k: v for k, v in kept["generation"].items() if k not in TIMES}
    return kept


def texts(folder: Path) -> dict[tuple[str, int], str]:
    return {(s.key.problem, s.key.index): s.completion for s in wmtp.open_run(folder).samples("mbpp-v1")}


def workers() -> list[int]:
    """Processes of this machine that are actors of ours."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::EngineActor" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def until(what: Callable[[], bool], ended: Any) -> bool:
    """Waits until something holds; whether it did before a future or process had ended."""
    over = ended.done if isinstance(ended, Future) else lambda: ended.poll() is not None
    while not over():
        if what():
            return True
        time.sleep(0.01)
    return what()


def once(file: Path, lines: int, running: Any) -> None:
    """Waits until the file has so many lines."""
    assert until(lambda: file.exists() and file.read_bytes().count(b"\n") >= lines, running)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_results_are_those_of_one_process_for_any_number_of_workers(
    cluster: Any, files: Callable[..., None], evaluate: Callable[..., Any], results: Callable[..., Any], tmp_path: Path
) -> None:
    files()
    evaluate("run.name=plain")
    for count in (1, 2, 4):
        files(workers=count, num_cpus=0.5, address=cluster.address)
        evaluate(f"run.name=ray{count}")
        assert texts(tmp_path / f"runs/ray{count}") == texts(tmp_path / "runs/plain")
        assert same(results(f"ray{count}")) == same(results("plain"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_heads_are_scored_on_a_worker_as_here(
    cluster: Any, files: Callable[..., None], evaluate: Callable[..., Any], results: Callable[..., Any]
) -> None:
    heads = 'eval.metrics=["mbpp_head1_loss", "mbpp_pass@1"]'
    options = (heads, "eval.evaluators.mbpp-heads-v1.shots=0")
    files(4, 4)
    evaluate("run.name=plain", *options)
    files(4, 4, workers=2, num_cpus=0.5, address=cluster.address)
    evaluate("run.name=ray", *options)
    assert same(results("ray")) == same(results("plain"))
    assert results("ray")["metrics"]["mbpp_head1_loss"]["value"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("event", ["worker killed", "worker stopped", "node removed", "node late"])
def test_samples_survive_what_happens_to_workers(
    event: str, cluster: Any, files: Callable[..., None], evaluate: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    late = int(event == "node late")
    size = (100, 96) if late else (20, 24)  # a node and its worker take seconds to come, and must find something to do
    files(*size)
    evaluate("run.name=plain")
    files(*size, workers=2 + late, num_cpus=1, address=cluster.address, window=8)
    nodes = list(cluster.list_all_nodes())
    connect(cluster.address)
    with ThreadPoolExecutor(1) as pool:  # Ray adds nodes from the main thread alone
        running = pool.submit(evaluate, "run.name=ray")
        once(tmp_path / "runs/ray" / SAMPLES, 10, running)
        if event == "worker killed":
            os.kill(workers()[0], signal.SIGKILL)
        elif event == "worker stopped":
            monkeypatch.setattr("wmtp_ray.cluster.STILL_S", 1.0)
            monkeypatch.setattr("wmtp_ray.cluster.SILENT_S", 3.0)
            stopped = workers()[0]
            os.kill(stopped, signal.SIGSTOP)
        elif event == "node removed":
            cluster.remove_node(nodes[1], allow_graceful=False)
        else:
            cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
            late_came = until(lambda: len(workers()) == 3, running)
        running.result()
    assert event != "node late" or late_came
    if event == "worker stopped":
        assert "no sign of life for 3 s" in caplog.text
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)
    assert texts(tmp_path / "runs/ray") == texts(tmp_path / "runs/plain")
    lines = [json.loads(line) for line in (tmp_path / "runs/ray" / SAMPLES).read_text().splitlines()]
    assert len(lines) == len({(line["problem"], line["index"]) for line in lines}) == 4 * size[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_that_was_killed_goes_on(
    cluster: Any, files: Callable[..., None], evaluate: Callable[..., Any], wmtp_env: dict[str, str], tmp_path: Path
) -> None:
    files(20, 24)
    evaluate("run.name=plain")
    files(20, 24, workers=2, num_cpus=0.5, address=cluster.address, window=8)
    command = [sys.executable, "-m", "wmtp", "eval", "config.yaml", "recipe.yaml", "--set", "run.name=ray"]
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(command, cwd=tmp_path, env=wmtp_env, stdout=log, stderr=log)
        once(tmp_path / "runs/ray" / SAMPLES, 10, driver)
        driver.kill()
        driver.wait()
    there = (tmp_path / "runs/ray" / SAMPLES).read_bytes().count(b"\n")
    assert 10 <= there < 80
    done = subprocess.run(command, cwd=tmp_path, env=wmtp_env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert texts(tmp_path / "runs/ray") == texts(tmp_path / "runs/plain")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_on_a_node_with_other_versions_is_named(
    cluster: Any, files: Callable[..., None], evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    installed = tmp_path / "other/transformers-9.9.9.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 9.9.9\n")
    environment = {"PYTHONPATH": str(installed.parent)}
    cluster.add_node(num_cpus=1, resources={"other": 1}, object_store_memory=80 * 2**20, env_vars=environment)
    files(100, 96, workers=3, num_cpus=1, address=cluster.address)  # long enough for the third to come
    with pytest.raises(
        wmtp.ConfigError, match=r"differ in their versions: transformers .*9\.9\.9.*install the same on both"
    ):
        evaluate()


def test_no_cluster_is_told_with_what_starts_one(files: Callable[..., None], evaluate: Callable[..., Any]) -> None:
    files(workers=1, address="127.0.0.1:9")
    with pytest.raises(wmtp.ConfigError, match=r"no Ray cluster at '127\.0\.0\.1:9'.*ray start --head"):
        evaluate()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "http://127.0.0.1:9", "[::1]:9"])
def test_a_cluster_that_the_environment_names_and_is_gone_is_told(
    address: str, files: Callable[..., None], evaluate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's own, say, that has ended: Ray would go on trying."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    files(workers=1)
    with pytest.raises(wmtp.ConfigError, match=r"RAY_ADDRESS: no Ray cluster at .*127\.0\.0\.1|::1.*ray start --head"):
        evaluate()


def test_ray_is_not_imported_before_it_is_used() -> None:
    code = "import sys, wmtp; wmtp.create_plugin_manager(); assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"workers": 0}, "workers"), ({"num_cpus": 0}, "num_cpus"), ({"num_gpus": -1}, "at least"),
        ({"num_gpus": 1.5}, "whole ones"), ({"num_gpus": 1e-5}, "at least"),
        ({"resources": {"CPU": 1}}, "num_cpus says it"), ({"resources": {"GPU": 1}}, "num_gpus"),
        ({"resources": {"memory": 1e9}}, "Ray counts itself"), ({"resources": {"big": -1}}, "big"),
    ],
)  # fmt: skip
def test_settings_are_checked(setting: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RaySettings(**setting)


def test_a_server_is_asked_by_its_own_loader_on_a_worker() -> None:
    """The loader of checkpoints takes any address of files."""
    assert inner_loader("openai:http://127.0.0.1:9/v1#m", RaySettings()).name == "openai"
    assert inner_loader("reference:", RaySettings()).name == "reference"


@pytest.mark.parametrize(
    ("reference", "options", "says"),
    [
        ("reference:", {"nonsense": 1}, "the loader reference has no options"),
        ("openai:http://127.0.0.1:9/v1", {"concurency": 3}, "of the loader openai: .*concurency"),
        ("openai:http://127.0.0.1:9/v1", {"concurrency": 0}, "of the loader openai: .*concurrency"),
    ],
)
def test_options_of_the_inner_loader_are_checked(reference: str, options: dict[str, Any], says: str) -> None:
    settings = RaySettings(inner_settings=options)
    with pytest.raises(wmtp.ConfigError, match=rf"model\.loaders\.ray\.inner_settings.*{says}"):
        inner_options(inner_loader(reference, settings), settings)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"-ERR unknown command\r\n", b""]
)
def test_an_address_where_something_else_listens_is_told_at_once(answer: bytes) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def reply() -> None:
            connection, _ = other.accept()
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=reply)
        thread.start()
        port = other.getsockname()[1]
        with pytest.raises(wmtp.ConfigError, match=rf"no Ray cluster at '127\.0\.0\.1:{port}'.*ray start --head"):
            connect(f"127.0.0.1:{port}")
        thread.join()


class Waiting:
    """Ray's waiting, for an actor that answers after so many waits and gives signs of life or none."""

    def __init__(self, waits: int, *, lives: bool) -> None:
        self._left, self._lives = waits, lives
        self.alive, self.connected = self, True

    def is_initialized(self) -> bool:
        return self.connected

    def remote(self) -> str:
        assert self.connected, "Ray would connect once more"
        return "alive"

    def wait(self, references: list[str], timeout: float) -> tuple[list[str], list[str]]:
        self._left -= 1
        ready = [r for r in references if (r == "answer" and self._left < 0) or (r == "alive" and self._lives)]
        return ready, [r for r in references if r not in ready]

    def get(self, reference: str) -> str:
        return f"the {reference}"


@pytest.mark.parametrize(
    ("waits", "lives", "answered"), [(0, False, True), (100, True, True), (100, False, False), (4, False, True)]
)
def test_an_answer_is_waited_for_as_long_as_there_is_a_sign_of_life(
    waits: int, lives: bool, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = Waiting(waits, lives=lives)
    monkeypatch.setattr("wmtp_ray.cluster.ray", actor)
    if answered:
        assert answer_of(actor, "answer") == "the answer"
    else:
        with pytest.raises(SilentError, match="no sign of life for 60 s"):
            answer_of(actor, "answer")


def test_behind_the_end_of_the_connection_nobody_is_asked_for_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = Waiting(100, lives=True)
    monkeypatch.setattr("wmtp_ray.cluster.ray", actor)
    actor.connected = False
    with pytest.raises(ray.exceptions.RayError, match="closed"):
        answer_of(actor, "answer")
