"""The program in an answer: one rule for all benchmarks, which says what it did.

What was thought is cut off. Then candidates are made, from the surest to the boldest (the text as it stands, behind the
prompt, fenced blocks, what wrappers hold, code among words, the longest prefix that parses), and the first that defines what
the tests call is the program. Nothing is ever run. Time grows with the length of the answer and no faster.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import attrs

from wmtp.kit import python
from wmtp.kit.fences import Block, blocks, first_fence
from wmtp.kit.preludes import behind, given_by, prelude
from wmtp.kit.thinking import split_thinking
from wmtp.kit.wrappers import plain_spaces, unwrapped, without_tokens

Choice = Literal["ours", "first-block", "last-block"]
START_ATTEMPTS = 8  # of code among words: so many first lines are tried
WRAPPED_ATTEMPTS = 8

_CODE_LINE = re.compile(
    r"^[ \t]*(?:import\s+\w|from\s+[\w.]+\s+import\b|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:]|@\w"
    r"|[A-Za-z_][\w.\[\], ]*\s*[-+*/|&^%]?=[^=]|(?:for|while|if|with|try)\b.*:\s*(?:#.*)?$"
    r"|print\s*\(|return\b|[A-Za-z_][\w.]*\()",
    re.M,
)
_INDENTED = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]+\S")
_REFUSAL = re.compile(
    r"\A\W*(?:I['’]?m (?:very )?sorry|sorry|I (?:cannot|can['’]t|am unable|am not able|won['’]t)|as an AI|unfortunately, I"
    r"|죄송|도와드릴 수 없|抱歉|对不起|很抱歉|我无法|申し訳)",
    re.I,
)


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@attrs.frozen(kw_only=True)
class Wanted:
    """What the tests need of a program.

    Attributes:
        names: names that the tests call, one of which the program has to define; empty for a program that reads standard
            input.
        prompt: source that stands in front of every program: what the answer goes on from, with its imports and helpers.
        continues: whether an answer may be the rest of the prompt's last function (HumanEval).
        begin: a mark that the prompt puts in front of a program, and an answer may repeat.
        end: a mark that the prompt puts behind a program; what follows it belongs to no answer.
    """

    names: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    prompt: str = ""
    continues: bool = False
    begin: str = ""
    end: str = ""


@attrs.frozen(kw_only=True)
class Extraction:
    """The program in an answer, and how it was found.

    Attributes:
        code: the program; ``None`` if the answer holds none.
        rule: which rule found it, one of `RULES`.
        thinking: ``""``, ``"closed"`` or ``"unclosed"``, see `wmtp.kit.thinking`.
    """

    code: str | None
    rule: str
    thinking: str = ""


RULES = {
    "stored program": "a program that another tool had taken out already, judged as it stands",
    "whole": "the answer as it stands",
    "continuation": "the prompt, continued by the answer",
    "block": "the fenced block that defines what the tests call; of several, the last",
    "block body": "a fenced block that continues the prompt",
    "before the fence": "what stands before a fence that closes only",
    "wrapper": "what stands in a tag, a tool call or behind an interpreter's prompts",
    "among words": "code between words, without a fence",
    "longest prefix": "as many lines as parse, of an answer that was cut off or goes on in words",
    "as it stands": "code that does not parse",
    "no program": "words alone",
    "refused": "words alone that decline",
    "empty": "nothing, or white space",
    "prompt too long": "nothing: the prompt did not fit the model's context",
    "unclosed thinking": "thinking that never ended",
    "first block": "(audit) the first fenced block, or all of it",
    "last block": "(audit) the last fenced block, or all of it",
}


def extract(
    text: str, wanted: Wanted, *, choose: Choice = "ours", thinking_opened: bool = False, reasoning: str = ""
) -> Extraction:
    """The program in an answer.

    Args:
        text: what the model wrote, behind its prompt.
        wanted: what the tests need.
        choose: ``"ours"``; or one of the two plain rules that the extraction audit compares it with.
        thinking_opened: whether the prompt had opened thinking already.
        reasoning: what was thought, where a server has taken it out of the answer.

    Returns:
        The program, which rule found it, and what became of thinking.
    """
    if reasoning:
        if not text.strip():  # all of it was thought
            return Extraction(code=None, rule="unclosed thinking", thinking="unclosed")
        apart = extract(text, wanted, choose=choose)
        return attrs.evolve(apart, thinking=apart.thinking or "closed")
    text = _trimmed(text, wanted)
    if not text.strip():
        return Extraction(code=None, rule="empty")
    if not thinking_opened and choose == "ours" and (found := _as_it_stands(text, wanted)):
        return found
    thought = split_thinking(text, opened=thinking_opened)
    if thought.answer is None:
        return Extraction(code=None, rule="unclosed thinking", thinking=thought.thinking)
    answer = without_tokens(thought.answer)
    if thought.thinking:
        answer = answer.lstrip("\r\n") if answer[:1] in "\r\n" else answer
    if choose != "ours":
        found = _plainly(answer, wanted, choose)
    else:
        found = _found(answer, wanted, unchanged=answer == text and not thinking_opened)
    return attrs.evolve(found, thinking=thought.thinking)


def _trimmed(text: str, wanted: Wanted) -> str:
    """Without a byte order mark, and between the marks of the prompt's form."""
    if wanted.end and wanted.end in text:
        text = text[: text.index(wanted.end)]
    text = text.removeprefix("\ufeff")
    if wanted.begin and text.lstrip().startswith(wanted.begin):
        text = text.lstrip().removeprefix(wanted.begin).lstrip("\r\n")
    return text


