"""Runs families of the hostile corpus, each once whatever the number of pytest's workers."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import hostile_corpus

RUNNER = Path(__file__).with_name("hostile_runner.py")
SECONDS = 540
OTHER_USERS = {"user": 65534, "process": 51_235}
Record = dict[str, Any]


def _other_python(uid: int) -> tuple[list[str], dict[str, str]]:
    """A command that runs Python as another user: the system's, since ours may be under a folder that only root enters."""
    import wmtp

    change = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    libraries = [str(Path(wmtp.__file__).parents[1]), *(p for p in sys.path if p.endswith("site-packages"))]
    environment = {"PYTHONPATH": ":".join(libraries), "PYTHONDONTWRITEBYTECODE": "1"}
    seen = ""
    for python in (sys.executable, f"/usr/bin/python{sysconfig.get_python_version()}"):
        command = [*change, python]
        # setpriv keeps root's capabilities until it has found the interpreter: what counts is what that may start.
        start = "import subprocess, sys, attr, wmtp.judging; subprocess.run([sys.executable, '-c', ''], check=True)"
        probe = [*command, "-c", start]
        ended = subprocess.run(probe, env=environment, capture_output=True, text=True, check=False, cwd="/")
        if not ended.returncode:
            return command, environment
        seen = ended.stderr[-200:]
    pytest.skip(f"no interpreter for another user: {seen}")


def _run(mode: str, cases: list[Record]) -> dict[str, Record]:
    """mode: ``strict`` (as we are), ``user`` (strict as nobody), ``process`` (as somebody, for the host's sake)."""
    command, environment, folder = [sys.executable], dict(os.environ), "/tmp"
    if mode in OTHER_USERS:
        if os.geteuid() == 0:
            command, environment = _other_python(OTHER_USERS[mode])
        elif mode == "user":
            pytest.skip("not root: the run at strict is already that of an ordinary user")
    request = {"level": "process" if mode == "process" else "strict", "cases": cases}
    source = RUNNER.read_text(encoding="utf-8")
    ended = subprocess.run(
        [*command, "-c", source], input=json.dumps(request) + "\n", env=environment, cwd=folder,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if "JudgeError" in ended.stderr:
        message = ended.stderr.strip().splitlines()[-1]
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(records) == len(cases) + 1, ended.stderr[-2000:]
    return {record["id"]: record for record in records}


@pytest.fixture(scope="session")
def corpus_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., dict[str, Record]]:
    """``corpus_run(mode, family, heavy=False)`` → the id of each case that mode runs → what became of it."""

    def run(mode: str, family: str, *, heavy: bool = False) -> dict[str, Record]:
        cases = [case for case in hostile_corpus.load() if case["family"] == family and case["heavy"] == heavy]
        if mode == "process":
            cases = [case for case in cases if case["process"] != "not run"]
        base = tmp_path_factory.getbasetemp()
        base = base if worker_id == "master" else base.parent
        result = base / f"hostile-{mode}-{family}-{heavy}.json"
        with open(result.with_suffix(".lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                result.write_text(json.dumps(_run(mode, cases)), encoding="utf-8")
        records: dict[str, Record] = json.loads(result.read_text(encoding="utf-8"))
        return records

    return run
