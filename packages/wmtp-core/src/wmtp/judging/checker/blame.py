"""Whose fault an exception is that a test raised: the program's, or the test's own.

A test's own fault is what no program could have helped: a package that is not here, a file that is not there, a sum of its own
that divides by zero. Where a value of the program's may have taken part, the exception counts against the program, as it
would in a plain interpreter.
"""

from __future__ import annotations

import ast
import builtins
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wmtp.judging.checker.exceptions import OwnException
from wmtp.judging.checker.handles import RemoteFunction

_BUILTINS = frozenset(vars(builtins))
Position = tuple["int | None", ...]


def is_tests_own(
    error: BaseException,
    source: str,
    label: str,
    of_program: Sequence[str],
    space: Mapping[str, Any],
    *,
    asked: bool,
) -> bool:
    """Whether a test raised this by itself.

    Args:
        error: What it raised.
        source: The test, which was compiled under the name `label`.
        of_program: Names that the test expects of the program.
        space: The test's globals.
        asked: Whether the program has been asked for anything before: else nothing of it can have taken part.
    """
    if isinstance(error, (MemoryError, RecursionError, AssertionError)):
        return False
    frame, position = _place(error, label)
    node = _node(source, position)
    if not asked:
        return not (node and frame and _holds_of_program(node, frame))
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(error, ZeroDivisionError) and isinstance(node, ast.BinOp):
        node = node.right  # whatever is divided
    tree = ast.parse(source)
    # What a test has handed over, or filled with answers, may hold anything by now.
    own = {
        n for n in _own_names(tree, of_program) if type(space.get(n)) in _CONSTANT or _is_only_read(tree, n, of_program)
    }
    return node is not None and _is_own(node, own, space)


_CONSTANT = (int, float, complex, str, bytes, bool, type(None), range)


def _is_only_read(tree: ast.Module, name: str, of_program: Sequence[str]) -> bool:
    """Whether a test compares and computes with a value of its own, or with items of it, and does nothing else with it."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for used in [n for n in parents if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)]:
        node: ast.AST = used
        parent = parents[used]
        while isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Load) and parent.value is node:
            node, parent = parent, parents[parent]
        asks = isinstance(parent, ast.Call) and getattr(parent.func, "id", "") in {"len", "sum"} - set(of_program)
        if not asks and not isinstance(parent, (ast.Compare, ast.BinOp)):
            return False
    return True


def defined_by(reference: str, names: Sequence[str]) -> Sequence[str]:
    """Those of `names` that a program has to define, going by one that is right; all of them where it does not say."""
    try:
        nodes = list(ast.walk(ast.parse(reference)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return names
    bound = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {(n.asname or n.name).split(".")[0] for node in nodes if isinstance(node, _IMPORTS) for n in node.names}
    hidden = {"*", "exec", "globals", "setattr"} & (bound | {node.id for node in nodes if isinstance(node, ast.Name)})
    return names if hidden or not bound else [name for name in names if name in bound]


def builtin_in_place(source: str, lacking: Collection[str]) -> bool:
    """Whether a test has called a builtin of Python's where it meant a function, named like it, that the program lacks."""
    return bool(_names(ast.parse(source)) & set(lacking) & _BUILTINS)


_IMPORTS = (ast.Import, ast.ImportFrom)


def _holds_of_program(node: ast.AST, frame: types.FrameType) -> bool:
    """Whether a name in it stands for something that the program has chosen the kind of without being asked: a function where a
    number was wanted, or a class of exceptions, which a test calls on this side."""
    known = {**frame.f_globals, **frame.f_locals}
    return any(_is_of_program(known.get(name), 3) for name in _names(node))


def _is_of_program(value: Any, depth: int) -> bool:
    if isinstance(value, (RemoteFunction, OwnException)) or (
        isinstance(value, type) and issubclass(value, OwnException)
    ):
        return True
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return depth > 0 and isinstance(value, _CONTAINERS) and any(_is_of_program(item, depth - 1) for item in items)


_CONTAINERS = (list, tuple, set, dict)


def _place(error: BaseException, label: str) -> tuple[types.FrameType | None, Position]:
    """The innermost of the test's frames, and where it was: (line, end line, column, end column)."""
    frame: types.FrameType | None = None
    found: Position = ()
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == label:
            frame, found = trace.tb_frame, list(code.co_positions())[trace.tb_lasti // 2]
        trace = trace.tb_next
    return frame, found


def _node(source: str, position: Position) -> ast.AST | None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.expr, ast.stmt)) and position == (
            node.lineno,
            node.end_lineno,
            node.col_offset,
            node.end_col_offset,
        ):
            return node
    return None


def _own_names(tree: ast.Module, of_program: Sequence[str]) -> set[str]:
    """Names that the test itself has given a value that is its own: assigned at its top level, and nowhere else."""
    bound = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]
    own: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and _names(statement.value) <= own | _BUILTINS - set(of_program):
            own |= {
                target.id
                for target in statement.targets
                if isinstance(target, ast.Name) and bound.count(target.id) == 1
            }
    return own


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _is_own(node: ast.AST, own: set[str], space: Mapping[str, Any]) -> bool:
    for name in _names(node):
        value = space.get(name)
        if name not in own and not isinstance(value, types.ModuleType) and (name in space or name not in _BUILTINS):
            return False
    return True
