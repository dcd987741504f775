"""The plugin on genuine problems: every program's verdict agrees with its label and with a plain interpreter."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wmtp
from wmtp.judging import open_judge
from wmtp.judging.checker.compare import same_output
from wmtp_eval_codecontests.benchmark import CodeContests
from wmtp_eval_codecontests.rows import read
from wmtp_eval_codecontests.schema import Language, cases, solutions
from wmtp_eval_codecontests.settings import CodeContestsSettings


def request(path: Path, split: str = "test") -> wmtp.DatasetRequest:
    return wmtp.DatasetRequest(dataset="contest", split=split, fetch=lambda patterns=None: wmtp.Resource(path, "local"))


@pytest.fixture
def rows(shared: Path) -> list[Any]:
    return list(read(request(shared / "data/codecontests")))


def benchmark(**settings: Any) -> CodeContests:
    made = CodeContests()
    made.settings = CodeContestsSettings(**settings)
    return made


def plainly(program: str, row: Any, folder: Path, tests: wmtp.StdioTests) -> int:
    """How many tests ``python3 program < input`` passes until its first failure, under the same comparison and limits."""
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    cpu = math.ceil(tests.time_limit or 10)
    memory = ((tests.memory_mib or 1024) + 64) << 20  # with room for the interpreter itself

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    passed = 0
    for given, expected in cases(row.whole()):
        done = subprocess.run(
            [sys.executable, "-S", script], input=given, capture_output=True, text=True, check=False, preexec_fn=limit
        )
        if done.returncode or not same_output(expected, done.stdout, "tokens"):
            break
        passed += 1
    return passed


def programs(row: Any) -> Iterator[tuple[str, bool]]:
    for field, right in (("solutions", True), ("incorrect_solutions", False)):
        yield from ((text, right) for language, text in solutions(row, field) if language is Language.PYTHON3)


def test_every_program_is_judged_as_its_label_says(rows: list[Any]) -> None:
    """Wrong ones within two seconds, since half of them never end. All with the same limits: the slow test below."""
    made = {True: benchmark(), False: benchmark(time_factor=1.0)}
    with open_judge(level="auto") as judge:
        judged = [
            (row["name"], right, judge.submit(text, made[right].program(wmtp.Problem(id=row["name"], row=row), text)))
            for row in rows
            for text, right in programs(row)
        ]
        outcomes = [(name, right, future.result()) for name, right, future in judged]
    assert [(name, o) for name, right, o in outcomes if o.passed != right] == []
    assert all(o.status != "infrastructure" for _, _, o in outcomes)
    assert {o.status for _, right, o in outcomes if not right} <= {"failed", "timeout", "error", "memory"}


@pytest.mark.slow
def test_verdicts_equal_those_of_a_plain_interpreter(rows: list[Any], tmp_path: Path) -> None:
    """Down to the test that fails first, in three runs of the judge."""
    made = benchmark()
    with open_judge(level="auto") as judge:
        for row in rows:
            problem = wmtp.Problem(id=row["name"], row=row)
            for text, _ in programs(row):
                runs = [judge.submit(text, made.program(problem, text)) for _ in range(3)]
                expected = plainly(text, row, tmp_path, made.program(problem, text))
                whole = expected == len(list(cases(row.whole())))
                outcomes = [run.result() for run in runs]
                assert [(o.passed, o.tests_passed) for o in outcomes] == [(whole, expected)] * 3, (
                    row["name"],
                    outcomes,
                )
                assert len({o.status for o in outcomes}) == 1


def small_row(**changes: Any) -> dict[str, Any]:
    row = {
        "name": "sum", "description": "Add the numbers.", "source": 2, "difficulty": 1,
        "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
        "private_tests": {"input": ["5 5\n"], "output": ["10\n"]},
        "generated_tests": {"input": ["0 0\n"], "output": ["0\n"]},
        "solutions": {"language": [2, 3], "solution": ["int main(){}", "print(sum(map(int, input().split())))"]},
        "incorrect_solutions": {"language": [1], "solution": ["print 1"]},
        "time_limit": {"seconds": 1, "nanos": 500_000_000}, "memory_limit_bytes": 64_000_000,
        "input_file": "", "output_file": "",
    }  # fmt: skip
    return row | changes


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_tests_come_public_first_and_max_tests_caps_them(tmp_path: Path) -> None:
    (row,) = read(request(written(tmp_path / "data", small_row())))
    assert [given for given, _ in cases(row.whole())] == ["1 2\n", "5 5\n", "0 0\n"]
    tests = benchmark(max_tests=2).program(wmtp.Problem(id="sum", row=row), "")
    assert [case.input for case in tests.cases] == ["1 2\n", "5 5\n"]


def test_limits(tmp_path: Path) -> None:
    (row,) = read(request(written(tmp_path / "data", small_row())))
    tests = benchmark().program(wmtp.Problem(id="sum", row=row), "")
    assert (tests.time_limit, tests.memory_mib) == (7.5, 256)
    tests = benchmark(time_factor=0.1).program(wmtp.Problem(id="sum", row=row), "")
    assert tests.time_limit == 2.0
    (row,) = read(request(written(tmp_path / "data", small_row(time_limit=None, memory_limit_bytes=1 << 30))))
    tests = benchmark().program(wmtp.Problem(id="sum", row=row), "")
    assert (tests.time_limit, tests.memory_mib) == (10.0, 1024)


def test_the_reference_is_the_first_python_3_solution(tmp_path: Path) -> None:
    (row,) = read(request(written(tmp_path / "data", small_row())))
    assert benchmark().reference(wmtp.Problem(id="sum", row=row)) == "print(sum(map(int, input().split())))"


def test_problems_with_files_are_told_so_and_judged_by_them(tmp_path: Path) -> None:
    (row,) = read(request(written(tmp_path / "data", small_row(input_file="in.txt", output_file="out.txt"))))
    made, problem = benchmark(), wmtp.Problem(id="sum", row=row)
    assert "Read from in.txt and write to out.txt." in made.prompt(problem)
    program = "a = open('in.txt').read().split()\nopen('out.txt', 'w').write(str(sum(map(int, a))))"
    with open_judge(level="auto", workers=1) as judge:
        assert judge.submit(program, made.program(problem, program)).result().passed
        silent = "print(sum(map(int, open('in.txt').read().split())))"
        assert judge.submit(silent, made.program(problem, silent)).result().status == "failed"


@pytest.mark.parametrize(
    "changes",
    [
        {"time_limit": {"seconds": "1", "nanos": "500000000"}, "memory_limit_bytes": "64000000"},
        {"time_limit": {"seconds": 1.5}},
        {"time_limit": "1.5s"},
        {
            "solutions": {
                "language": ["PYTHON2", "Python3", 9],
                "solution": ["x", "print(sum(map(int, input().split())))", "x"],
            }
        },
    ],
)
def test_limits_and_languages_as_exports_write_them(tmp_path: Path, changes: dict[str, Any]) -> None:
    (row,) = read(request(written(tmp_path / "data", small_row(**changes))))
    problem = wmtp.Problem(id="sum", row=row)
    tests = benchmark().program(problem, "")
    assert (tests.time_limit, tests.memory_mib) == (7.5, 256)
    assert benchmark().reference(problem) == "print(sum(map(int, input().split())))"


@pytest.mark.parametrize(
    "changes", [{"time_limit": "soon"}, {"memory_limit_bytes": "much"}, {"memory_limit_bytes": [1]}]
)
def test_a_limit_that_is_none_is_refused_when_rows_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(wmtp.ConfigError, match="line 1: time_limit or memory_limit_bytes: "):
        list(read(request(written(tmp_path / "data", small_row(**changes)))))


@pytest.mark.parametrize("name", ["../in.txt", "/etc/passwd", ".", "..", "a/b", "a\0b", 3])
@pytest.mark.parametrize("field", ["input_file", "output_file"])
def test_a_file_name_that_is_none_is_refused_when_rows_are_read(tmp_path: Path, name: Any, field: str) -> None:
    folder = written(tmp_path / "data", small_row(), small_row(name="other", **{field: name}))
    with pytest.raises(wmtp.ConfigError, match=f"line 2: {field} must be a plain file name, not "):
        list(read(request(folder)))


def test_parquet_rows_equal_jsonl_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "parquet"
    folder.mkdir()
    rows = [small_row(name=f"sum {i}") for i in range(5)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet", row_group_size=2)
    found = list(read(request(folder)))
    assert [dict(row.whole()) for row in found] == rows
    assert [row["name"] for row in found] == [row["name"] for row in rows]
    assert len({row["digest"] for row in found}) == 5
    parquet.write_table(
        pyarrow.Table.from_pylist([small_row(input_file="../x")]), folder / "test-00000-of-00001.parquet"
    )
    with pytest.raises(wmtp.ConfigError, match="row 1: input_file must be a plain file name"):
        list(read(request(folder)))


@pytest.mark.parametrize(
    ("line", "says"),
    [('{"name": "x"}', "line 2: missing: description, public_tests"), ('{"name": ', "line 2: not valid JSON")],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    folder = written(tmp_path / "data", small_row())
    with (folder / "test.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(wmtp.ConfigError, match=says):
        list(read(request(folder)))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ({"input": ["1 2\n", "3 4\n"], "output": ["3\n"]}, "public_tests has 2 inputs and 1 outputs"),
        ({"input": ["1 2\n"], "output": [None]}, "every input is text, and so is its output"),
    ],
)
def test_an_input_without_its_output_names_the_problem(tmp_path: Path, form: str, tests: Any, says: str) -> None:
    row = {**small_row(), "public_tests": tests}
    if form == "jsonl":
        with pytest.raises(wmtp.ConfigError, match=f"line 1: problem .*{says}"):
            list(read(request(written(tmp_path / "data", row))))
        return
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "test-00000-of-00001.parquet")
    (found,) = read(request(tmp_path))
    with pytest.raises(wmtp.ConfigError, match=f"problem .*{says}"):
        list(cases(found.whole()))


def test_a_suite_may_be_null_in_either_form(tmp_path: Path) -> None:
    (row,) = read(request(written(tmp_path / "data", {**small_row(), "private_tests": None})))
    assert list(cases(row.whole()))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print(1)\n", "print(1)\n"),
        ("Here:\n```python\nprint(2)\n```\nDone.", "print(2)\n"),
        ("  \n", None),
    ],
)
def test_extraction(text: str, code: str | None) -> None:
    completion = wmtp.Completion(
        key=wmtp.SampleKey(evaluator="e", problem="p", index=0), text=text, finish_reason="stop", tokens=1, seconds=0.0
    )
    assert benchmark().code(wmtp.Problem(id="p", row={}), completion) == code
