"""Right answers in every shape that Python calls equal, and wrong ones that come close: as a plain assert would have it.

Each row is a program and a test. The verdict at both levels must equal that of a fresh interpreter running the same text.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from wmtp.contracts.judging import CallTests
from wmtp.judging.judge import SandboxJudge

# (name, program, test)
# ruff: noqa: E501 (a table)
SAME = [
    # containers in place of containers
    ("Counter for dict", "from collections import Counter\ndef f(x): return Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}"),
    ("dict for Counter", "def f(x): return {'a': 2}", "from collections import Counter\nassert f(1) == Counter('aa')"),
    ("Counter with zero", "from collections import Counter\ndef f(): return Counter(a=0)", "from collections import Counter\nassert f() == Counter()"),
    ("Counter arithmetic", "from collections import Counter\ndef f(): return Counter('aab')", "assert f() - f() == {} and f().most_common(1) == [('a', 2)]"),
    ("defaultdict for dict", "from collections import defaultdict\ndef f():\n d = defaultdict(list)\n d[1].append(2)\n return d", "assert f() == {1: [2]} and f()[9] == []"),
    ("defaultdict of a lambda", "from collections import defaultdict\ndef f():\n d = defaultdict(lambda: 0)\n d[1] += 2\n return d", "assert f() == {1: 2}"),
    ("OrderedDict, order counts", "from collections import OrderedDict\ndef f(): return OrderedDict([(2, 1), (1, 1)])", "from collections import OrderedDict\nassert f() == {1: 1, 2: 1}\nassert f() != OrderedDict([(1, 1), (2, 1)])"),
    ("deque", "from collections import deque\ndef f(): return deque([1, 2], 5)", "from collections import deque\nassert f() == deque([1, 2]) and f() != [1, 2] and f().maxlen == 5"),
    ("named tuple for tuple", "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)", "assert f() == (1, 2) and f().x == 1 and f()._asdict() == {'x': 1, 'y': 2}"),
    ("typing.NamedTuple", "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\ndef f(): return [P(1)]", "assert f() == [(1,)]"),
    ("list for tuple is wrong", "def f(): return [1, 2]", "assert f() == (1, 2)"),
    ("set for list is wrong", "def f(): return {1, 2}", "assert f() == [1, 2]"),
    ("frozenset for set", "def f(): return frozenset([1, 2])", "assert f() == {1, 2}"),
    ("set of frozensets", "def f(): return {frozenset([1]), frozenset()}", "assert f() == {frozenset(), frozenset([1])}"),
    ("bytearray for bytes", "def f(): return bytearray(b'ab')", "assert f() == b'ab'"),
    ("nested mixtures", "def f(): return {1: [(2, {3}), {'k': None}], (4,): ...}", "assert f() == {1: [(2, {3}), {'k': None}], (4,): ...}"),
    # lazy things
    ("generator", "def f(n):\n for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2] and sum(f(4)) == 6"),
    ("generator is no list", "def f(n): return (i for i in range(n))", "assert f(2) == [0, 1]"),
    ("generator consumed once", "g = (i for i in range(3))\ndef f(): return g", "x = f()\nassert list(x) == [0, 1, 2] and list(x) == [] and next(x, 7) == 7"),
    ("map", "def f(x): return map(str, x)", "assert list(f([1, 2])) == ['1', '2']"),
    ("zip and sorted", "def f(a, b): return zip(a, b)", "assert sorted(f([2, 1], 'ab')) == [(1, 'b'), (2, 'a')]"),
    ("dict of zip", "def f(a, b): return zip(a, b)", "assert dict(f([2, 1], 'ab')) == {2: 'a', 1: 'b'}"),
    ("set of a generator", "def f(): return (c for c in 'aab')", "assert set(f()) == {'a', 'b'}"),
    ("iterator object", "def f(): return iter([1, 2])", "i = f()\nassert next(i) == 1 and next(i) == 2"),
    ("StopIteration", "def f(): return iter([])", "try:\n next(f())\n assert False\nexcept StopIteration: pass"),
    ("range", "def f(n): return range(n)", "assert f(3) == range(3) and list(f(2)) == [0, 1] and f(3) != [0, 1, 2] and len(f(10**9)) == 10**9"),
    ("dict keys", "def f(): return {1: 2}.keys()", "assert f() == {1} and list(f()) == [1] and 1 in f()"),
    ("dict values", "def f(): return {1: 2}.values()", "assert list(f()) == [2] and f() != [2]"),
    ("dict items", "def f(): return {1: 2}.items()", "assert f() == {(1, 2)} and dict(f()) == {1: 2}"),
    ("reversed and enumerate", "def f(): return enumerate(reversed('ab'))", "assert list(f()) == [(0, 'b'), (1, 'a')]"),
    # numbers
    ("True for 1", "def f(): return True", "assert f() == 1 and f() is True and f() + f() == 2"),
    ("1 for True", "def f(): return 1", "assert f() == True"),
    ("1 is not True", "def f(): return 1", "assert f() is True"),
    ("None", "def f(): pass", "assert f() is None and f() == None and not f()"),
    ("float for int", "def f(): return 4.0", "assert f() == 4 and isinstance(f(), float)"),
    ("near is not equal", "def f(): return 0.1 + 0.2", "assert f() == 0.3"),
    ("exact bits", "def f(): return 0.1 + 0.2", "assert f() == 0.1 + 0.2 and f().hex() == (0.1 + 0.2).hex()"),
    ("minus zero", "def f(): return -0.0", "import math\nassert f() == 0.0 and math.copysign(1, f()) == -1"),
    ("NaN is not itself", "def f(): return float('nan')", "assert f() == f()"),
    ("NaN by isnan", "def f(): return float('nan')", "import math\nassert math.isnan(f()) and f() != f()"),
    ("infinity", "def f(): return float('-inf')", "assert f() == float('-inf')"),
    ("complex", "def f(): return complex(1, -0.0)", "assert f() == 1 and str(f()) == '(1-0j)'"),
    ("large int", "def f(): return 3 ** 5000", "assert f() == 3 ** 5000 and f() != 3 ** 5000 + 1"),
    ("negative int bounds", "def f(): return [-1, -128, -129, 255, 256, -2**63, 2**64]", "assert f() == [-1, -128, -129, 255, 256, -2**63, 2**64]"),
    ("Decimal", "from decimal import Decimal\ndef f(): return Decimal('1.10')", "from decimal import Decimal\nassert f() == Decimal('1.1') and str(f()) == '1.10'"),
    ("Fraction", "from fractions import Fraction\ndef f(): return Fraction(2, 4)", "assert f() == 0.5 and f().denominator == 2"),
    ("date and time", "import datetime as d\ndef f(): return [d.date(2020, 2, 29), d.datetime(2020, 1, 1, 3, 4, 5, 6), d.timedelta(1, 2, 3)]", "import datetime as d\nassert f() == [d.date(2020, 2, 29), d.datetime(2020, 1, 1, 3, 4, 5, 6), d.timedelta(1, 2, 3)]"),
    ("IntEnum", "import enum\nclass E(enum.IntEnum):\n A = 3\ndef f(): return E.A", "assert f() == 3"),
    ("str Enum", "import enum\nclass E(str, enum.Enum):\n A = 'a'\ndef f(): return E.A", "assert f() == 'a'"),
    # text
    ("any text", "def f(): return 'a\\x00\\ud800\\U0001F600'", "assert f() == 'a\\x00\\ud800\\U0001F600'"),
    ("str subclass", "class S(str): pass\ndef f(): return S('a')", "assert f() == 'a' and f().upper() == 'A'"),
    ("list subclass", "class L(list): pass\ndef f(): return L([1])", "assert f() == [1]"),
    ("dict subclass", "class D(dict): pass\ndef f(): return D(a=1)", "assert f() == {'a': 1}"),
    # types and functions
    ("builtin type", "def f(x): return type(x)", "assert f(1) == int and f('') is str and f(None) == type(None)"),
    ("type as argument", "def f(x, t): return [v for v in x if isinstance(v, t)]", "assert f([1, 'a', 2.0], str) == ['a'] and f([1, 'a'], (int, str)) == [1, 'a']"),
    ("function as argument", "def f(g, x): return [g(v) for v in x]", "assert f(lambda v: v + 1, [1, 2]) == [2, 3] and f(len, ['ab']) == [2]"),
    ("argument that raises", "def f(g):\n try: g()\n except ValueError: return 'caught'", "def bad(): raise ValueError('x')\nassert f(bad) == 'caught'"),
    ("iterator as argument", "def f(it): return sum(it)", "assert f(iter([1, 2])) == 3 and f(x * x for x in range(3)) == 5"),
    ("own function as argument", "def g(x): return x * 2\ndef f(h, x): return h(x)", "assert f(g, 4) == 8"),
    ("returned function", "def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
    ("keyword arguments", "def f(a, *, b=1, **c): return [a, b, c]", "assert f(1, b=2, z=3) == [1, 2, {'z': 3}]"),
    ("star arguments", "def f(*a): return a", "assert f(*[1, 2], *'ab') == (1, 2, 'a', 'b')"),
    ("a constant", "LIMIT = [1, 2]\ndef f(): return LIMIT", "assert f() == [1, 2]"),
    # mutated arguments, identity
    ("sorted in place", "def f(x): x.sort()", "x = [3, 1, 2]\nf(x)\nassert x == [1, 2, 3]"),
    ("nested in place", "def f(x): x[0][1]['k'].append(9)", "x = [[0, {'k': []}]]\nk = x[0][1]['k']\nf(x)\nassert x == [[0, {'k': [9]}]] and k == [9]"),
    ("in a tuple", "def f(t): t[0].append(1)", "a = []\nf((a, 2))\nassert a == [1]"),
    ("dict in place", "def f(d): d.pop(1); d[2] = 3", "d = {1: 1}\nf(d)\nassert d == {2: 3}"),
    ("set and deque in place", "def f(s, q): s.add(2); q.append(4)", "from collections import deque\ns, q = {1}, deque([3])\nf(s, q)\nassert s == {1, 2} and q == deque([3, 4])"),
    ("the argument itself", "def f(x): x.append(1); return x", "x = []\nassert f(x) is x and x == [1]"),
    ("an equal copy is another", "def f(x): return list(x)", "x = [1]\nassert f(x) == x and f(x) is not x"),
    ("keyword in place", "def f(*, x): x.append(1)", "x = []\nf(x=x)\nassert x == [1]"),
    ("state between calls", "n = 0\ndef f():\n global n\n n += 1\n return n", "assert [f(), f(), f()] == [1, 2, 3]"),
    ("mutable default", "def f(x=[]):\n x.append(1)\n return len(x)", "assert f() == 1\nassert f() == 2"),
    # own classes
    ("tree built by the test", "class Node:\n def __init__(s, v): s.v = v; s.l = s.r = None\ndef f(n): return 0 if n is None else n.v + f(n.l) + f(n.r)", "root = Node(1)\nroot.l = Node(2)\nroot.l.r = Node(3)\nassert f(root) == 6 and root.l.r.v == 3"),
    ("methods and attributes", "class A:\n def __init__(s): s.x = []\n def add(s, v): s.x.append(v); return s", "a = A()\nassert a.add(1).add(2).x == [1, 2]"),
    ("list of own objects", "class P:\n def __init__(s, a, b): s.a, s.b = a, b\ndef f(ps): return max(p.b - p.a for p in ps)", "assert f([P(1, 5), P(2, 3)]) == 4"),
    ("same object again", "class A: pass\na = A()\ndef f(): return a", "assert f() is f() or f() == f()"),
    ("own iteration and length", "class A:\n def __iter__(s): return iter([1, 2])\n def __len__(s): return 2\n def __getitem__(s, i): return i * 10\ndef f(): return A()", "a = f()\nassert list(a) == [1, 2] and len(a) == 2 and a[3] == 30 and 2 in a and 6 not in a"),
    ("match object", "import re\ndef f(s): return re.match('(a+)b', s)", "assert f('aab').group(1) == 'aa' and f('x') is None and f('ab') is not None and f('ab') != None"),
    ("an object is no number", "class A: pass\ndef f(): return A()", "assert f() == 1"),
    # exceptions
    ("expected ValueError", "def f(): raise ValueError('bad')", "try:\n f()\n assert False\nexcept ValueError as e:\n assert str(e) == 'bad'"),
    ("own exception by its base", "class E(KeyError): pass\ndef f(): raise E('k')", "try:\n f()\n assert False\nexcept KeyError: pass"),
    ("wrong exception", "def f(): raise TypeError", "try:\n f()\nexcept ValueError: pass"),
    ("no exception", "def f(): return 1", "try:\n f()\n assert False\nexcept ValueError: pass"),
    ("zero division", "def f(): return 1 / 0", "ok = False\ntry: f()\nexcept ArithmeticError: ok = True\nassert ok"),
    ("too few arguments", "def f(a): return a", "try:\n f()\n assert False\nexcept TypeError: pass"),
    ("assertion of its own", "def f(x): assert x > 0; return x", "assert f(-1) == -1"),
    ("assertion expected", "def f(x): assert x > 0, 'positive'", "try:\n f(-1)\n ok = False\nexcept AssertionError: ok = True\nassert ok"),
    # programs
    ("prints", "import sys\nprint('debug')\ndef f(x): print(x); print(x, file=sys.stderr); return x", "assert f(1) == 1"),
    ("main guard", "def f(): return 1\nif __name__ == '__main__':\n print(f())", "assert f() == 1"),
    ("deep recursion", "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)", "assert f(20000) == 20000"),
    ("recursion too deep", "def f(n): return f(n + 1)", "try:\n f(0)\n assert False\nexcept RecursionError: pass"),
    ("threads", "import threading\ndef f(n):\n r = []\n ts = [threading.Thread(target=r.append, args=(i,)) for i in range(n)]\n [t.start() for t in ts]; [t.join() for t in ts]\n return sorted(r)", "assert f(30) == list(range(30))"),
    ("300 MB", "def f(): return len(bytearray(300 << 20))", "assert f() == 300 << 20"),
    ("BOM", "\ufeffdef f(): return 1", "assert f() == 1"),
    ("CRLF", "def f(x):\r\n    if x:\r\n        return 1\r\n    return '''a\r\nb'''\r\n", "assert f(1) == 1 and f(0) == 'a\\nb'"),
    ("tabs and form feeds", "\x0cdef f():\n\treturn 1", "assert f() == 1"),
    ("dataclass", "from dataclasses import dataclass, astuple\n@dataclass\nclass P:\n x: int\ndef f(): return astuple(P(1)), P(2).x", "assert f() == ((1,), 2)"),
    ("a variable of the program", "SEEN = []\nLIMIT = 3\ndef f(): SEEN.append(1)", "assert SEEN == [] and LIMIT == 3\nf()"),
    ("syntax error", "def f(: return 1", "assert f() == 1"),
    ("missing function", "def g(): return 1", "assert f() == 1"),
    ("error while it loads", "def f(): return 1\n1 / 0", "assert f() == 1"),
    ("exit while it loads", "import sys\ndef f(): return 1\nsys.exit(0)", "assert f() == 1"),
    ("class method as function", "class S:\n @staticmethod\n def f(x): return x\n @classmethod\n def g(c, x): return x", "assert S.f(1) == 1 and S().g(2) == 2"),
    ("async", "import asyncio\nasync def g(): await asyncio.sleep(0); return 5\ndef f(): return asyncio.run(g())", "assert f() == 5"),
]  # fmt: skip

# Where a plain assert and the judge part, and why.
DIFFERENT = [
    (
        "an always-equal object",  # its __eq__ is the program's: it never crosses
        "class A:\n def __eq__(s, o): return True\ndef f(): return A()",
        "assert f() == 5",
        (True, "failed"),
    ),
    (
        "two objects of its own class",  # the same: equality would be the program's word
        "from dataclasses import dataclass\n@dataclass\nclass P:\n x: int\ndef f(): return P(1)",
        "assert f() == P(1)",
        (True, "failed"),
    ),
    (
        "a membership of its own",  # `in` asks each item here: the program's word could be yes to whatever is expected
        "class A:\n def __iter__(s): return iter([1, 2])\n def __contains__(s, i): return i == 5\ndef f(): return A()",
        "assert 5 in f()",
        (True, "failed"),
    ),
    (
        "one list in two places",  # arguments cross as data: two lists, so a change to one is not seen in the other
        "def f(g):\n for row in g: row[0] += 1\n return g",
        "assert f([[0]] * 2) == [[2], [2]]",
        (True, "failed"),
    ),
    (
        "a test that takes a name of the program",  # each side keeps its own: the program does not break
        "def helper(x): return x\ndef f(x): return helper(x)",
        "helper = 5\nassert f(helper) == 5",
        (False, "passed"),
    ),
    (
        "the very NaN of the math module",  # `in` and == of containers take the same object for equal; ours is another one
        "import math\ndef f(): return [math.nan]",
        "import math\nassert f() == [math.nan]",
        (True, "failed"),
    ),
]


@pytest.mark.parametrize(("program", "test"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_verdict_is_that_of_a_plain_assert(
    program: str, test: str, judge: SandboxJudge, plainly: Callable[..., bool]
) -> None:
    outcome = judge.submit(program, CallTests(tests=(test,))).result()
    assert outcome.status != "infrastructure", outcome
    assert outcome.passed == plainly(program, (test,)), outcome


@pytest.mark.parametrize(
    ("program", "test", "expected"), [row[1:] for row in DIFFERENT], ids=[row[0] for row in DIFFERENT]
)
def test_known_differences(
    program: str, test: str, expected: tuple[bool, str], judge: SandboxJudge, plainly: Callable[..., bool]
) -> None:
    outcome = judge.submit(program, CallTests(tests=(test,))).result()
    assert (plainly(program, (test,)), outcome.status) == expected


def test_at_least_fifty_of_them_are_right(plainly: Callable[..., bool]) -> None:
    assert sum(plainly(program, (test,)) for _, program, test in SAME) >= 80


def test_random_numbers_are_the_same_in_every_program(judge: SandboxJudge) -> None:
    """Also after a recycled or another zygote: a verdict that hangs on them repeats."""
    program = "import random\ndef f(): return [random.random() for _ in range(3)]"
    state = random.Random(0)
    values = [state.random() for _ in range(3)]
    outcomes = [judge.submit(program, CallTests(tests=(f"assert f() == {values}",))).result() for _ in range(4)]
    killed = "import os, random\ndef f():\n random.seed(5)\n os.kill(os.getpid(), 9)"
    judge.submit(killed, CallTests(tests=("assert f()",))).result()
    outcomes.append(judge.submit(program, CallTests(tests=(f"assert f() == {values}",))).result())
    assert [o.status for o in outcomes] == ["passed"] * 5
