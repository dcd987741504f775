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
from wmtp.kit.preludes import behind, given_by
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
            parts.append(_Part(block, code, tree))
    return parts


def of_blocks(fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    if not fenced:
        return None
    if wanted.continues:
        bodies = [b for b in fenced if INDENTED.match(b.text) and (b.python or not b.language)]
        whole = [p for p in parts_of(fenced) if python.defines(p.tree, wanted.names)]
        if not whole:
            return _body(bodies, fenced, wanted)
        return _joined(whole[-1], parts_of(fenced) if len(fenced) > 1 else whole, wanted)
    parts = parts_of(fenced)
    if wanted.names:
        defining = [p for p in parts if python.defines(p.tree, wanted.names)]
        if defining:
            return _joined(defining[-1], parts, wanted)
        return None
    return _joined(max(reversed(parts), key=_likeness_to_a_program), parts, wanted) if parts else None


def _likeness_to_a_program(part: _Part) -> tuple[bool, bool, bool]:
    """Of blocks that are whole programs, those that read and write come first, then those that say Python; then the last.

    `max` takes the first of equals, so blocks are handed over from last to first.
    """
    reads = any(word in part.code for word in ("input(", "stdin", "open(0"))
    writes = "print" in part.code or "stdout" in part.code
    return reads, writes, part.block.python


def _joined(chosen: _Part, parts: Sequence[_Part], wanted: Wanted) -> Extraction:
    """The block, behind what it needs of the others: imports, helpers, constants."""
    front = ""
    others = [p.tree for p in parts if p is not chosen]
    if others:
        needed = python.missing_names(chosen.tree) - given_by(wanted.prompt)
        nodes = python.definitions_of(needed, others) if needed else []
        front = "".join(f"{ast.unparse(node)}\n" for node in nodes)
    if not front:
        return Extraction(code=behind(wanted.prompt, wanted.names, chosen.code, chosen.tree), rule="block")
    return Extraction(code=behind(wanted.prompt, wanted.names, front + "\n" + chosen.code, chosen.tree), rule="block")


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
