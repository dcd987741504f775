"""From a completion to a program, and when two programs are the same."""

from __future__ import annotations

import ast
import io
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmtp.kit import Wanted, called_names, parse, same_program
from wmtp.kit import extract as taken_out
from wmtp.kit.python import longest_prefix


def extract(text: str, tests: Sequence[str] = ()) -> str | None:
    return taken_out(text, Wanted(names=called_names(tests), begin="[BEGIN]", end="[DONE]")).code


CODE = "def f(x):\n    return x\n"
CASES = {
    "code alone": (CODE, CODE),
    "up to the stop": (f"{CODE}[DONE]\nand more", CODE),
    "a stop that the engine has already taken": (CODE, CODE),
    "the first fenced block": (f"Sure!\n```python\n{CODE}```\nor\n```\nother\n```\n", CODE),
    "a fence without an end": (f"```\n{CODE}", CODE),
    "an indented fence": (f"1. Here:\n  ```py\n{CODE}  ```\n", CODE),
    "a fence and a stop": (f"```python\n{CODE}```[DONE] ```no```", CODE),
    "fences in a string of the program": (f's = """\n```\nx\n```\n"""\n{CODE}', f's = """\n```\nx\n```\n"""\n{CODE}'),
    "the longest prefix that parses": (f"{CODE}\nThis function returns x.\n", f"{CODE}\n"),
    "cut off in a statement": (f"{CODE}def g(x):\n    return (x +", CODE),
    "cut off in a string": (f'{CODE}s = """never\nclosed\n', CODE),
    "nothing of it parses": ("Sorry, I cannot.", None),
    "carriage returns": ("def f(x):\r\n    return x\r\nhm hm\r\n", "def f(x):\r\n    return x\r\n"),
    "a byte order mark": (f"\ufeff{CODE}oh dear\n", CODE),
    "nothing": ("", None),
    "white space": (" \n\t\n", None),
    "a stop at once": ("[DONE]", None),
    "an empty fence": ("```\n```", None),
    "the prompt's start mark": (f"[BEGIN]\n{CODE}[DONE]", CODE),
    "a start mark behind white space, and a fence": (f"\n [BEGIN]\r\n```python\n{CODE}```", CODE),
    "a start mark in the middle": (f"{CODE}x = '[BEGIN]'\n", f"{CODE}x = '[BEGIN]'\n"),
    "a start mark alone": ("[BEGIN]\n", None),
    "blocks without tests": ("```\nimport re\n```\n```\ndef f(): ...\n```", "def f(): ...\n"),
}
TESTS = ["assert set(f(1)) == {1}", "assert not a test", "assert f(len([2])) == 1"]
BLOCKS = {
    "one block, whatever it defines": (["x = 1\n"], "x = 1\n"),
    "the import before the function": (
        ["import re\n", "def f(x):\n    return re.escape(x)\n"],
        "import re\n\ndef f(x):\n    return re.escape(x)\n",
    ),
    "what is no Python before it": (["pip install numpy\n", "def g(): ...\n", CODE], CODE),
    "the last of two": (["def f(x):\n    return 2\n", CODE], CODE),
    "what comes behind": ([CODE, "print(f(1))\n"], CODE),
    "a class": (["y = 2\n", "class f:\n    x = y\n"], "y = 2\n\nclass f:\n    x = y\n"),
    "no block defines it": (["def g(): ...\n", "def len(): ...\n"], "def len(): ...\n"),
    "the one that would does not parse": (["x = 1\n", "def f(:\n"], "x = 1\n"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_of_several_blocks_the_one_that_the_tests_need(name: str) -> None:
    blocks, code = BLOCKS[name]
    text = "So:\n" + "and\n".join(f"```python\n{block}```\n" for block in blocks)
    assert extract(text, TESTS) == code


@pytest.mark.parametrize("name", CASES)
def test_extraction(name: str) -> None:
    text, code = CASES[name]
    assert extract(text) == code


def _brute_force(text: str) -> str:
    lines = io.StringIO(text, newline="").readlines()
    for end in range(len(lines), 0, -1):
        prefix = "".join(lines[:end])
        if prefix.strip() and parse(prefix) is not None:
            return prefix
    return text


PIECES = [
    "def f(x):", "    return x", "    if x:", "        y = [", "x = (1,", ")", "]", "'''", '"""', "# note", "",
    "class A:", "    '''doc", "else:", "  pass", "print(a b)", "\tz = 1", "try:", "except E:", "x = \\", "not code at all",
    "@d", "f'{x", "match x:", "    case 1:", "        pass", "lambda:", "{", "}", "a; b", "return", "x = 5 +",
    "\x0cx = 2", "\x00",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_the_prefix_is_the_longest(pieces: list[str]) -> None:
    """Jumping to the line of the fault never misses a longer prefix."""
    text = "\n".join(pieces) + "\n"
    assert (longest_prefix(text, lambda tree: True) or text) == _brute_force(text)


def test_a_long_text_takes_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    real = ast.parse

    def counting(source: str, *named: Any) -> ast.Module:
        nonlocal attempts
        attempts += 1
        return real(source, *named)

    monkeypatch.setattr(ast, "parse", counting)
    assert extract(CODE + "and then some words\n" * 5000) == CODE
    assert attempts < 10


SAME = {
    "itself": (CODE, CODE),
    "comments": (CODE, "# first\ndef f(x):  # a\n    return x  # b\n"),
    "a docstring": (CODE, 'def f(x):\n    """Gives x."""\n    return x\n'),
    "docstrings of module and class": ("class A:\n    x = 1\n", '"""m"""\nclass A:\n    """c"""\n    x = 1\n'),
    "spaces and brackets": (CODE, "def f( x ) :\n  return (x)\n\n\n"),
    "carriage returns": (CODE, CODE.replace("\n", "\r\n")),
    "quotes": ("s = 'a'", 's = "a"'),
    "texts that do not parse": ("def f(:\n  x", "def f(:\r\n  x\n"),
}
DIFFERENT = {
    "a name": (CODE, CODE.replace("x", "y")),
    "a value that is equal": ("x = 1", "x = True"),
    "a float for an int": ("x = 1", "x = 1.0"),
    "signs of zero": ("x = 0.0", "x = -0.0"),
    "one more statement": (CODE, f"{CODE}f(1)\n"),
    "a string that is no docstring": ("x = 1\n'a'\n", "x = 1\n"),
    "a text that does not parse": (CODE, f"{CODE}oops oops\n"),
    "nothing": ("", CODE),
}


@pytest.mark.parametrize("name", SAME)
def test_same_program(name: str) -> None:
    one, other = SAME[name]
    assert same_program(one, other)
    assert same_program(other, one)


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_programs(name: str) -> None:
    one, other = DIFFERENT[name]
    assert not same_program(one, other)
    assert not same_program(other, one)


@given(st.text(max_size=60))
def test_any_text_is_the_same_as_itself(text: str) -> None:
    assert same_program(text, text)
    extract(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 5000, "x = " + "+".join(["1"] * 4000), "-" * 3000 + "1", "x = '\ud800'", "x = 1\0", "[" * 150 + "]" * 150],
)
def test_whatever_a_model_writes_ends_nothing(text: str) -> None:
    extract(text)
    assert same_program(text, text)
    assert not same_program(text, f"{text}\ny = 2")


def test_the_same_after_any_shuffle_of_comments() -> None:
    dice = random.Random(0)
    for _ in range(50):
        lines = [
            line + ("  # " + "z" * dice.randint(0, 5) if dice.random() < 0.5 else "") for line in CODE.splitlines()
        ]
        assert same_program("\n".join(lines), CODE)
