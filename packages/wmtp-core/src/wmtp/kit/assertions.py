"""What stands in the source of tests, looked at and never run: rows may have their inputs nowhere else."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterable
from typing import Any

from wmtp.kit.python import called_names, names_bound, parse, statements


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


def can_fail(tests: Iterable[str], reference: str, own: Collection[str] = ()) -> bool:
    """Whether some program fails these tests otherwise than by an exception of its own.

    They raise, assert what is no constant, or call what may do so: neither the program nor Python itself. Tests that do not
    parse are not judged here: they fail where they are run.

    Args:
        tests: Their sources.
        reference: A right program; what it defines is the program's.
        own: Further names of the program's, and those that the tests have for it.
    """
    trees = []
    for test in tests:
        tree = parse(test)
        if tree is None or any(map(_asserts, tree.body)):
            return True  # as nearly always: whatever the reference defines
        trees.append(tree)
    tree = parse(reference)
    own = {*own, *(name for node in statements(tree.body) for name in names_bound(node))} if tree else own
    return any(_may_fail(node, own) for tree in trees for node in ast.walk(tree))


def _asserts(node: ast.AST) -> bool:
    """Whether it asserts what is no constant. A tuple that is not empty is true, whatever is in it."""
    return isinstance(node, ast.Assert) and (
        not isinstance(node.test, ast.Constant | ast.Tuple) or not getattr(node.test, "value", True)
    )


def _may_fail(node: ast.AST, own: Collection[str]) -> bool:
    if isinstance(node, ast.Assert):
        return _asserts(node)
    if isinstance(node, ast.Call):
        called = node.func.id if isinstance(node.func, ast.Name) else None
        return called is None or (called not in own and not hasattr(builtins, called))
    return isinstance(node, ast.Raise)
