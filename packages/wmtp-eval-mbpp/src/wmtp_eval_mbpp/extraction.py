"""From a completion to a program, and whether two programs are the same."""

from __future__ import annotations

import ast
import re
import warnings

STOP = "[DONE]"
_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.M | re.S)


def extract(text: str) -> str | None:
    """The program in a completion: up to the stop; else the first fenced block; else the longest prefix that parses.

    ``None`` if there is nothing but white space.
    """
    if STOP in text:
        text = text[: text.index(STOP)]
    if match := _FENCE.search(text):
        text = match[1]
    elif parse(text) is None:
        text = _longest_prefix(text)
    return text if text.strip() else None


def _longest_prefix(text: str) -> str:
    """Whole lines from the start, as many as parse; the text as it is if not even the first line does."""
    lines = text.splitlines(keepends=True)
    for end in range(len(lines) - 1, 0, -1):
        prefix = "".join(lines[:end])
        if prefix.strip() and parse(prefix) is not None:
            return prefix
    return text


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or ``None`` where there is none. A model may write anything: nulls, or nesting without end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are the model's affair
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def same_program(one: str, other: str) -> bool:
    """Equal syntax trees, comments and docstrings aside. Where one does not parse, the texts are compared."""
    trees = parse(one), parse(other)
    if trees[0] is None or trees[1] is None:
        return _lines(one) == _lines(other)
    first, second = (ast.dump(_without_docstrings(tree)) for tree in trees if tree is not None)
    return first == second


def _lines(source: str) -> list[str]:
    return source.strip().splitlines()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
