"""What stands around a program, and is no part of it nor its end: headings, words, tokens, outlines, tests of it."""

from __future__ import annotations

import io
import resource
import signal
import sys
from typing import Any

import pytest

from wmtp import kit

RIGHT = "def double(x):\n    return 2 * x\n"
DRAFT = "def double(x):\n    return None\n"
WANTED = kit.Wanted(names={"double"}, begin="[BEGIN]", end="[DONE]")
PROMPT = 'def double(x):\n    """ Twice x.\n    """\n'


def fenced(code: str, info: str = "python") -> str:
    return f"```{info}\n{code}```\n"


ANSWERS = {
    "heading in front": f"### Question\nDouble it.\n\n### Input\nA number.\n\n{fenced(RIGHT)}",
    "heading in the program": "Here:\n\n" + fenced("### Input\nRATE = 2\n" + RIGHT.replace("2 *", "RATE *")),
    "heading in a bare program": RIGHT.replace("def", "RATE = 2\n### Input\ndef").replace("2 *", "RATE *"),
    "question and answer in words": f"The task:\nQuestion: what?\nAnswer: this.\n{fenced(RIGHT)}",
    "turn made up": f"{RIGHT}\n### Instruction:\nAnother\n\n### Response:\n{DRAFT}",
    "turn made up behind a fence": f"{fenced(RIGHT)}\n### Input:\nmore\n\n### Response:\n{fenced(DRAFT)}",
    "tests that import it": fenced(RIGHT) + "Tests:\n" + fenced("from solution import double\n\nassert double(2) == 4\n"),
    "outline behind": fenced(RIGHT) + "In short:\n" + fenced("def double(x):\n    ...\n"),
    "outline that raises": fenced(RIGHT) + fenced("def double(x):\n    raise NotImplementedError()\n"),
    "docstring alone": fenced(RIGHT) + fenced('def double(x):\n    """Twice x."""\n'),
    "bound to itself": fenced(RIGHT) + fenced("double = double(3)\nprint(double)\n"),
    "word behind": RIGHT + "Done\n",
    "name of a role in front": "assistant\n" + RIGHT,
    "word in another script": "해답\n" + RIGHT + "설명\n",
    "mark in brackets behind": RIGHT + "[END]\n",
    "word and prose behind": RIGHT + "Explanation\n\nIt doubles x.\n",
    "note that parses behind": RIGHT + "Complexity: O(n)\n",
    "file behind the language": fenced(RIGHT, "python main.py"),
    "title behind the language": fenced(RIGHT, "Python Code"),
    "file in brackets": fenced(RIGHT, "py [solution.py]"),
    "file in the first line": fenced("main.py\n" + RIGHT),
    "token of no known family": RIGHT.rstrip() + "<|eot|>",
    "token in square brackets": RIGHT.rstrip() + "[|endofturn|]",
    "token with a colon": RIGHT.rstrip() + "<seed:eos>",
    "tag that nothing opened": RIGHT.rstrip() + "</answer>",
    "token in a string": fenced("END = '</s>'\nMORE = \"<|endoftext|> and [/INST]\"\n" + RIGHT),
    "stray end of thinking": fenced(RIGHT) + "</think>",
    "stray end behind thinking": f"<think>\nhm\n</think>\n{fenced(RIGHT)}\n</think>",
    "thinking talked about": "I won't use <think> here.\n" + fenced(RIGHT),
    "thinking in a pattern": fenced("import re\nP = re.compile('<think>.*?</think>')\n" + RIGHT),
    "end mark in a thought": f"<think>\n[BEGIN]{DRAFT}[DONE]\n</think>\n[BEGIN]\n{RIGHT}[DONE]\n",
    "analysis with a colon": f"analysis: simple.\n{fenced(RIGHT)}",
    "capital thought": f"<Thought>\n{fenced(DRAFT)}</Thought>\n{fenced(RIGHT)}",
    "table filled in lines": fenced("T = [0] * 3\nT[0] = 2\n") + fenced("def double(x):\n    return T[0] * x\n"),
    "table filled in a loop": fenced("T = {}\nfor n in (2,):\n    T['f'] = n\n")
    + fenced("def double(x):\n    return T['f'] * x\n"),
    "import that is tried": fenced("try:\n    import operator as op\nexcept ImportError:\n    op = None\n")
    + fenced("def double(x):\n    return op.mul(2, x)\n"),
    "import of everything": fenced("from operator import *\n") + fenced("def double(x):\n    return mul(2, x)\n"),
    "import of the future": fenced("import operator\n")
    + fenced("from __future__ import annotations\ndef double(x: Any) -> Any:\n    return operator.mul(2, x)\n"),
    "comment that ends in a fence": fenced("def double(x):\n    y = x  # gives ```6```\n    return y + x\n"),
    "code as a list of lines": '{"code": ["def double(x):", "    return 2 * x"]}',
    "second object": '[{"type": "text", "text": "Here it is, {now}"}, {"type": "tool", "input": {"code": "def double(x):\\n'
    '    return 2 * x\\n"}}]',
    "arguments of a call": '{"tool_calls": [{"function": {"name": "run", "arguments": "{\\"code\\": \\"def double(x):\\\\n'
    '    return 2 * x\\\\n\\"}"}}]}',
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_program_is_found(answer: str) -> None:
    found = kit.extract(answer, WANTED)
    assert found.code is not None, found
    space: dict[str, Any] = {}
    exec(found.code, space)
    assert space["double"](4) == 8, found


BODIES = {
    "outline and body": fenced(PROMPT) + "The body:\n" + fenced("    return 2 * x\n"),
    "outline and function": fenced(RIGHT) + "So:\n" + fenced(PROMPT),
    "indented function": "".join(f"    {line}\n" for line in RIGHT.splitlines()),
}


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
def test_the_rest_of_a_function_is_found(answer: str) -> None:
    found = kit.extract(answer, kit.Wanted(names={"double"}, prompt=PROMPT, continues=True))
    assert found.code is not None, found
    space: dict[str, Any] = {}
    exec(found.code, space)
    assert space["double"](4) == 8, found


READING = "n = int(input())\nprint(2 * n)\n"
PROGRAMS = {
    "harness behind": fenced(READING) + fenced("import io, sys\nsys.stdin = io.StringIO('3')\nn = input()\nprint(n)\n"),
    "subprocess behind": fenced(READING)
    + fenced("import subprocess\nprint(subprocess.run(['python', 'a.py'], input='3', text=True))\n"),
    "three blocks": fenced("n = int(input())\n") + fenced("twice = 2 * n\n") + fenced("print(twice)\n"),
    "defined and called": fenced("def solve():\n    print(2 * int(input()))\n") + "Call it:\n" + fenced("solve()\n"),
    "note that parses behind": READING + "Complexity: O(n)\n",
    "file in the first line": fenced("main.py\ndef main():\n    print(2 * int(input()))\nmain()\n"),
}


@pytest.mark.parametrize("answer", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_reads_is_found(
    answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = kit.extract(answer, kit.Wanted())
    assert found.code is not None, found
    monkeypatch.setattr(sys, "stdin", io.StringIO("4\n"))
    exec(found.code, {"__name__": "__main__"})
    assert capsys.readouterr().out.split() == ["8"], found


def test_what_is_a_program_stays_as_it_stands() -> None:
    """Names that something binds, calls, and annotations of names that are there are no words."""
    for code in (
        "x = 1\ndef double(y): return 2 * y\nx\n",
        "def double(x): return 2 * x\nprint(double(2))\n",
        "limit: int\ndef double(x): return 2 * x\nlimit: int = 3\n",
        "'''Doubles.'''\ndef double(x): return 2 * x\n...\n",
    ):
        assert kit.extract(code, kit.Wanted(names={"double"})).code == code


LONG = {
    "tokens at the end": RIGHT + "<|pad|>" * 100_000,
    "tokens in front of the end": "<|pad|> " * 100_000 + "end",
    "tags at the end": RIGHT + "".join(f"</t{n}>" for n in range(60_000)),
    "tokens in quotes": "x = [" + "'</s>', " * 300_000 + "]\n" + RIGHT + "It doubles.",
    "headings": "Here:\n" + "### Input\n" * 600_000 + fenced(RIGHT),
    "headings in blocks": (fenced("### Input\nx = 1\n") + "More:\n") * 60_000 + fenced(RIGHT),
    "names bound by each other": fenced("x = 0\n" + "y = x\nx = y\n" * 45_000)
    + fenced("def double(z):\n    return 2 * z + 0 * x\n"),
}


@pytest.mark.parametrize("answer", LONG.values(), ids=LONG)
def test_a_long_answer_takes_no_more_than_its_length(answer: str) -> None:
    """By this process's work and not by the clock: seconds where each place is looked at once, otherwise minutes to hours."""
    limits = resource.getrlimit(resource.RLIMIT_CPU)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    before = signal.signal(signal.SIGXCPU, _took_too_long)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 60, limits[1]))
    try:
        kit.extract(answer, WANTED)
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, limits)
        signal.signal(signal.SIGXCPU, before)


def _took_too_long(number: int, frame: Any) -> None:
    raise AssertionError("it looks at the same places again and again")


def test_where_tests_call_by_a_builtins_name_the_reference_says_what_is_defined() -> None:
    assert kit.called_names(["assert sum(1, 2) == 3"]) == frozenset()
    assert kit.defined_names("import math\nX = 1\ndef sum(a, b):\n    return a + b\nclass C: pass\n") == {"sum", "C"}
    assert kit.defined_names("def (") == frozenset()
