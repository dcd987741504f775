"""Verdicts beside those of evalplus 0.3.1's own judge, on programs for our own rows: right, wrong, raising, slow."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.judging import open_judge
from wmtp_eval_evalplus.benchmark import EvalPlus, HumanEvalPlus, MbppPlus
from wmtp_eval_evalplus.plugin import EvalPlusSettings
from wmtp_eval_evalplus.rows import read

ROWS = Path(__file__).with_name("rows")
BENCHMARKS: dict[str, type[EvalPlus]] = {"humaneval_plus": HumanEvalPlus, "mbpp_plus": MbppPlus}

TIME_LIMIT = 6.0
Program = tuple[str, Mapping[str, Any], str, str]
"""Data set, row, name, source."""


def explained(task: str, name: str, mine: tuple[bool, bool], theirs: tuple[bool, bool]) -> str:
    """Why EvalPlus says otherwise; empty where nothing explains it."""
    if task == "HumanEval/32" and not any(theirs):
        return "its 0.3.1 never counts an input of find_zero as passed, so that no program passes"
    if name == "equal to all" and not any(mine):
        return "it asks the program's own object whether it is equal to the answer"
    return {
        ("HumanEval/905", "sticky"): "its tolerance for a first float answer stays for the whole numbers behind it",
        ("HumanEval/902", "column"): "numpy stretches a list to the shape of another",
        ("HumanEval/907", "slow"): "it stops a call after a second of wall time, we a program after all its CPU time",
    }.get((task, name), "")


EXTRA = {
    "HumanEval/905": {"sticky": "def half_or_next(x):\n    return x / 2 if x < 0 else x + (2 if x > 1000 else 1)\n"},
    "HumanEval/902": {"column": "def halves(xs):\n    return [[x / 2] if len(xs) == 1 else x / 2 for x in xs]\n"},
    "HumanEval/907": {
        "slow": "import time\n\n\ndef pairs(xs, total):\n    end = time.process_time() + (1.5 if xs else 0)\n"
        "    while time.process_time() < end:\n        pass\n"
        "    return [(a, b) for i, a in enumerate(xs) for b in xs[i + 1:] if a + b == total]\n",
        "lists": "def pairs(xs, total):\n    return [[a, b] for i, a in enumerate(xs) for b in xs[i + 1:] if a + b == total]\n",
        "endless": "def pairs(xs, total):\n    while xs:\n        pass\n    return []\n",
    },
    "HumanEval/32": {
        "clears": "def find_zero(xs):\n    xs.clear()\n    return 0\n",
        "text": "def find_zero(xs):\n    return 'x'\n",
    },
    "HumanEval/903": {
        "near": "def root(x):\n    return round(x ** 0.5, 5)\n",
        "int": "def root(x):\n    return int(x ** 0.5)\n",
    },
    "Mbpp/2": {
        "list": "def similar_elements(a, b):\n    return [x for x in a if x in b] * 2\n",
        "none": "def similar_elements(a, b):\n    return None\n",
        "nested": "def similar_elements(a, b):\n    return [[x] for x in a if x in b]\n",
    },
    "Mbpp/558": {
        "padded": "def digit_distance_nums(a, b):\n    n = max(len(str(a)), len(str(b)))\n"
        "    return sum(abs(int(x) - int(y)) for x, y in zip(str(a).zfill(n), str(b).zfill(n)))\n",
        "text": "def digit_distance_nums(a, b):\n    return str(a)\n",
    },
    "Mbpp/581": {
        "upright": "import math\ndef surface_Area(b, h):\n    return round(b * b + 2 * b * math.sqrt(b * b / 4 + h * h))\n",
        "text": "def surface_Area(b, h):\n    return 'x'\n",
    },
    "Mbpp/794": {
        "bool": "import re\ndef text_starta_endb(t):\n    return bool(re.search('a.*?b$', t))\n",
        "words": "import re\ndef text_starta_endb(t):\n    return 'yes' if re.search('a.*?b$', t) else 'no'\n",
        "object": "class A: pass\ndef text_starta_endb(t):\n    return A()\n",
    },
    "Mbpp/910": {"dict": "def tally(xs):\n    return {x: xs.count(x) for x in xs}\n"},
}  # fmt: skip
WHOLE = {
    "nothing": "pass\n", "no syntax": "def f(:\n", "leaves": "raise SystemExit(0)\n",
    "none": "def {entry}(*args):\n    return None\n", "raises": "def {entry}(*args):\n    raise ValueError(args)\n",
    "first": "def {entry}(*args):\n    return args[0]\n", "exits": "def {entry}(*args):\n    raise SystemExit\n",
    "equal to all": "class A:\n    def __eq__(self, other):\n        return True\ndef {entry}(*args):\n    return A()\n",
}  # fmt: skip


class Mutant(ast.NodeTransformer):
    """Changes the n-th operator, comparison or constant of a program; `found` says how many there are."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.found = wanted, 0

    def _hit(self) -> bool:
        self.found += 1
        return self.found - 1 == self.wanted

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if self._hit():
            node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if self._hit():
            node.ops = [ast.NotEq() if isinstance(node.ops[0], ast.Eq) else ast.Eq(), *node.ops[1:]]
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool) and self._hit():
            return ast.Constant(node.value + 1)
        if isinstance(node.value, str) and self._hit():
            return ast.Constant(node.value + "b")
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and self._hit():
            return ast.Return(ast.List([node.value], ast.Load()))
        return node


