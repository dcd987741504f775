"""What stands in the source of tests, looked at and never run: rows may have their inputs nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from wmtp.kit.python import called_names, parse


class _WithInfinity(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ("inf", "nan") else node


def assigned(tree: ast.Module, name: str) -> Any:
    """The value that is assigned to a name, last and anywhere, read as a literal in which ``inf`` and ``nan`` are floats.

    Args:
        tree: Of the tests; nodes of it may be changed.
        name: The name.

    Raises:
        ValueError: nothing is assigned to it, or what is no literal.
    """
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    ]
    if not found:
        raise ValueError(f"nothing is assigned to {name}")
    return ast.literal_eval(_WithInfinity().visit(found[-1]))


def tested_function(code: str, tests: Iterable[str]) -> str | None:
    """The one function that a program defines and tests call; ``None`` where there are none or several."""
    tree = parse(code)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} if tree else set()
    called = called_names(tests) & defined
    return next(iter(called)) if len(called) == 1 else None