def _found(answer: str, wanted: Wanted, *, unchanged: bool) -> Extraction:
    if not answer.strip():
        return Extraction(code=None, rule="empty")
    if not unchanged and (found := _as_it_stands(answer, wanted)):
        return found
    plain = plain_spaces(answer)
    return (
        _surely(answer, wanted)
        or (plain != answer and (_as_it_stands(plain, wanted) or _surely(plain, wanted)))
        or _boldly(plain, wanted)
        or _unparsable(answer, wanted)
    )


def _surely(answer: str, wanted: Wanted) -> Extraction | None:
    """By fences and wrappers: the answer says where its program is."""
    fenced = blocks(answer)
    return _before_a_fence(answer, wanted) or _of_blocks(fenced, wanted) or _wrapped(answer, fenced, wanted)


def _boldly(answer: str, wanted: Wanted) -> Extraction | None:
    """By what looks like code and parses."""
    return _among_words(answer, wanted) or _cut_blocks(blocks(answer), wanted) or _prefix(answer, wanted)


# The answer as it stands


def _as_it_stands(text: str, wanted: Wanted) -> Extraction | None:
    """The whole text, where it is a program, or goes on from the prompt to one."""
    if wanted.continues and _INDENTED.match(text):
        if python.parse(wanted.prompt + text) is not None:
            return Extraction(code=wanted.prompt + text, rule="continuation")
        return None
    tree = python.parse(text)
    if tree is None or not python.is_program(tree):
        return None
    if not wanted.names or python.defines(tree, wanted.names):
        return Extraction(code=behind(wanted.prompt, wanted.names, text, tree), rule="whole")
    if wanted.continues and python.parse(wanted.prompt + text) is not None:
        return Extraction(code=wanted.prompt + text, rule="continuation")
    return None if _quoted(tree) else Extraction(code=behind(wanted.prompt, wanted.names, text, tree), rule="whole")


def _quoted(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)


# Fenced blocks


def _before_a_fence(answer: str, wanted: Wanted) -> Extraction | None:
    """Code in front of a first fence that names no language: the prompt, or a prefill, had opened it."""
    fence = first_fence(answer)
    if fence is None or fence[1] or not answer[: fence[0]].strip():
        return None
    found = _as_it_stands(answer[: fence[0]], wanted)
    if found is None or not (found.rule == "continuation" or _good(answer[: fence[0]], wanted)):
        return None
    return attrs.evolve(found, rule="before the fence")


def _good(source: str, wanted: Wanted) -> bool:
    tree = python.parse(source)
    return tree is not None and python.is_program(tree) and (not wanted.names or python.defines(tree, wanted.names))


@attrs.frozen(eq=False)
class _Part:
    """A block that is Python, with its tree."""

    block: Block
    code: str
    tree: ast.Module


def _parts(fenced: Sequence[Block]) -> list[_Part]:
    parts = []
    for block in fenced:
        if (
            block.language
            and not block.python
            and "python" not in block.language
            and block.language not in ("code", "tool_code")
        ):
            nested = blocks(block.text) if block.language in ("markdown", "md", "text", "txt") else []
            parts += _parts(nested)
            continue
        code = block.text
        tree = python.parse(code)
        if tree is None and (dedented := textwrap.dedent(code)) != code:
            code, tree = dedented, python.parse(dedented)
        if tree is None and code.lstrip().startswith(">>>"):
            code = next(iter(unwrapped(code)), code)
            tree = python.parse(code)
        if tree is None and "```" in code:
            parts += _parts(blocks(code))
        elif tree is not None and python.is_program(tree):
            parts.append(_Part(block, code, tree))
    return parts


