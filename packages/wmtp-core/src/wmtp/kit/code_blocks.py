"""Which fenced blocks of an answer are its program."""

from __future__ import annotations

import ast
import html
import re
import textwrap
from collections.abc import Sequence

import attrs

from wmtp.kit import python
from wmtp.kit.fences import Block, blocks
from wmtp.kit.loose_code import INDENTED, START_ATTEMPTS, among_words, prefix
from wmtp.kit.preludes import behind, given_by, in_front
from wmtp.kit.wanted import Extraction, Wanted
from wmtp.kit.wrappers import laid_out, unmarked, unwrapped


@attrs.frozen(eq=False)
class _Part:
    """A block that is Python, with its tree."""

    block: Block
    code: str
    tree: ast.Module


def parts_of(fenced: Sequence[Block]) -> list[_Part]:
    parts = []
    for block in fenced:
        if (
            block.language
            and not block.python
            and "python" not in block.language
            and block.language not in ("code", "tool_code", "diff", "patch")
        ):
            nested = blocks(block.text) if block.language in ("markdown", "md", "text", "txt") else ()
            parts += parts_of(nested)
            continue
        code = block.text
        if not code.strip():
            continue
        if block.language in ("diff", "patch"):
            code = unmarked(code, block.language)
        code = laid_out(code)
        tree = python.parse(code)
        if tree is None and (dedented := textwrap.dedent(code)) != code:
            code, tree = dedented, python.parse(dedented)
        if tree is None and (plain := unmarked(code, "")) != code:
            code, tree = plain, python.parse(plain)
        if tree is None and "&" in code and (unescaped := html.unescape(code)) != code:
            code, tree = unescaped, python.parse(unescaped)
        if tree is None and code.lstrip().startswith(">>>"):
            code = next(iter(unwrapped(code)), code)
            tree = python.parse(code)
        if tree is None and "```" in code:
            parts += parts_of(blocks(code))
        elif tree is not None and python.is_program(tree):
            parts.append(_Part(block, *python.without_words(code, tree)))
    return parts


def of_blocks(fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    if not fenced:
        return None
    if wanted.continues:
        bodies = [b for b in fenced if INDENTED.match(b.text) and (b.python or not b.language)]
        parts = parts_of(fenced)
        whole = _best(parts, wanted)
        if whole is None or not python.definitions(whole.tree, wanted.names)[0]:
            found = _body(bodies, fenced, wanted)
            return found or (_joined(whole, parts, wanted) if whole else None)
        return _joined(whole, parts, wanted)
    parts = parts_of(fenced)
    if wanted.names:
        best = _best(parts, wanted)
        return _joined(best, parts, wanted) if best else None
    return _reading(parts, wanted) if parts else None


def _best(parts: Sequence[_Part], wanted: Wanted) -> _Part | None:
    """The part that defines most of what the tests call; of several, the last."""
    defined = {part: python.definitions(part.tree, wanted.names) for part in parts}
    defining = [part for part in reversed(parts) if defined[part] != (0, 0)]
    return max(defining, key=defined.__getitem__, default=None)


def _reading(parts: Sequence[_Part], wanted: Wanted) -> Extraction:
    """A program that reads and writes: one part, or several where they go on from one another."""
    chosen = max(reversed(parts), key=_likeness_to_a_program)
    _, reads, writes, _ = _likeness_to_a_program(chosen)
    behind_it = parts[parts.index(chosen) + 1 :]
    if reads and writes:
        defined = python.defined_in(chosen.tree)
        begins = [p for p in behind_it if _calls_alone(p.tree, defined)]
        together = [chosen, *begins[:1]] if not any(map(_acts, chosen.tree.body)) else [chosen]
    else:  # input, work and output in a block each
        together = [p for p in parts if _likeness_to_a_program(p)[0]]
    code = "\n".join(part.code for part in together)
    tree = python.parse(code)
    whole = _Part(chosen.block, code, tree) if tree is not None else chosen
    if len(together) < 2 or not all(_likeness_to_a_program(whole)[1:3]):
        return _joined(chosen, parts, wanted)
    return Extraction(code=behind(wanted.prompt, wanted.names, code, whole.tree), rule="block")


def _acts(node: ast.stmt) -> bool:
    """Whether a statement of a module does more than define."""
    return not isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Assign
    )


def _calls_alone(tree: ast.Module, names: frozenset[str]) -> bool:
    """Whether a module does nothing but to call one of `names`."""
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return len(calls) == len(tree.body) == 1 and isinstance(calls[0].func, ast.Name) and calls[0].func.id in names


def _likeness_to_a_program(part: _Part) -> tuple[bool, bool, bool, bool]:
    """Of blocks that are whole programs, those that read and write come first, then those that say Python; then the last. What
    gives another program its input is a test of that.

    `max` takes the first of equals, so blocks are handed over from last to first.
    """
    reads = any(word in part.code for word in ("input(", "stdin", "open(0"))
    writes = "print" in part.code or "stdout" in part.code
    tests = any(word in part.code for word in ("StringIO(", "subprocess", "sys.stdin ="))
    return not tests, reads, writes, part.block.python


def _joined(chosen: _Part, parts: Sequence[_Part], wanted: Wanted) -> Extraction:
    """The block, behind what it needs of the others: imports, helpers, constants."""
    front = ""
    others = [p.tree for p in parts if p is not chosen]
    if others:
        needed = python.missing_names(chosen.tree) - given_by(wanted.prompt)
        needed |= {name for name in wanted.names if not python.defines(chosen.tree, {name})}
        nodes = python.definitions_of(needed, others) if needed else []
        nodes = [node for tree in others for node in tree.body if python.is_of_the_future(node)] + nodes
        front = "".join(f"{ast.unparse(node)}\n" for node in nodes)
    if not front:
        return Extraction(code=behind(wanted.prompt, wanted.names, chosen.code, chosen.tree), rule="block")
    code = in_front(front + "\n", chosen.code, chosen.tree)
    return Extraction(code=behind(wanted.prompt, wanted.names, code, python.parse(code) or chosen.tree), rule="block")


def _body(bodies: Sequence[Block], fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    """A block that is the rest of the prompt's function; indented, where the model left the indentation out."""
    for block in reversed(bodies):
        if python.parse(wanted.prompt + block.text) is not None:
            return Extraction(code=wanted.prompt + block.text, rule="block body")
    for block in reversed(fenced):
        if (block.python or not block.language) and re.search(
            r"^(?:return|yield)\b|^[ \t]+(?:return|yield)\b", block.text, re.M
        ):
            code = wanted.prompt + textwrap.indent(textwrap.dedent(block.text), "    ")
            if python.parse(code) is not None:
                return Extraction(code=code, rule="block body")
    return None


def cut_blocks(fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    """Blocks that do not parse, because the answer was cut off in one or has words in it: as far as they parse."""
    for block in list(reversed(fenced))[:START_ATTEMPTS]:
        if block.language and not block.python:
            continue
        found = among_words(block.text, wanted) or prefix(block.text, wanted)
        if found:
            return found
    return None
