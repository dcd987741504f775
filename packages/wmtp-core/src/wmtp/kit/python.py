"""Python source looked at, never run: does it parse, what does it define, how much of it is a program."""

from __future__ import annotations

import ast
import builtins
import gc
import io
import keyword
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

PREFIX_ATTEMPTS = 24
_TWO_WORDS = re.compile(r"(?:[ \t]*\r?\n)*(?:[`<>?!$]|([A-Za-z_]\w*) +([A-Za-z_]\w*))")
_BEFORE_A_WORD = frozenset([*keyword.kwlist, *keyword.softkwlist])
_BEHIND_A_WORD = frozenset({"in", "is", "and", "or", "not", "if", "for", "else", "as", "async"})
_BLOCKS = (ast.If, ast.Try, ast.With, ast.For, ast.While)
_ANSWER = "<answer>"
_filter: Any = None
_ACTS = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)


@lru_cache(maxsize=8)  # rules come back to the same text; trees are read and never changed
def attempt(source: str) -> tuple[ast.Module | None, int | None]:
    """The syntax tree; or ``None`` and the line at fault, where that is known.

    A model may write anything: null characters, or nesting without end.
    """
    if (fault := _no_statement(source)) is not None:
        return None, fault
    _without_warnings()
    try:
        return ast.parse(source, _ANSWER), None
    except SyntaxError as error:
        return None, error.lineno
    except (ValueError, RecursionError, MemoryError):
        return None, None


def _without_warnings() -> None:
    """Leaves out what Python warns of in an answer: invalid escapes are the model's affair, and under ``-W error`` no error.

    By a filter for the name that answers have, put in front where another has come before it. To put one in for each answer
    and take it out again costs a tenth of parsing it.
    """
    global _filter
    if not warnings.filters or warnings.filters[0] is not _filter:
        warnings.filterwarnings("ignore", module=re.escape(_ANSWER))
        _filter = warnings.filters[0]


@contextmanager
def trees_alone() -> Iterator[None]:
    """Drops the trees of the answer before, and makes new ones without the collector: syntax trees are many thousands of
    objects and no cycles, so it would go over them again and again and free nothing. That costs a quarter of parsing."""
    attempt.cache_clear()
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _no_statement(source: str) -> int | None:
    """The line of a first statement that is none: two words beside each other, a mark or a fence. Python finds that as well,
    and reads the whole rest before it says so."""
    match = _TWO_WORDS.match(source)
    if match is None or match[1] in _BEFORE_A_WORD or match[2] in _BEHIND_A_WORD:
        return None
    return source.count("\n", 0, match.end()) + 1


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or ``None`` where the source is no Python."""
    return attempt(source)[0]


def lines_of(source: str) -> list[str]:
    """Lines as Python counts them, with their ends: a form feed ends none, a carriage return alone does."""
    return io.StringIO(source, newline="").readlines()


def longest_prefix(source: str, fits: Callable[[ast.Module], bool]) -> str | None:
    """Whole lines from the start, as many as parse and make a tree that `fits`; ``None`` if there are none.

    No prefix that holds more than the line of a fault can parse, so few attempts are made; there is a limit to their number
    all the same, since the text may have been made to need many.
    """
    lines = lines_of(source)
    end = len(lines)
    for _ in range(PREFIX_ATTEMPTS):
        prefix = "".join(lines[:end])
        if not prefix.strip():
            return None
        tree, fault = attempt(prefix)
        if tree is not None:
            return prefix if fits(tree) else None
        end = min(end - 1, (fault or end) - 1)
    return None


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, those inside ``if``, ``try``, ``with`` and loops included."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _BLOCKS):
            waiting += [*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
            for handler in getattr(node, "handlers", ()):
                waiting += handler.body


def names_bound(node: ast.stmt) -> Iterator[str]:
    """Names that one statement binds in its module."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield from (n.id for n in ast.walk(node.target) if isinstance(n, ast.Name))
    elif isinstance(node, ast.With | ast.AsyncWith):
        given = (item.optional_vars for item in node.items if item.optional_vars)
        yield from (n.id for target in given for n in ast.walk(target) if isinstance(n, ast.Name))


def defines(tree: ast.Module, names: Collection[str]) -> bool:
    """Whether a module binds one of `names`: by ``def``, ``class``, an assignment or an import."""
    return any(name in names for node in statements(tree.body) for name in names_bound(node))


def definitions(tree: ast.Module, names: Collection[str]) -> tuple[int, int]:
    """How many of `names` a module defines with something to run, and how many in any way.

    An import from a module that is not there, a function without a body and a name bound to what itself gives (``f = f(3)``)
    stand beside a program, in tests of it or as its outline.
    """
    real: set[str] = set()
    bound: set[str] = set()
    for node in statements(tree.body):
        found = {name for name in names_bound(node) if name in names}
        bound |= found
        real |= set() if found and _is_outline(node, found) else found
    return len(real), len(bound)


