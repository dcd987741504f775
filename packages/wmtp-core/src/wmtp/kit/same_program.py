"""Whether two programs are the same."""

from __future__ import annotations

import ast
from typing import Any

from wmtp.kit.python import parse

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def same_program(one: str, other: str) -> bool:
    """Equal syntax trees, comments and docstrings aside. Where one does not parse, the texts are compared."""
    if one == other:
        return True
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
        if first is second:  # names, None, contexts: as nearly always where two are the same
            continue
        if type(first) is not type(second):
            return False
        if isinstance(first, ast.AST):
            get = _field if isinstance(first, _DOCUMENTED) else getattr
            waiting += [(get(first, name, None), get(second, name, None)) for name in first._fields]
        elif isinstance(first, list):
            if len(first) != len(second):
                return False
            waiting += zip(first, second, strict=True)
        elif repr(first) != repr(second):  # 0.0 and -0.0, nan and nan
            return False
    return True


def _field(node: ast.AST, name: str, default: None) -> Any:
    """A field of a node that may be documented; a body without its docstring."""
    value = getattr(node, name, default)
    if name == "body" and value:
        first = value[0].value if isinstance(value[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return value[1:]
    return value
