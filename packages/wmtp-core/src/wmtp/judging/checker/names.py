"""Which names of a test belong to the program, and which to the judge.

A test may only reach the program through the names it is about. Everything else — builtins, standard modules, what the
test or its setup defines — is the judge's own, whatever the program has put under the same name: a program that
redefines ``abs`` or ``sys`` changes nothing about how it is judged.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import sys
import types
from collections.abc import Sequence
from typing import Any, NamedTuple

_BUILTINS = frozenset(vars(builtins))


class _Uses:
    """What one walk over all of a problem's sources finds."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self.bound: set[str] = set()  # by imports, functions, classes, assignments
        self.loaded: set[str] = set()
        self.called: set[str] = set()
        self.bases: set[str] = set()  # `name` of ``name.attribute``
        self.subjects: set[str] = set()  # builtin names that an assert is about: a task named ``sum``
        for tree in trees:
            for node in ast.walk(tree):
                visit = _VISITS.get(type(node))
                if visit:
                    visit(self, node)

    def name(self, node: Any) -> None:
        (self.loaded if isinstance(node.ctx, ast.Load) else self.bound).add(node.id)

    def alias(self, node: Any) -> None:
        self.bound.add((node.asname or node.name).split(".")[0])

    def star_import(self, node: Any) -> None:
        if any(alias.name == "*" for alias in node.names) and node.module and not node.level:
            with contextlib.suppress(Exception):  # where it fails, it fails as part of the tests
                module = importlib.import_module(node.module)
                public = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
                self.bound.update(public)

    def definition(self, node: Any) -> None:
        self.bound.add(node.name)

    def argument(self, node: Any) -> None:
        self.bound.add(node.arg)

    def handler(self, node: Any) -> None:
        if node.name:
            self.bound.add(node.name)

    def attribute(self, node: Any) -> None:
        if isinstance(node.value, ast.Name):
            self.bases.add(node.value.id)

    def call(self, node: Any) -> None:
        if isinstance(node.func, ast.Name):
            self.called.add(node.func.id)

    def assertion(self, node: Any) -> None:
        left = node.test
        while isinstance(left, (ast.Compare, ast.UnaryOp)):
            left = left.left if isinstance(left, ast.Compare) else left.operand
        if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id in _BUILTINS:
            self.subjects.add(left.func.id)


_VISITS = {
    ast.Name: _Uses.name, ast.alias: _Uses.alias, ast.FunctionDef: _Uses.definition, ast.arg: _Uses.argument,
    ast.AsyncFunctionDef: _Uses.definition, ast.ClassDef: _Uses.definition, ast.ExceptHandler: _Uses.handler,
    ast.ImportFrom: _Uses.star_import, ast.Attribute: _Uses.attribute, ast.Call: _Uses.call, ast.Assert: _Uses.assertion,
}  # fmt: skip


class Split(NamedTuple):
    """A setup and its tests, taken apart."""

    names: tuple[str, ...]
    """Of the program."""
    modules: tuple[str, ...]
    """Standard modules that the judge lends."""
    imports: str
    """The setup's imports: the program may rely on them too."""
    setup: types.CodeType
    tests: tuple[types.CodeType, ...]


@functools.lru_cache(maxsize=1024)  # a problem's samples share its tests
def split(setup: str, tests: tuple[str, ...]) -> Split:
    """Raises SyntaxError, or ValueError for what is no source text at all."""
    trees = [ast.parse(source) for source in (setup, *tests)]
    uses = _Uses(trees)
    free = uses.loaded - uses.bound
    # A standard module is one that is only ever used as ``name.attribute``.
    modules = {name for name in uses.bases - uses.called if name in sys.stdlib_module_names} & free
    names = free - modules - _BUILTINS or uses.subjects
    labels = ("<setup>", *(f"<test {number}>" for number in range(1, len(trees))))
    codes = [compile(tree, label, "exec", dont_inherit=True) for tree, label in zip(trees, labels, strict=True)]
    body: list[ast.stmt] = [node for node in trees[0].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imports = ast.unparse(ast.Module(body=body, type_ignores=[]))
    return Split(tuple(sorted(names)), tuple(sorted(modules)), imports, codes[0], tuple(codes[1:]))