def _is_outline(node: ast.stmt, names: set[str]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        return (module or "").partition(".")[0] not in sys.stdlib_module_names
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return all(map(_does_nothing, node.body))
    value = getattr(node, "value", None)
    return value is None or any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(value))


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def without_words(source: str, tree: ast.Module) -> tuple[str, ast.Module]:
    """The source, and its tree, without first and last lines that parse and are words: a name that nothing binds, alone, in
    brackets, or before a colon (``Done``, ``[END]``, ``Complexity: O(n)``). As a program each would be a NameError.
    """
    body = tree.body
    if not any(isinstance(node, ast.Expr | ast.AnnAssign) and _may_be_words(node) for node in (body[:1] + body[-1:])):
        return source, tree
    unbound = missing_names(tree)
    first, last = 0, len(body)
    while first < last and _is_words(body[first], unbound):
        first += 1
    while last > first and _is_words(body[last - 1], unbound):
        last -= 1
    if first == last or (first, last) == (0, len(body)):
        return source, tree
    lines = lines_of(source)
    begin = body[first - 1].end_lineno or 0 if first else 0
    end = body[last].lineno - 1 if last < len(body) else len(lines)
    kept = "".join(lines[begin:end])
    found = parse(kept)
    return (kept, found) if found is not None else (source, tree)


def has_words(tree: ast.Module) -> bool:
    """Whether a statement of a module is words that happen to parse, as `without_words` has them."""
    if not any(isinstance(node, ast.Expr | ast.AnnAssign) and _may_be_words(node) for node in tree.body):
        return False
    unbound = missing_names(tree)
    return any(_is_words(node, unbound) for node in tree.body)


def _may_be_words(node: ast.Expr | ast.AnnAssign) -> bool:
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    return isinstance(
        node.value, ast.Name | ast.Attribute | ast.List | ast.Tuple | ast.BinOp | ast.Compare | ast.BoolOp
    )


def _is_words(node: ast.stmt, unbound: set[str]) -> bool:
    if not isinstance(node, ast.Expr | ast.AnnAssign) or not _may_be_words(node):
        return False
    if isinstance(node, ast.Expr) and any(isinstance(part, _ACTS) for part in ast.walk(node)):
        return False
    said = node.annotation if isinstance(node, ast.AnnAssign) else node.value
    if isinstance(said, ast.Attribute) and said.attr == "py":  # the name of a file
        return True
    return any(isinstance(part, ast.Name) and part.id in unbound for part in ast.walk(said))


def is_program(tree: ast.Module) -> bool:
    """Whether a module does anything. A word, a number, a dotted name or an object of JSON parses as well, and does nothing."""
    return any(
        not isinstance(node, ast.Expr) or any(isinstance(part, _ACTS) for part in ast.walk(node)) for node in tree.body
    )


def missing_names(tree: ast.Module) -> set[str]:
    """Names that a module reads and nowhere binds, Python's own aside."""
    read: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.stmt):
            bound.update(names_bound(node))
    return {name for name in read - bound if not hasattr(builtins, name)}


def is_of_the_future(node: ast.stmt) -> bool:
    """Whether a statement changes how a module is compiled, and must stand first."""
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def definitions_of(names: set[str], trees: Sequence[ast.Module]) -> list[ast.stmt]:
    """Statements of `trees` that bind these names, and those that these need in turn, in the order in which they stand."""
    by_name: dict[str, list[ast.stmt]] = {}
    order: dict[ast.stmt, int] = {}
    for tree in trees:
        for node in tree.body:
            order[node] = len(order)
            for name in {name for inner in statements([node]) for name in names_bound(inner)}:
                by_name.setdefault(name, []).append(node)
    chosen: set[ast.stmt] = set()
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = by_name.get(name) or by_name.get("*", [])  # what a name lacks, `from math import *` may give
        if found and isinstance(found[-1], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found = found[-1:]  # an earlier one is another attempt, a table is filled by several statements
        for node in found:
            if node not in chosen:
                chosen.add(node)
                waiting += missing_names(ast.Module(body=[node], type_ignores=[]))
    return sorted(chosen, key=order.__getitem__)


def called_names(tests: Iterable[str]) -> frozenset[str]:
    """Names that tests call, Python's own aside: what a program has to define. Tests that do not parse name nothing."""
    return _called_names(tuple(tests))


@lru_cache(maxsize=1024)  # every sample of a problem asks again
def _called_names(tests: tuple[str, ...]) -> frozenset[str]:
    trees = [tree for test in tests if (tree := parse(test)) is not None]
    bound = {name for tree in trees for node in statements(tree.body) for name in names_bound(node)}
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = {func.id for func in calls if isinstance(func, ast.Name) and not hasattr(builtins, func.id)}
    return frozenset(found - bound)


def defined_in(tree: ast.Module) -> frozenset[str]:
    """Functions and classes that a module defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


@lru_cache(maxsize=1024)
def defined_names(source: str) -> frozenset[str]:
    """Functions and classes that a source defines, of a reference solution say; none where it does not parse."""
    tree = parse(source)
    return defined_in(tree) if tree else frozenset()
