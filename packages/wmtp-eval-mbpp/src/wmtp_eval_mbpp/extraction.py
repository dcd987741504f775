"""From a completion to a program, and whether two programs are the same."""

from __future__ import annotations

import ast
import builtins
import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

START, STOP = "[BEGIN]", "[DONE]"
_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.M | re.S)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def extract(text: str, tests: Sequence[str] = ()) -> str | None:
    """The program in a completion: up to the stop; else a fenced block; else the longest prefix that parses.

    tests: the problem's asserts. Of several blocks, the one that defines what they call counts, see `_fenced`. A start mark
    in front, as the prompt has it, is cut off like the stop. ``None`` if there is nothing but white space.
    """
    if STOP in text:
        text = text[: text.index(STOP)]
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith(START):
        text = text.lstrip().removeprefix(START).lstrip("\r\n")
    if parse(text) is None:  # fences in a string of a right program stay where they are
        blocks = [match[1] for match in _FENCE.finditer(text)]
        text = _fenced(blocks, tests) if blocks else _longest_prefix(text)
    return text if text.strip() else None


def _fenced(blocks: Sequence[str], tests: Sequence[str]) -> str:
    """The first block that defines a function which the tests call, behind those before it that are Python; else the first.

    An answer may import in one block and define in the next, or tell in one how to install something.
    """
    called = _called(tests) if len(blocks) > 1 else set()
    for number, block in enumerate(blocks):
        tree = parse(block) if called else None
        if tree is not None and any(getattr(node, "name", None) in called for node in tree.body):
            earlier = [b for b in blocks[:number] if parse(b) is not None]
            return "\n".join([*earlier, block])
    return blocks[0]


def _called(tests: Sequence[str]) -> set[str]:
    """Names that the tests call, Python's own aside."""
    trees = [tree for test in tests if (tree := parse(test)) is not None]
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {func.id for func in calls if isinstance(func, ast.Name) and not hasattr(builtins, func.id)}


def _longest_prefix(text: str) -> str:
    """Whole lines from the start, as many as parse; the text as it is if not even the first line does."""
    lines = io.StringIO(text, newline="").readlines()  # Python's lines: a form feed ends none
    end = len(lines) - 1
    while end > 0:
        prefix = "".join(lines[:end])
        tree, fault = _attempt(prefix)
        if tree is not None and prefix.strip():
            return prefix
        # No prefix that holds more than the line of the fault can parse, so a long text takes few attempts.
        end = min(end - 1, fault or end)
    return text


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or ``None`` where there is none. A model may write anything: nulls, or nesting without end."""
    return _attempt(source)[0]


def _attempt(source: str) -> tuple[ast.Module | None, int | None]:
    """The syntax tree, or the line that is at fault, where that is known."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are the model's affair
            return ast.parse(source), None
    except SyntaxError as error:
        return None, error.lineno
    except (ValueError, RecursionError, MemoryError):
        return None, None


def same_program(one: str, other: str) -> bool:
    """Equal syntax trees, comments and docstrings aside. Where one does not parse, the texts are compared."""
    trees = parse(one), parse(other)
    if trees[0] is None or trees[1] is None:
        return _lines(one) == _lines(other)
    return _equal(trees[0], trees[1])


def _lines(source: str) -> list[str]:
    return source.strip().splitlines()


def _equal(one: ast.AST, other: ast.AST) -> bool:
    """Without recursion: a sum of a thousand terms is a tree a thousand deep."""
    waiting: list[tuple[Any, Any]] = [(one, other)]
    while waiting:
        first, second = waiting.pop()
        if type(first) is not type(second):
            return False
        if isinstance(first, ast.AST):
            waiting += [(_field(first, name), _field(second, name)) for name in first._fields]
        elif isinstance(first, list):
            if len(first) != len(second):
                return False
            waiting += zip(first, second, strict=True)
        elif repr(first) != repr(second):  # 0.0 and -0.0, nan and nan
            return False
    return True


def _field(node: ast.AST, name: str) -> Any:
    """A field of a node; a body without its docstring."""
    value = getattr(node, name, None)
    if name == "body" and isinstance(node, _DOCUMENTED) and value:
        first = value[0].value if isinstance(value[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return value[1:]
    return value
