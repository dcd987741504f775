"""Right programs pass, or it is said by name why not: none is wrong in silence. The programs are in `honest_programs`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import honest_programs as honest

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge

DOC = Path(__file__).parents[4] / "docs/judging.md"
# What plain Python says: a process for each program, which runs everything in itself. Prints the rows that do not hold.
PLAIN = """
import json, os, sys
missed = []
sys.dont_write_bytecode = True
sys.set_int_max_str_digits(0)
for name, program, test in json.load(sys.stdin):
    pid = os.fork()
    if pid == 0:
        import types
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        module = sys.modules["program"] = types.ModuleType("program")
        class Loader:
            get_source = staticmethod(lambda name: program)
        module.__dict__["__loader__"] = Loader
        space = module.__dict__
        try:
            exec(compile(program, "program.py", "exec"), space)
            exec(compile(test, "test", "exec"), space)
        except BaseException as error:
            print(name, repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        missed.append(name)
print(json.dumps(missed))
"""


def test_calls_are_right_in_plain_python(tmp_path: Path) -> None:
    rows = [row[:3] for row in honest.CALLS]
    ended = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(ended.stdout) == [], ended.stderr


@pytest.mark.slow  # an interpreter for each
def test_stdin_programs_are_right_in_plain_python(tmp_path: Path) -> None:
    for name, program, _ in honest.STDIN:
        file = tmp_path / "program.py"
        file.write_text(program, encoding="utf-8")
        with (tmp_path / "given").open("w+", encoding="utf-8") as given:
            given.write(honest.GIVEN)
            given.seek(0)
            plain = subprocess.run(
                [sys.executable, "-E", "-s", file],
                stdin=given,
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,  # where one writes a module
            )
        if "child that stays" not in name:
            assert (plain.returncode, plain.stdout.split()) == (0, honest.WANTED.split()), (name, plain.stderr)


def test_there_are_as_many_as_the_study_counts() -> None:
    assert len(honest.CALLS) >= 69
    assert len(honest.STDIN) >= 34
    assert len({row[0] for row in honest.CALLS}) == len(honest.CALLS)


def _right(seen: str, wanted: str) -> bool:
    """Whether a status is the one that stands in the table: a reason in words is for a program that does not pass."""
    if wanted in ("", honest.INFRASTRUCTURE):
        return seen == (wanted or "passed")
    return seen not in ("passed", honest.INFRASTRUCTURE)


def test_calls(judge: SandboxJudge) -> None:
    found = {name: judge.submit(code, CallTests(tests=(test,))).result() for name, code, test, _ in honest.CALLS}
    wrong = {row[0]: found[row[0]] for row in honest.CALLS if not _right(found[row[0]].status, row[3])}
    assert wrong == {}
    unnamed = [name for name, outcome in found.items() if outcome.status == "infrastructure" and not outcome.detail]
    assert unnamed == []


def test_stdin_programs(judge: SandboxJudge) -> None:
    tests = StdioTests(cases=[StdioCase(input=honest.GIVEN, expected=honest.WANTED)])
    found = {name: judge.submit(code, tests).result() for name, code, _ in honest.STDIN}
    strict = judge.level == "strict"
    wanted = {name: why if strict or not why.startswith("strict") else "" for name, _, why in honest.STDIN}
    assert {name: outcome for name, outcome in found.items() if not _right(outcome.status, wanted[name])} == {}


def test_reasons_are_in_the_docs() -> None:
    page = " ".join(DOC.read_text(encoding="utf-8").split())
    reasons = {why.removeprefix("strict: ") for *_, why in (*honest.CALLS, *honest.STDIN) if why}
    assert [why for why in reasons - {honest.INFRASTRUCTURE} if why not in page] == []


def test_an_input_that_is_too_large_is_named(judge: SandboxJudge) -> None:
    tests = StdioTests(cases=[StdioCase(input="x" * (33 << 20), expected="")])
    outcome = judge.submit("import sys\nsys.stdin.read()", tests).result()
    assert outcome.status == "infrastructure"
    assert outcome.detail == "the input of test 1 is larger than 32 MiB"
    assert judge.submit("print(input())", StdioTests(cases=[StdioCase(input="1", expected="1")])).result().passed


def test_every_module_of_the_standard_library_can_be_imported(judge: SandboxJudge) -> None:
    program = (
        "import os\ndef f(names):\n missing = []\n for name in names:\n  child = os.fork()\n  if child == 0:\n"
        "   try: __import__(name)\n   except BaseException: os._exit(1)\n   os._exit(0)\n"
        "  if os.waitpid(child, 0)[1]: missing.append(name)\n return missing"
    )
    away = {"antigravity", "this", "idlelib", "turtledemo", "msilib", "msvcrt", "nt", "winreg", "winsound"}
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_") and name not in away)
    present = [name for name in names if _is_here(name)]
    outcome = judge.submit(program, CallTests(tests=(f"assert f({present!r}) == []",), time_limit=60)).result()
    assert outcome.passed, outcome


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
