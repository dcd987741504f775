"""`judging.where: ray`: verdicts are those of one machine, whatever happens to nodes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs wmtp-ray")

import attrs

import wmtp
from wmtp_ray.settings import RayJudgeSettings

STORE_BYTES = 80 * 2**20
ADDS = wmtp.CallTests(tests=("assert add(1, 2) == 3", "assert add(-1, 1) == 0"))
ECHOES = wmtp.StdioTests(
    cases=(wmtp.StdioCase(input="1\n", expected="1\n"), wmtp.StdioCase(input="x\n", expected="x\n"))
)
PROGRAMS: list[tuple[str, Any]] = [
    ("def add(a, b):\n    return a + b\n", ADDS),
    ("def add(a, b):\n    return a - b\n", ADDS),
    ("def add(a, b):\n    return a +\n", ADDS),
    ("def plus(a, b):\n    return a + b\n", ADDS),
    ("def add(a, b):\n    while True: pass\n", attrs.evolve(ADDS, time_limit=1.0)),
    ("def add(a, b):\n    return [0] * 10**10\n", ADDS),
    ("def add(a, b):\n    import os; os._exit(0)\n", ADDS),
    ("def add(a, b):\n    open('/etc/passwd').read(); return a + b\n", ADDS),
    ("print(input())\n", ECHOES),
    ("print(int(input()))\n", ECHOES),
    ("import sys; sys.stdout.write('1' * 10**9)\n", ECHOES),
]


def told(outcome: wmtp.Outcome) -> tuple[str, int, int, str]:
    return outcome.status, outcome.tests_passed, outcome.tests, outcome.detail


def judged(judge: Any, times: int = 1) -> list[tuple[str, int, int, str]]:
    waiting = [judge.submit(code, tests) for _ in range(times) for code, tests in PROGRAMS]
    return [told(future.result(timeout=120)) for future in waiting]


Opens = Callable[..., Any]


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens a judge by its name, as a run does."""
    judges = wmtp.create_plugin_manager().judges
    made: list[Any] = []

    def of(name: str, settings: Any = None, **request: Any) -> Any:
        asked = wmtp.JudgeRequest(**({"level": "process", "workers": 1, "settings": settings} | request))
        made.append(judges[name].spec.open(asked))
        return made[-1]

    yield of
    for judge in made:
        judge.close()


