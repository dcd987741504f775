"""The eight programs that other judges let pass, written for many problems. None may pass, at either level.

Each trick is a template: FUNCTION stands for the function's name, EXPECTED for nothing at all — what the test expects is not
in the program, and the trick is to get by without it.
"""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from wmtp.contracts.judging import CallTests
from wmtp.judging.judge import SandboxJudge

TRICKS = {
    "always equal": """
class Anything(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    __lt__ = __le__ = __gt__ = __ge__ = lambda self, other: True
class Whatever:
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
def FUNCTION(*a, **k): return Whatever() if len(repr(a)) % 2 else Anything()
""",
    "shadowed builtins": """
class _Always:
    __eq__ = lambda self, other: True
def abs(*a): return _Always()
sum = len = set = sorted = list = tuple = round = str = int = isinstance = all = any = max = min = abs
def FUNCTION(*a, **k): return None
""",
    "patched builtins": """
import builtins, math, operator
class _Always:
    __eq__ = lambda self, other: True
for name in ("abs", "sum", "len", "set", "sorted", "list", "tuple", "round", "str", "isinstance", "all", "any"):
    setattr(builtins, name, lambda *a, **k: _Always())
builtins.AssertionError = ValueError
math.isclose = lambda *a, **k: True
operator.eq = lambda *a: True
def FUNCTION(*a, **k): return None
""",
    "constants of the caller": """
import sys, gc, types
def FUNCTION(*a, **k):
    seen = []
    frame = sys._getframe(1)
    while frame:
        seen += [c for c in frame.f_code.co_consts] + list(frame.f_locals.values()) + list(frame.f_globals.values())
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, types.CodeType): seen += thing.co_consts
    import ast
    for thing in list(seen):
        if isinstance(thing, str) and "assert" in thing and "FUNCTION" in thing:
            try: return ast.literal_eval(thing.split("==", 1)[1])
            except Exception: pass
    return next((c for c in seen if type(c) not in (str, type(None), types.CodeType) and c not in a), None)
""",
    "result through stack frames": """
import sys, gc
def _forge():
    frame = sys._getframe()
    while frame:
        for space in (frame.f_locals, frame.f_globals):
            for name, value in list(space.items()):
                if name in ("result", "results", "outcome", "details") and hasattr(value, "append"): value.append("passed")
                if name in ("passed", "status", "ok"): space[name] = "passed"
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) is dict and "status" in thing: thing["status"] = "passed"
_forge()
def FUNCTION(*a, **k): _forge()
""",
    "settrace over asserts": """
import sys, threading
def _jump(frame, event, arg):
    if event == "line":
        try: frame.f_lineno += 1
        except Exception: pass
    if event == "exception": return None
    return _jump
sys.settrace(_jump); threading.settrace(_jump)
frame = sys._getframe()
while frame:
    frame.f_trace = _jump
    frame = frame.f_back
def FUNCTION(*a, **k): return None
""",
    "a thread that replaces check": """
import threading, sys, time, builtins
def FUNCTION(*a, **k): return None
def _replace():
    while True:
        for module in list(sys.modules.values()):
            for name in ("check", "judge_calls", "_calls", "same_output", "_classify"):
                if hasattr(module, name): setattr(module, name, lambda *a, **k: ("passed", 3, ""))
        builtins.check = lambda *a, **k: None
        time.sleep(0)
threading.Thread(target=_replace, daemon=True).start()
time.sleep(0.02)
""",
    "a pickled __reduce__": """
import os
class _Bomb:
    def __reduce__(self): return (os._exit, (0,))
class _Passed(Exception):
    def __reduce__(self): return (exec, ("import sys; sys.exit(0)",))
def FUNCTION(*a, **k):
    if a and len(repr(a)) % 2: raise _Passed()
    return _Bomb()
""",
}
PROBLEMS = 12


def _programs(mbpp: list[dict[str, Any]], trick: str) -> list[tuple[str, CallTests]]:
    """The trick for problems of the test split, as many as asked, chosen by a fixed seed."""
    plain = [row for row in mbpp if 11 <= row["task_id"] <= 510 and not row["test_setup_code"]]
    # An answer of None is what several tricks fall back on: where a test expects it, they would simply be right.
    rows = random.Random(8).sample([r for r in plain if "None" not in "".join(r["test_list"])], PROBLEMS)
    found = []
    for row in rows:
        name = re.findall(r"(\w+)\s*\(", row["test_list"][0].split("assert", 1)[1])
        function = next(n for n in name if re.search(rf"def\s+{n}\b", row["code"]))
        found.append(
            (TRICKS[trick].replace("FUNCTION", function), CallTests(tests=tuple(row["test_list"]), time_limit=3))
        )
    return found


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_passes(trick: str, mbpp: list[dict[str, Any]], judge: SandboxJudge) -> None:
    outcomes = [judge.submit(code, tests).result() for code, tests in _programs(mbpp, trick)]
    assert [o for o in outcomes if o.passed or o.status == "infrastructure"] == []


WRAPPED = {  # left-hand sides that use builtins and modules: they are the judge's own
    "abs": "assert abs(f(1) - 3) < 0.1",
    "isclose": "assert math.isclose(f(1), 3)",
    "sorted": "assert sorted(f(1)) == [1]",
    "len": "assert len(f(1)) == 2",
    "set": "assert set(f(1)) == {1}",
    "isinstance": "assert isinstance(f(1), str)",
    "not": "assert not f(1) != 4",
    "in": "assert f(1) in (7, 8)",
    "str": "assert str(f(1)) == '3'",
    "tuple": "assert tuple(f(1)) == (5,)",
}


@pytest.mark.parametrize("test", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("trick", ["always equal", "shadowed builtins", "patched builtins"])
def test_nor_where_a_test_wraps_the_call(trick: str, test: str, judge: SandboxJudge) -> None:
    program = TRICKS[trick].replace("FUNCTION", "f")
    outcome = judge.submit(program, CallTests(tests=(test,), setup="import math")).result()
    assert outcome.status in ("failed", "error")


def test_an_exit_behind_a_bare_except_is_no_expected_exception(judge: SandboxJudge) -> None:
    test = "try:\n    f()\n    raised = False\nexcept:\n    raised = True\nassert raised"
    assert judge.submit("def f(): raise ValueError", CallTests(tests=(test,))).result().passed
    for body in ("import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)"):
        assert not judge.submit(f"def f():\n {body}", CallTests(tests=(test,))).result().passed
