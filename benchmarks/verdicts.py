"""Verdicts of many programs as lines of JSON, to hold two judges, or one judge at two moments, against each other.

    python benchmarks/verdicts.py --data FOLDER [--sets mbpp humaneval contests] [--mutants 1] [--times 1] [--loops 0]

FOLDER holds mbpp/mbpp.jsonl, humaneval/HumanEval.jsonl and codecontests/test.jsonl. Programs are the reference solutions (the
contests' incorrect ones too) and mutants of each; a line is {set, id, status, tests_passed, detail}. With `--times` the same
programs are judged again, and with `--loops` that many busy loops start once the judge has: what differs from the first time is
printed as a line with a key "differs", and counted on stderr. Exit status 1 where anything differed or was `infrastructure`.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging import open_judge

SEED = 20240817
PYTHON3 = 3
LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with us, however we end
SUITES = ("public_tests", "private_tests", "generated_tests")
_SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
Work = tuple[str, str, str, "CallTests | StdioTests"]  # (set, id, program, tests)


def mutants(name: str, code: str, count: int) -> Iterator[str]:
    """`count` single mutations of a program (operator, constant, missing return), the same ones each time."""
    source = code.replace("\r\n", "\n")
    try:
        places = [n for n in ast.walk(ast.parse(source)) if _change(n) is not None]
    except SyntaxError:
        return
    for number in range(count if places else 0):
        tree = ast.parse(source)
        changes = [change for node in ast.walk(tree) if (change := _change(node)) is not None]
        field, value, node = random.Random(f"{SEED} {name} {number}").choice(changes)
        setattr(node, field, value)
        yield ast.unparse(ast.fix_missing_locations(tree))


def _change(node: Any) -> tuple[str, Any, ast.AST] | None:
    """How one node of a program is made wrong: (field, value, node), or None."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _SWAPS:
        return "op", _SWAPS[type(node.op)](), node
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        return "ops", [_SWAPS[type(node.ops[0])](), *node.ops[1:]], node
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return "value", node.value + 1, node
    if isinstance(node, ast.Return) and node.value is not None:
        return "value", None, node
    return None


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def mbpp(folder: Path, count: int) -> Iterator[Work]:
    for row in _rows(folder / "mbpp/mbpp.jsonl"):
        if 11 <= row["task_id"] <= 510:
            tests = CallTests(tests=tuple(row["test_list"]), setup=row["test_setup_code"], time_limit=8)
            yield from _variants("mbpp", str(row["task_id"]), row["code"], tests, count)


def humaneval(folder: Path, count: int) -> Iterator[Work]:
    for row in _rows(folder / "humaneval/HumanEval.jsonl"):
        tests = CallTests(tests=(f"{row['test']}\ncheck({row['entry_point']})",), time_limit=8)
        yield from _variants("humaneval", row["task_id"], row["prompt"] + row["canonical_solution"], tests, count)


def contests(folder: Path, count: int) -> Iterator[Work]:
    for row in _rows(folder / "codecontests/test.jsonl"):
        cases = [
            StdioCase(input=given, expected=wanted)
            for suite in SUITES
            for given, wanted in zip(row[suite]["input"], row[suite]["output"], strict=True)
        ]
        tests = StdioTests(cases=cases, compare="tokens", time_limit=4, memory_mib=256)
        for kind in ("solutions", "incorrect_solutions"):
            listed = zip(row[kind]["language"], row[kind]["solution"], strict=True)
            for number, (language, code) in enumerate(listed):
                if language == PYTHON3:
                    yield from _variants("contests", f"{row['name']} {kind} {number}", code, tests, count)


def _variants(name: str, number: str, code: str, tests: CallTests | StdioTests, count: int) -> Iterator[Work]:
    yield name, number, code, tests
    for index, changed in enumerate(mutants(number, code, count)):
        yield name, f"{number} mutant {index}", changed, tests


SETS = {"mbpp": mbpp, "humaneval": humaneval, "contests": contests}


def verdicts(work: list[Work], level: Any, workers: Any, loops: int) -> list[dict[str, Any]]:
    busy: list[subprocess.Popen[bytes]] = []
    with open_judge(level=level, workers=workers) as judge:
        try:  # only now: what a judge finds when it starts is not what it will have
            busy += (subprocess.Popen([sys.executable, "-c", LOOP], start_new_session=True) for _ in range(loops))
            futures = [(name, number, judge.submit(code, tests)) for name, number, code, tests in work]
            ended = [(name, number, future.result()) for name, number, future in futures]
        finally:
            for process in busy:
                process.kill()
                process.wait()
    return [
        {"set": name, "id": number, "status": o.status, "tests_passed": o.tests_passed, "detail": o.detail}
        for name, number, o in ended
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--mutants", type=int, default=0)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--loops", type=int, default=0)
    parser.add_argument("--level", choices=["strict", "process"], default="strict")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    work = [item for name in options.sets for item in SETS[name](options.data, options.mutants)]
    first: list[dict[str, Any]] = []
    worst = 0
    for number in range(options.times):
        started = time.monotonic()
        found = verdicts(work, options.level, options.workers, options.loops)
        first = first or found
        differs = [
            {"differs": number + 1} | now for was, now in zip(first, found, strict=True) if _told(was) != _told(now)
        ]
        for record in differs if number else found:
            print(json.dumps(record), flush=True)
        ours = sum(record["status"] == "infrastructure" for record in found)
        worst = max(worst, len(differs), ours)
        passed = sum(record["status"] == "passed" for record in found)
        print(
            f"time {number + 1}: {len(found)} programs, {passed} passed, {ours} infrastructure, {len(differs)} differ from the "
            f"first time, {time.monotonic() - started:.0f} s",
            file=sys.stderr,
        )
    return 1 if worst else 0


def _told(record: dict[str, Any]) -> tuple[str, int]:
    return record["status"], record["tests_passed"]


if __name__ == "__main__":
    sys.exit(main())
