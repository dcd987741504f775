"""Which names of a test belong to the program, and which to the judge.

A test may only reach the program through the names it is about. Everything else — builtins, standard modules, what the
test or its setup defines — is the judge's own, whatever the program has put under the same name: a program that
redefines ``abs`` or ``sys`` changes nothing about how it is judged.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Sequence

_BUILTINS = frozenset(vars(builtins))


def _bound(tree: ast.AST) -> set[str]:
    """Names that the module's own top level binds: its imports, functions, classes and assignments."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            if not isinstance(node, ast.ClassDef):
                arguments = node.args
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                found |= {a.arg for a in every} | {a.arg for a in (arguments.vararg, arguments.kwarg) if a}
        elif isinstance(node, ast.Lambda):
            found |= {a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found


def _loaded(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _modules(tree: ast.AST) -> set[str]:
    """Names used as ``name.attribute`` only, where `name` is a standard module."""
    bases = {n.value.id for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return {name for name in bases - called if name in sys.stdlib_module_names}


def _subjects(tree: ast.AST) -> set[str]:
    """Builtin names that are what an assert is about: the outermost call on its left-hand side (a task named ``sum``)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            left = node.test
            while isinstance(left, (ast.Compare, ast.UnaryOp)):
                left = left.left if isinstance(left, ast.Compare) else left.operand
            if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id in _BUILTINS:
                found.add(left.func.id)
    return found


def split(setup: str, tests: Sequence[str]) -> tuple[set[str], set[str]]:
    """(names of the program, standard modules the judge lends) for a setup and its tests. Raises SyntaxError."""
    trees = [ast.parse(source) for source in (setup, *tests)]
    bound = set().union(*(_bound(tree) for tree in trees))
    free = set().union(*(_loaded(tree) for tree in trees)) - bound
    modules = set().union(*(_modules(tree) for tree in trees)) & free
    names = free - modules - _BUILTINS
    if not names:
        names = set().union(*(_subjects(tree) for tree in trees))
    return names, modules


def imports(setup: str) -> str:
    """The import statements at the top level of a setup: the program may rely on them too."""
    body: list[ast.stmt] = [node for node in ast.parse(setup).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return ast.unparse(ast.Module(body=body, type_ignores=[]))
