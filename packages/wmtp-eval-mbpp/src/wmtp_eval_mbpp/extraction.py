"""From a completion to a program, and whether two programs are the same."""

from __future__ import annotations

import ast
import io
import re
import warnings
from typing import Any

STOP = "[DONE]"
_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.M | re.S)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def extract(text: str) -> str | None:
    """The program in a completion: up to the stop; else the first fenced block; else the longest prefix that parses.

    ``None`` if there is nothing but white space.
    """
    if STOP in text:
        text = text[: text.index(STOP)]
    text = text.removeprefix("\ufeff")
    if parse(text) is None:  # fences in a string of a right program stay where they are
        match = _FENCE.search(text)
        text = match[1] if match else _longest_prefix(text)
    return text if text.strip() else None


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
