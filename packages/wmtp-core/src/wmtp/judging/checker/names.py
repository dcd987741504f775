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
import symtable
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

_BUILTINS = frozenset(vars(builtins))
SAME = "__same__"  # stands for `is` in tests
SET = "__set__"  # for calls that the program's side is to make too
KIND = "__kind__"  # for ``type(x)`` and ``x.__class__``
_BOTH = {("random", "seed"), ("sys", "setrecursionlimit")}
_LISTENED = ("redirect_stdout", "redirect_stderr", "stdout", "stderr")
_HEARD = {"assertWarns": "warnings", "assertWarnsRegex": "warnings", "assertLogs": "log", "assertNoLogs": "log"}
_STANDARD = sys.stdlib_module_names


class Uncrossable(ValueError):  # noqa: N818
    """What a test would have the program see cannot cross."""


class _Uses:
    """What one walk over all of a problem's sources finds."""

    def __init__(self, sources: Sequence[str], trees: Sequence[ast.Module]) -> None:
        self.bound: set[str] = set()  # globals: by imports, functions, classes, assignments
        self.loaded: set[str] = set()  # and those that are read
        self.early: set[str] = set()  # of both, those that are read before anything can have bound them
        self.called: set[str] = set()
        self.bases: set[str] = set()  # `name` of ``name.attribute``
        self.subjects: set[str] = set()  # builtin names that an assert is about: a task named ``sum``
        self.listens = False  # to what the program prints
        self.lacking = ""  # what the tests need of the program and cannot have
        self.modules: set[str] = set()  # bound by imports of modules
        self.changed: list[tuple[str, str]] = []  # (name, attribute) that is set, a module's perhaps
        for source, tree in zip(sources, trees, strict=True):
            self.scopes(symtable.symtable(source, "<tests>", "exec"))
            self.visit(tree)
        if self.loaded & self.bound:  # as it rarely is
            self.in_order(statement for tree in trees for statement in tree.body)
        self.settle()

    def visit(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            visit = _VISITS.get(type(node))
            if visit:
                visit(self, node)

    def scopes(self, table: symtable.SymbolTable) -> None:
        """Notes the globals of one source, whichever function or class of it reads or binds them."""
        for symbol in table.get_symbols():
            if table.get_type() == "module" or symbol.is_global():
                if symbol.is_referenced():
                    self.loaded.add(symbol.get_name())
                if symbol.is_assigned() or symbol.is_imported():
                    self.bound.add(symbol.get_name())
        for inner in table.get_children():
            self.scopes(inner)

    def in_order(self, statements: Iterable[ast.stmt]) -> None:
        """``area = area(3)`` reads what the program has under that name. A loop or ``try`` may bind what is read behind it."""
        bound: set[str] = set()
        for statement in statements:
            nodes = list(ast.walk(statement))
            names = [node for node in nodes if isinstance(node, ast.Name)]
            if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Assert, ast.Expr)):
                self.early |= {name.id for name in names if isinstance(name.ctx, ast.Load)} - bound
                if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
                    self.early |= {statement.target.id} - bound
            bound |= {name.id for name in names if not isinstance(name.ctx, ast.Load)}
            bound |= {(node.asname or node.name).split(".")[0] for node in nodes if isinstance(node, ast.alias)}
            bound |= {
                node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            }

    def module(self, node: Any) -> None:
        self.modules.update((alias.asname or alias.name).split(".")[0] for alias in node.names)

    def alias(self, node: Any) -> None:
        self.listens |= node.name in _LISTENED

    def star_import(self, node: Any) -> None:
        if any(alias.name == "*" for alias in node.names) and node.module and not node.level:
            with contextlib.suppress(Exception):  # where it fails, it fails as part of the tests
                module = importlib.import_module(node.module)
                public = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
                self.bound.update(public)

    def attribute(self, node: Any) -> None:
        if isinstance(node.value, ast.Name):
            self.bases.add(node.value.id)
        self.listens |= node.attr in _LISTENED
        if isinstance(node.value, ast.Name) and not isinstance(node.ctx, ast.Load):
            self.changed.append((node.value.id, node.attr))

    def item(self, node: Any) -> None:
        of = node.value
        if not isinstance(node.ctx, ast.Load) and isinstance(of, ast.Attribute) and isinstance(of.value, ast.Name):
            self.changed.append((of.value.id, of.attr))  # os.environ["HOME"] = …
        if getattr(getattr(of, "func", None), "id", "") in ("globals", "locals") and _is_text(node.slice):
            self.loaded.add(node.slice.value)

    def call(self, node: Any) -> None:
        if isinstance(node.func, ast.Name):
            self.called.add(node.func.id)
            if node.func.id in ("eval", "exec") and node.args and _is_text(node.args[0]):
                with contextlib.suppress(SyntaxError, ValueError, RecursionError):  # which is then the test's
                    self.visit(ast.parse(node.args[0].value))
                    self.scopes(symtable.symtable(node.args[0].value, "<tests>", "exec"))
        how = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if how in ("patch", "object", "setattr", "dict") and node.args:
            self.patched(how, node.args)
        records = how == "catch_warnings" and any(keyword.arg == "record" for keyword in node.keywords)
        if heard := "warnings" if records else _HEARD.get(how):
            self.lacking = f"the program's {heard}"

    def patched(self, how: str, args: list[Any]) -> None:
        """``patch("module.name")``, ``patch.object(module, "name")`` and their kin."""
        if _is_text(args[0]):
            module, _, name = args[0].value.rpartition(".")
            if module.partition(".")[0] in _STANDARD:
                self.changed.append(("sys" if module == "builtins" else module, name))
                self.modules.add(module)
        elif how in ("object", "setattr") and isinstance(args[0], ast.Name) and len(args) > 1 and _is_text(args[1]):
            self.changed.append((args[0].id, args[1].value))

    def settle(self) -> None:
        """Once everything is known: what the tests put in place of something of a module's, which no program sees."""
        for name, attribute in self.changed:
            known = name.partition(".")[0] in _STANDARD and (name in self.modules or name not in self.bound)
            if known or name in self.modules or name == "__builtins__":
                if attribute in _LISTENED:
                    self.listens = True
                else:
                    self.lacking = f"they give the program {attribute} of its own"

    def assertion(self, node: Any) -> None:
        left = node.test
        while isinstance(left, (ast.Compare, ast.UnaryOp)):
            left = left.left if isinstance(left, ast.Compare) else left.operand
        if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id in _BUILTINS:
            self.subjects.add(left.func.id)