def _of_blocks(fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    if not fenced:
        return None
    if wanted.continues:
        bodies = [b for b in fenced if _INDENTED.match(b.text) and (b.python or not b.language)]
        whole = [p for p in _parts(fenced) if python.defines(p.tree, wanted.names)]
        if not whole:
            return _body(bodies, fenced, wanted)
        return _joined(whole[-1], _parts(fenced) if len(fenced) > 1 else whole, wanted)
    parts = _parts(fenced)
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


def _cut_blocks(fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    """Blocks that do not parse, because the answer was cut off in one or has words in it: as far as they parse."""
    for block in list(reversed(fenced))[:START_ATTEMPTS]:
        if block.language and not block.python:
            continue
        found = _among_words(block.text, wanted) or _prefix(block.text, wanted)
        if found:
            return found
    return None


# Wrappers, and code among words


def _wrapped(answer: str, fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    for number, inside in enumerate(unwrapped(answer)):
        if number >= WRAPPED_ATTEMPTS:
            return None
        if not inside.strip():
            continue
        found = _as_it_stands(inside, wanted)
        if found and found.rule == "whole" and not _good(inside, wanted):
            found = None
        found = found or (_of_blocks(blocks(inside), wanted) if inside != answer else None)
        if found:
            return attrs.evolve(found, rule="wrapper")
    return None


def _among_words(answer: str, wanted: Wanted) -> Extraction | None:
    """Code between words: from a line that looks like code, as many lines as parse and define what is wanted."""
    best: tuple[int, Extraction] | None = None
    for start, indent in _starts(answer, wanted):
        text = answer[start:]
        if indent:
            text = _dedented(text, indent)
        code = python.longest_prefix(text, lambda tree: _fits(tree, wanted))
        if code is None:
            continue
        tree = python.parse(code)
        assert tree is not None
        found = Extraction(
            code=behind(wanted.prompt, wanted.names, code, tree), rule="among words" if start else "longest prefix"
        )
        if wanted.names:
            return found
        if best is None or len(code) > best[0]:
            best = len(code), found
    return best[1] if best else None


def _fits(tree: ast.Module, wanted: Wanted) -> bool:
    return python.is_program(tree) and (not wanted.names or python.defines(tree, wanted.names))


def _starts(answer: str, wanted: Wanted) -> Iterator[tuple[int, int]]:
    """(offset of a line, its indentation) where a program may begin, the likeliest first."""
    if not wanted.names:
        for number, match in enumerate(_CODE_LINE.finditer(answer)):
            if number >= START_ATTEMPTS:
                return
            yield match.start(), len(match[0]) - len(match[0].lstrip(" \t"))
        return
    names = "|".join(map(re.escape, sorted(wanted.names)))
    lines = [
        *re.finditer(
            rf"^([ \t]*)(?:(?:async[ \t]+)?def[ \t]+(?:{names})\b|class[ \t]+(?:{names})\b|(?:{names})[ \t]*=)",
            answer,
            re.M,
        )
    ]
    for match in lines[: -START_ATTEMPTS - 1 : -1]:
        yield _first_line(answer, match.start(), match[1]), len(match[1].expandtabs(1))


def _first_line(answer: str, start: int, indent: str) -> int:
    """Where the code begins that a definition belongs to: the farthest line of code before it from which all parses."""
    before = [
        m.start()
        for m in _CODE_LINE.finditer(answer, max(0, start - 20_000), start)
        if len(m[0]) - len(m[0].lstrip(" \t")) == len(indent) and (m.start() == 0 or answer[m.start() - 1] == "\n")
    ]
    for line in before[:START_ATTEMPTS]:
        code = _dedented(answer[line:start], len(indent))
        # Decorators alone do not parse: a function behind them does.
        if python.parse(code + "def _():\n    pass\n") is not None:
            return line
    return start


def _dedented(text: str, width: int) -> str:
    """Lines without `width` characters of indentation, as far as they have them."""
    if not width:
        return text
    return re.sub(rf"^[ \t]{{1,{width}}}", "", text, flags=re.M)


def _prefix(answer: str, wanted: Wanted) -> Extraction | None:
    """As many lines as parse, from the start."""
    if wanted.continues and _INDENTED.match(answer):
        code = python.longest_prefix(wanted.prompt + answer, lambda tree: True)
        longer = code is not None and len(code) > len(wanted.prompt) and code[len(wanted.prompt) :].strip()
        return Extraction(code=code, rule="longest prefix") if longer else None
    code = python.longest_prefix(answer, lambda tree: _fits(tree, wanted))
    tree = python.parse(code) if code else None
    return (
        Extraction(code=behind(wanted.prompt, wanted.names, code, tree), rule="longest prefix")
        if code and tree
        else None
    )


def _unparsable(answer: str, wanted: Wanted) -> Extraction:
    """Nothing defines what is wanted. Code is judged all the same, and fails by its own fault; words are no program."""
    fenced = [b for b in blocks(answer) if (b.python or not b.language) and b.text.strip()]
    if fenced:
        parts = _parts(fenced)
        code = parts[-1].code if parts else fenced[-1].text
        return Extraction(code=prelude(wanted.prompt) + code, rule="as it stands")
    if _CODE_LINE.search(answer):
        front = wanted.prompt if wanted.continues and _INDENTED.match(answer) else prelude(wanted.prompt)
        return Extraction(code=front + answer, rule="as it stands")
    return Extraction(code=None, rule="refused" if _REFUSAL.match(answer) else "no program")


# The plain rules of the audit


def _plainly(answer: str, wanted: Wanted, choose: Choice) -> Extraction:
    fenced = blocks(answer)
    rule = choose.replace("-", " ")
    code = (fenced[0] if choose == "first-block" else fenced[-1]).text if fenced else answer
    if not code.strip():
        return Extraction(code=None, rule=rule)
    if wanted.continues and _INDENTED.match(code):
        return Extraction(code=wanted.prompt + code, rule=rule)
    tree = python.parse(code)
    return Extraction(
        code=behind(wanted.prompt, wanted.names, code, tree) if tree else prelude(wanted.prompt) + code, rule=rule
    )
