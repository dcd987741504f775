"""Python source looked at, never run: does it parse, what does it define, how much of it is a program."""

from __future__ import annotations

import ast
import builtins
import gc
import io
import keyword
import re
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


def defines(tree: ast.Module, names: Collection[str]) -> bool:
    """Whether a module binds one of `names`: by ``def``, ``class``, an assignment or an import."""
    return any(name in names for node in statements(tree.body) for name in names_bound(node))


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


def definitions_of(names: set[str], trees: Sequence[ast.Module]) -> list[ast.stmt]:
    """Statements of `trees` that bind these names, and those that these need in turn, in the order in which they stand."""
    by_name: dict[str, ast.stmt] = {}
    order: dict[ast.stmt, int] = {}
    for tree in trees:
        for node in tree.body:
            order[node] = len(order)
            by_name.update(dict.fromkeys(names_bound(node), node))
    chosen: set[ast.stmt] = set()
    waiting = list(names)
    while waiting:
        found = by_name.get(waiting.pop())
        if found is not None and found not in chosen:
            chosen.add(found)
            waiting += missing_names(ast.Module(body=[found], type_ignores=[]))
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