def processes(name: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("level", ["strict", "process"])
def test_verdicts_are_those_of_one_machine(level: str, cluster: Any, opens: Opens) -> None:
    here = opens("local", level=level)
    there = opens("ray", RayJudgeSettings(address=cluster.address), level=level)
    assert (there.identity, there.level) == (here.identity, here.level)
    wanted = judged(here)
    assert {status for status, *_ in wanted} >= {"passed", "failed", "error", "timeout", "memory"}
    assert judged(there) == wanted
    assert len(processes(b"ray::JudgeActor")) == 2, "a sandbox on each node"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("event", ["actor killed", "actor stopped", "node removed", "node late"])
def test_verdicts_survive_what_happens_to_nodes(
    event: str, cluster: Any, opens: Opens, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = judged(opens("local")) * 4
    there = opens("ray", RayJudgeSettings(address=cluster.address))
    nodes = list(cluster.list_all_nodes())

    with ThreadPoolExecutor(1) as pool:  # Ray adds nodes from the main thread alone
        judging = pool.submit(judged, there, 4)
        time.sleep(1.0)
        if event == "actor killed":
            for actor in processes(b"ray::JudgeActor"):
                os.kill(actor, signal.SIGKILL)
        elif event == "actor stopped":
            monkeypatch.setattr("wmtp_ray.cluster.SILENT_S", 3.0)
            stopped = processes(b"ray::JudgeActor")[0]
            os.kill(stopped, signal.SIGSTOP)
        elif event == "node removed":
            cluster.remove_node(nodes[1], allow_graceful=False)
        else:
            cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        found = judging.result()
    assert found == wanted
    if event == "actor stopped":
        assert "no sign of life for 3 s" in caplog.text
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)
    elif event != "node removed":
        deadline = time.monotonic() + 60
        want = 3 if event == "node late" else 2
        while len(processes(b"ray::JudgeActor")) < want and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(processes(b"ray::JudgeActor")) == want


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_judged_on_ray_has_the_results_of_one_judged_here(
    cluster: Any,
    write_files: Callable[..., None],
    evaluate: Callable[..., Any],
    results: Callable[..., Any],
    tmp_path: Path,
) -> None:
    write_files(problems=8)
    evaluate("run.name=here")
    evaluate("run.name=there", "judging.where.name=ray", f"judging.where.address={cluster.address}")

    def kept(name: str) -> dict[str, Any]:
        return {k: v for k, v in results(name).items() if k not in ("run", "config", "recipe", "generation")}

    assert kept("there") == kept("here")
    verdicts = {
        name: [
            (v.key, v.outcome.status, v.judge_key) for v in wmtp.open_run(tmp_path / "runs" / name).verdicts("mbpp-v1")
        ]
        for name in ("here", "there")
    }
    assert sorted(verdicts["here"]) == sorted(verdicts["there"])


def node_where(folder: Path, code: str, **files: str) -> dict[str, str]:
    """The environment of a node whose Python runs `code` when it starts."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    for name, text in files.items():
        target = folder / name
        target.mkdir()
        (target / "METADATA").write_text(text)
    return {"PYTHONPATH": str(folder)}


NO_SANDBOX = """
import importlib.abc, importlib.util, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "wmtp.judging.sandbox.libraries":
            return None
        raise ImportError("this node has no sandbox")
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_without_the_sandbox_is_named_with_what_to_do(cluster: Any, opens: Opens, tmp_path: Path) -> None:
    environment = node_where(tmp_path / "bare", NO_SANDBOX)
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, env_vars=environment)
    with pytest.raises(wmtp.JudgeError, match=r"no sandbox.*wmtp doctor.*judging\.where\.resources"):
        opens("ray", RayJudgeSettings(address=cluster.address))
    chosen = opens("ray", RayJudgeSettings(address=cluster.address, resources={"head": 1}))
    assert judged(chosen)[0][0] == "passed"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nodes_with_other_versions_are_named(cluster: Any, opens: Opens, tmp_path: Path) -> None:
    name = "wmtp_core-9.9.9.dist-info"
    environment = node_where(
        tmp_path / "other", "", **{name: "Metadata-Version: 2.1\nName: wmtp-core\nVersion: 9.9.9\n"}
    )
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, env_vars=environment)
    with pytest.raises(wmtp.ConfigError, match=r"judge differently: wmtp-core .*9\.9\.9.*install the same on both"):
        opens("ray", RayJudgeSettings(address=cluster.address))


def test_no_cluster_is_told_before_a_sample_is_made(
    write_files: Callable[..., None], evaluate: Callable[..., Any]
) -> None:
    write_files()
    with pytest.raises(
        wmtp.ConfigError, match=r"judging\.where\.address: no Ray cluster at '127\.0\.0\.1:9'.*ray start"
    ):
        evaluate("judging.where.name=ray", "judging.where.address=127.0.0.1:9")


def test_a_place_that_nobody_provides_is_told_with_those_that_there_are(
    write_files: Callable[..., None], evaluate: Callable[..., Any]
) -> None:
    write_files()
    with pytest.raises(wmtp.ConfigError, match=r"judging\.where.*unknown judge 'slurm'.*local, ray"):
        evaluate("judging.where=slurm")


def test_ray_is_not_imported_to_judge_here() -> None:
    code = (
        "import sys, wmtp; judges = wmtp.create_plugin_manager().judges; "
        "judges['local'].spec.open(wmtp.JudgeRequest(level='process', workers=1)).close(); assert 'ray' not in sys.modules"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