def programs(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    reference = row["prompt"] + row["canonical_solution"]
    yield "reference", reference
    tree = ast.parse(reference)
    counter = Mutant(-1)
    counter.visit(copy.deepcopy(tree))
    for number in range(counter.found):
        changed = ast.fix_missing_locations(Mutant(number).visit(copy.deepcopy(tree)))
        yield f"mutant {number}", ast.unparse(changed)
    for name, source in (WHOLE | EXTRA.get(row["task_id"], {})).items():
        yield name, source.replace("{entry}", row["entry_point"])


def all_programs() -> Iterator[Program]:
    for dataset in BENCHMARKS:
        request = wmtp.DatasetRequest(
            dataset=dataset, split="test", fetch=lambda patterns=None: wmtp.Resource(ROWS, "local")
        )
        for row in read(request):
            for name, source in programs(row):
                yield dataset, row, name, source


def ours(programs: Iterable[Program], time_limit: float = TIME_LIMIT) -> dict[tuple[str, str], tuple[bool, bool]]:
    """(Task, program) → (passes the base inputs, passes all)."""
    made = {}
    for dataset, kind in BENCHMARKS.items():
        made[dataset] = kind()
        made[dataset].settings = EvalPlusSettings(time_limit=time_limit)
        made[dataset]._tests = {}
    found = {}
    with open_judge(level="auto", workers=1) as judge:
        waiting = [
            (
                row["task_id"],
                name,
                judge.submit(source, made[dataset].program(wmtp.Problem(id=row["task_id"], row=row), source)),
            )
            for dataset, row, name, source in programs
        ]
        for task, name, future in waiting:
            outcome = future.result()
            assert outcome.status != "infrastructure", (task, name, outcome)
            found[task, name] = (outcome.passed or outcome.tests_passed > 0, outcome.passed)
    return found


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.mark.slow
def test_verdicts_are_the_same_twenty_times_and_beside_four_busy_loops() -> None:
    """Every fifth program, and those that are slow or never end."""
    names = ("endless", "slow", "sticky", "near")
    chosen = [
        each
        for number, each in enumerate(all_programs())
        if each[2] in names or (number % 5 == 0 and each[1]["task_id"] != "HumanEval/32")  # whose mutants seldom end
    ]
    first = ours(chosen, 3.0)
    assert len(first) > 50
    for loops in (0, 4):
        with busy_loops(loops):
            assert all(ours(chosen, 3.0) == first for _ in range(20))


DRIVER = """
import json, sys, types
sys.modules["datasets"] = types.SimpleNamespace(load_dataset=None)  # it is imported for another data set
from evalplus.data.mbpp import mbpp_deserialize_inputs
from evalplus.eval import untrusted_check
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
from evalplus.gen.util import trusted_exec

if __name__ == "__main__":
    for line in sys.stdin:
        job = json.loads(line)
        row, said = job["row"], []
        for name in ("base_input", "plus_input"):
            inputs = mbpp_deserialize_inputs(row["task_id"], row[name]) if job["dataset"] == "mbpp" else row[name]
            wanted, times = trusted_exec(
                row["prompt"] + row["canonical_solution"], inputs, row["entry_point"], record_time=True,
                output_not_none=job["dataset"] == "mbpp" and row["entry_point"] in MBPP_OUTPUT_NOT_NONE_TASKS)
            verdict, _ = untrusted_check(
                job["dataset"], job["program"], inputs, row["entry_point"], wanted, row["atol"], times, fast_check=True)
            said.append(verdict == "pass")
        print(json.dumps([said[0], all(said)]), flush=True)
"""


@pytest.mark.slow
def test_verdicts_equal_those_of_evalplus_but_for_what_is_explained(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "evalplus==0.3.1"], check=True)
    subprocess.run([*pip, "numpy<3", "psutil", "wget", "tempdir", "appdirs", "tqdm"], check=True)
    as_shipped = {
        row["task_id"]: row
        for file in ("HumanEvalPlus.jsonl", "MbppPlus.jsonl")
        for row in map(json.loads, (ROWS / file).read_text(encoding="utf-8").splitlines())
    }
    listed = list(all_programs())
    assert len(listed) >= 200
    jobs = "".join(
        json.dumps({"dataset": dataset.removesuffix("_plus"), "row": as_shipped[row["task_id"]], "program": source})
        + "\n"
        for dataset, row, _, source in listed
    )
    done = subprocess.run([python, "-c", DRIVER], input=jobs, capture_output=True, text=True, check=True)
    theirs = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(theirs) == len(listed)
    mine = ours(listed)
    different = [
        (row["task_id"], name, mine[row["task_id"], name], said)
        for (_, row, name, _), said in zip(listed, theirs, strict=True)
        if mine[row["task_id"], name] != said
    ]
    reasons = Counter(explained(*each) for each in different)
    print(len(listed), "programs,", sum(said[1] for said in theirs), "passed by EvalPlus; different:", dict(reasons))
    assert [each for each in different if not explained(*each)] == []
    assert len(reasons) == 5, "each of these differences was seen"
