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
SAME = "__same__"  # stands for `is` in tests
_REPLACED = ("stdin", "input")  # what a test puts in place of them, no program sees


class Uncrossable(ValueError):  # noqa: N818
    """What a test would have the program see cannot cross."""


class _Uses:
    """What one walk over all of a problem's sources finds."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self.bound: set[str] = set()  # by imports, functions, classes, assignments
        self.loaded: set[str] = set()
        self.called: set[str] = set()
        self.bases: set[str] = set()  # `name` of ``name.attribute``
        self.subjects: set[str] = set()  # builtin names that an assert is about: a task named ``sum``
        self.listens = False  # to what the program prints
        self.replaces = ""
        for tree in trees:
            for node in ast.walk(tree):
                visit = _VISITS.get(type(node))
                if visit:
                    visit(self, node)

    def name(self, node: Any) -> None:
        (self.loaded if isinstance(node.ctx, ast.Load) else self.bound).add(node.id)

    def alias(self, node: Any) -> None:
        self.listens |= node.name in ("redirect_stdout", "stdout")
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
        self.listens |= node.attr in ("redirect_stdout", "stdout")
        base = getattr(node.value, "id", "")
        if (
            node.attr in _REPLACED
            and base in ("sys", "builtins", "__builtins__")
            and not isinstance(node.ctx, ast.Load)
        ):
            self.replaces = f"a {node.attr} of its own"

    def call(self, node: Any) -> None:
        if isinstance(node.func, ast.Name):
            self.called.add(node.func.id)
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in ("patch", "object", "setattr"):
            named = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            self.replaces = next(
                (f"a {n} of its own" for n in named if n.rpartition(".")[2] in _REPLACED), self.replaces
            )

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


class _Identity(ast.NodeTransformer):
    """Puts a question to the judge in place of ``is``, but where a constant or a builtin type is meant: a value that came over
    is a copy, so that Python's own answer would say nothing about the program."""

    def __init__(self) -> None:
        self.asks = False

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        sides = (node.left, *node.comparators)
        if len(sides) > 2 or not isinstance(node.ops[0], (ast.Is, ast.IsNot)) or any(map(_is_constant, sides)):
            return node
        self.asks = True
        asked: ast.expr = ast.Call(ast.Name(SAME, ast.Load()), list(sides), [])
        if isinstance(node.ops[0], ast.IsNot):
            asked = ast.UnaryOp(ast.Not(), asked)
        return ast.fix_missing_locations(ast.copy_location(asked, node))


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in _BUILTINS)


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
    asks: bool
    """Whether a test asks whether two values are one object."""
    listens: bool
    """Whether a test reads what the program prints."""


@functools.lru_cache(maxsize=1024)  # a problem's samples share its tests
def split(setup: str, tests: tuple[str, ...]) -> Split:
    """Raises SyntaxError, ValueError for what is no source text at all, or `Uncrossable`."""
    trees = [ast.parse(source) for source in (setup, *tests)]
    uses = _Uses(trees)
    if uses.replaces:
        raise Uncrossable(f"they give the program {uses.replaces}")
    free = uses.loaded - uses.bound
    # A standard module is one that is only ever used as ``name.attribute``.
    modules = {name for name in uses.bases - uses.called if name in sys.stdlib_module_names} & free
    names = free - modules - _BUILTINS or uses.subjects
    labels = ("<setup>", *(f"<test {number}>" for number in range(1, len(trees))))
    identity = _Identity()
    trees = [identity.visit(tree) for tree in trees]
    codes = [compile(tree, label, "exec", dont_inherit=True) for tree, label in zip(trees, labels, strict=True)]
    body: list[ast.stmt] = [node for node in trees[0].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imports = ast.unparse(ast.Module(body=body, type_ignores=[]))
    asked = (identity.asks, uses.listens)
    return Split(tuple(sorted(names)), tuple(sorted(modules)), imports, codes[0], tuple(codes[1:]), *asked)