_VISITS = {
    ast.alias: _Uses.alias, ast.ImportFrom: _Uses.star_import, ast.Attribute: _Uses.attribute, ast.Call: _Uses.call,
    ast.Assert: _Uses.assertion, ast.Import: _Uses.module, ast.Subscript: _Uses.item,
}  # fmt: skip


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


class _Asked(ast.NodeTransformer):
    """Puts a question to the judge in place of ``is``, but where a constant or a builtin type is meant: a value that came over
    is a copy, so that Python's own answer would say nothing about the program. And a call of the judge's in place of what a
    test sets for the program too, and of ``type(x)``, unless the tests have a `type` of their own (`own_type`)."""

    def __init__(self, *, own_type: bool) -> None:
        self.asks = False
        self._own_type = own_type

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

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func
        if isinstance(called, ast.Attribute) and (getattr(called.value, "id", ""), called.attr) in _BOTH:
            node.func = ast.Name(SET, ast.Load())
            node.args.insert(0, ast.Constant(called.attr))
        of_one = len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred)
        if of_one and getattr(called, "id", "") == "type" and not self._own_type:
            node.func = ast.copy_location(ast.Name(KIND, ast.Load()), called)
        return ast.fix_missing_locations(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr != "__class__" or not isinstance(node.ctx, ast.Load):
            return node
        asked = ast.Call(ast.Name(KIND, ast.Load()), [node.value], [])
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
    uses = _Uses((setup, *tests), trees)
    if uses.lacking:
        raise Uncrossable(uses.lacking)
    free = uses.loaded - uses.bound | uses.early & uses.bound
    # A standard module is one that is only ever used as ``name.attribute``.
    modules = {name for name in uses.bases - uses.called if name in _STANDARD} & free
    names = free - modules - _BUILTINS or uses.subjects
    labels = ("<setup>", *(f"<test {number}>" for number in range(1, len(trees))))
    identity = _Asked(own_type="type" in uses.bound)
    trees = [identity.visit(tree) for tree in trees]
    codes = [compile(tree, label, "exec", dont_inherit=True) for tree, label in zip(trees, labels, strict=True)]
    body: list[ast.stmt] = [node for node in trees[0].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imports = ast.unparse(ast.Module(body=body, type_ignores=[]))
    asked = (identity.asks, uses.listens)
    return Split(tuple(sorted(names)), tuple(sorted(modules)), imports, codes[0], tuple(codes[1:]), *asked)
