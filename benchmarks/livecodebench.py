"""LiveCodeBench's problems in our judge, beside a process a test: CPU and wall time a verdict.

    python benchmarks/livecodebench.py [--rounds N]

Rows are made here in the hub's form, functions and programs that read, 24 tests each; programs are right, wrong in the last
test, or wrong at once. The peer does what LiveCodeBench's runner does (lcb_runner/evaluation): it puts its imports in front,
makes a function of a program that reads, patches standard input, compares lines, under an alarm; each test in a process forked
from one that has numpy and the imports already. (Its runner forks once a program, and tests share what they leave behind.) A
second peer starts an interpreter a test. All run one at a time, in turns.

What must hold: verdicts are equal, and ours takes at most a third of the forked peer's CPU a verdict. Exits with 1 where not.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import multiprocessing
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy  # noqa: F401 - the peer's parent has it

import wmtp
from wmtp.judging import open_judge
from wmtp_eval_livecodebench.benchmark import LiveCodeBench
from wmtp_eval_livecodebench.plugin import LiveCodeBenchSettings
from wmtp_eval_livecodebench.rows import read

TESTS = 24
PROBLEMS = 6
LIMIT = 1 / 3
MODULES = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json",
)  # fmt: skip
IMPORTS = "".join(f"from {m} import *\n" for m in [*MODULES, "builtins", "typing"]) + "".join(
    f"import {m}\n" for m in MODULES
)
exec(IMPORTS, {})  # so that they are loaded before the peer forks
READS = "n, k = map(int, input().split())\nxs = list(map(int, input().split()))\nprint(sum(xs[:k]) + {})\n"
CALLED = "class Solution:\n    def best(self, xs: List[int], k: int) -> int:\n        return max(xs) * k + {}\n"
WRONG = {"right": "0", "wrong at last": "({last})", "wrong": "1"}


def row(number: int) -> dict[str, Any]:
    lists = [[(number + 1) * i + j for j in range(12)] for i in range(TESTS)]
    if number % 2:
        tests = [(f"12 {i % 12}\n{' '.join(map(str, xs))}\n", f"{sum(xs[: i % 12])}\n") for i, xs in enumerate(lists)]
    else:
        tests = [(f"{json.dumps(xs)}\n{i}", str(max(xs) * i)) for i, xs in enumerate(lists)]
    kind = "stdin" if number % 2 else "functional"
    listed = json.dumps([{"input": given, "output": wanted, "testtype": kind} for given, wanted in tests])
    return {
        "question_id": str(number), "question_content": "x", "contest_date": "2025-01-01T00:00:00", "starter_code": "",
        "public_test_cases": "[]", "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(listed))).decode(),
        "metadata": "{}" if number % 2 else '{"func_name": "best"}',
    }  # fmt: skip


def programs(number: int) -> Iterator[str]:
    last = "n == 12 and xs[0] == %d" if number % 2 else "k == %d"
    for change in WRONG.values():
        code = READS if number % 2 else CALLED
        yield code.format(change.format(last=last % ((number + 1) * (TESTS - 1) if number % 2 else TESTS - 1)))


def one_test(code: str, function: str | None, given: str, wanted: str, result: Any) -> None:
    signal.alarm(6)
    if function:
        space: dict[str, Any] = {}
        exec(IMPORTS + code, space)
        answer = space["Solution"]().best(*[json.loads(line) for line in given.split("\n")])
        result.value = answer == json.loads(wanted)
        return
    space = {}
    exec(IMPORTS + "def wrapped():\n" + textwrap.indent(code, "    "), space)
    sys.stdin, sys.stdout = io.StringIO(given), io.StringIO()
    space["wrapped"]()
    lines = [[line.strip() for line in text.strip().split("\n")] for text in (sys.stdout.getvalue(), wanted)]
    result.value = lines[0] == lines[1]


def forked(code: str, function: str | None, tests: list[tuple[str, str]]) -> bool:
    context = multiprocessing.get_context("fork")
    for given, wanted in tests:
        result = context.Value("b", 0)
        process = context.Process(target=one_test, args=(code, function, given, wanted, result))
        process.start()
        process.join(8)
        if not result.value:
            return False
    return True


def started(code: str, function: str | None, tests: list[tuple[str, str]]) -> bool:
    tail = (
        "\nimport sys, json\nprint(Solution().best(*map(json.loads, sys.stdin.read().split('\\n'))))"
        if function
        else ""
    )
    for given, wanted in tests:
        done = subprocess.run(
            [sys.executable, "-c", IMPORTS + code + tail], input=given, capture_output=True, text=True
        )
        if done.stdout.strip() != wanted.strip():
            return False
    return True


def taken_out(benchmark: LiveCodeBench, problem: wmtp.Problem, answer: str) -> str:
    """The program as we would judge it: with the imports that it lacks."""
    key = wmtp.SampleKey(evaluator="livecodebench-v1", problem=problem.id, index=0)
    completion = wmtp.Completion(key=key, text=answer, finish_reason="stop", tokens=1, seconds=0.0)
    code = benchmark.code(problem, completion)
    assert code is not None
    return code


def cpu() -> float:
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=2)
    rounds = options.parse_args().rounds
    benchmark = LiveCodeBench()
    benchmark.settings = LiveCodeBenchSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "test.jsonl")
        path.write_text("".join(json.dumps(row(n)) + "\n" for n in range(PROBLEMS)), encoding="utf-8")
        request = wmtp.DatasetRequest(
            dataset="livecodebench", split="test", fetch=lambda patterns=None: wmtp.Resource(path, "local")
        )
        jobs = [(problem, code) for n, problem in enumerate(benchmark.problems(read(request))) for code in programs(n)]
        return compare(benchmark, jobs, rounds)


def compare(benchmark: LiveCodeBench, jobs: list[tuple[wmtp.Problem, str]], rounds: int) -> int:
    started_at = cpu()
    with open_judge(level="auto", workers=1):
        pass
    opening = cpu() - started_at
    peers: dict[str, Callable[..., bool]] = {"a fork a test": forked, "an interpreter a test": started}
    spent = {name: [0.0, 0.0] for name in ("wmtp", *peers)}
    verdicts: dict[str, list[bool]] = {name: [] for name in spent}
    total = rounds * len(jobs)
    before_all = cpu()
    with open_judge(level="auto", workers=1) as judge:
        for _ in range(rounds):
            wall = time.perf_counter()
            futures = [
                judge.submit(code, benchmark.program(problem, code))
                for problem, code in ((problem, taken_out(benchmark, problem, answer)) for problem, answer in jobs)
            ]
            verdicts["wmtp"] += [future.result().passed for future in futures]
            spent["wmtp"][1] += time.perf_counter() - wall
            for name, peer in peers.items():
                wall, used = time.perf_counter(), cpu()
                for problem, code in jobs:
                    question = problem.row["question"]
                    verdicts[name].append(peer(code, question.function, question.tests()))
                spent[name][0] += cpu() - used
                spent[name][1] += time.perf_counter() - wall
    spent["wmtp"][0] = cpu() - before_all - opening - sum(spent[name][0] for name in peers)
    for name, (used, wall) in spent.items():
        print(f"{name:22} {1e3 * used / total:8.2f} ms CPU, {1e3 * wall / total:8.2f} ms a verdict")
    same = all(found == verdicts["wmtp"] for found in verdicts.values())
    print(f"{total} verdicts, {sum(verdicts['wmtp'])} passed, {'equal' if same else 'NOT EQUAL'}")
    held = same
    for name in peers:
        ratio, walls = (spent["wmtp"][i] / spent[name][i] for i in (0, 1))
        limit = f", limit {LIMIT:.3f}" if name == "a fork a test" else ""
        held = held and (not limit or ratio <= LIMIT)
        print(f"wmtp / {name}: ratio {ratio:.3f} of its CPU{limit}, {walls:.3f} of its wall time")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
