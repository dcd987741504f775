"""The program in an answer: one rule for all benchmarks, which says what it did.

What was thought is cut off. Then candidates are made, from the surest to the boldest (the text as it stands, behind the
prompt, fenced blocks, what wrappers hold, code among words, the longest prefix that parses), and the first that defines what
the tests call is the program. Nothing is ever run. Time grows with the length of the answer and no faster.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from typing import Literal

import attrs

from wmtp.kit import python
from wmtp.kit.code_blocks import cut_blocks, of_blocks, parts_of
from wmtp.kit.fences import Block, blocks, first_fence
from wmtp.kit.loose_code import CODE_LINE, INDENTED, among_words, prefix
from wmtp.kit.preludes import behind, prelude
from wmtp.kit.thinking import FAMILIES, last_closing, split_thinking
from wmtp.kit.wanted import Extraction, Wanted
from wmtp.kit.wrappers import called_with, laid_out, next_turns, plain_spaces, unwrapped, without_tokens

Choice = Literal["ours", "first-block", "last-block"]
PLAIN: tuple[Choice, ...] = ("first-block", "last-block")
WRAPPED_ATTEMPTS = 8
NOTHING = ("empty", "no program", "refused", "as it stands")
"""Rules that find no program, or none that parses."""

_MARKS = (
    "`",
    "~",
    "<",
    "[/",
    "[THINK",
    "FIX]",
    "[MIDDLE]",
    *(m.opening for m in FAMILIES if m.opening[0] not in "<["),
    "analysis",
)
"""Without any of them, a text holds no fence, no thought and no special token."""

_REFUSAL = re.compile(
    r"\A\W*(?:I['’]?m (?:very )?sorry|sorry|I (?:cannot|can['’]t|am unable|am not able|won['’]t)|as an AI|unfortunately, I"
    r"|죄송|도와드릴 수 없|抱歉|对不起|很抱歉|我无法|申し訳)",
    re.I,
)


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
    if choose != "ours":
        return _extracted(text, wanted, choose, thinking_opened, reasoning)
    with python.trees_alone():  # the audit's rules come behind ours, to the same text: they find its trees
        return _extracted(text, wanted, choose, thinking_opened, reasoning)


def _extracted(text: str, wanted: Wanted, choose: Choice, thinking_opened: bool, reasoning: str) -> Extraction:
    if reasoning:
        if not text.strip():  # all of it was thought
            return Extraction(code=None, rule="unclosed thinking", thinking="unclosed")
        apart = _extracted(text, wanted, choose, False, "")
        return attrs.evolve(apart, thinking=apart.thinking or "closed")
    text = laid_out(trimmed(text, wanted))
    if not text.strip():
        return Extraction(code=None, rule="empty")
    if not thinking_opened and choose == "ours" and (found := _as_it_stands(text, wanted)):
        return found
    thought = split_thinking(text, opened=thinking_opened)
    if thought.answer is None:
        return Extraction(code=None, rule="unclosed thinking", thinking=thought.thinking)
    answer = _said(thought.answer, thought.thinking)
    if choose != "ours":
        answer = _one_turn(answer)
        found = _plainly(answer, blocks(answer), wanted, choose)
    else:
        found = _in_one_turn(answer, wanted, unchanged=answer == text and not thinking_opened)
    return attrs.evolve(found, thinking=thought.thinking) if thought.thinking else found


def _as_it_stands(text: str, wanted: Wanted) -> Extraction | None:
    """The whole text; where a made-up turn in it happens to parse, what stands in front of that."""
    found = as_it_stands(text, wanted)
    if found is None or not (turn := next(next_turns(text), None)):
        return found
    tree = python.parse(text)
    return (as_it_stands(text[:turn], wanted) or found) if tree is not None and python.has_words(tree) else found


def _next_turn(answer: str) -> int | None:
    """Where the first next turn begins that the model made up, outside of closed blocks."""
    fenced = iter([block for block in blocks(answer) if block.closed])
    block = next(fenced, None)
    for at in next_turns(answer):  # both in order, so each is looked at once
        while block is not None and block.end <= at:
            block = next(fenced, None)
        if block is None or at < block.start:
            return at
    return None


def _in_one_turn(answer: str, wanted: Wanted, *, unchanged: bool) -> Extraction:
    """What is found in front of a next turn that the model made up; where that is no program, in all of the answer: a heading
    may as well be the answer's own."""
    at = _next_turn(answer)
    found = None if at is None else _found(answer[:at], wanted, unchanged=False)
    return found if found and found.rule not in NOTHING else _found(answer, wanted, unchanged=unchanged)


def _one_turn(answer: str) -> str:
    """The same for plain rules: in front of such a turn, if there is anything that looks like code."""
    before = answer[: _next_turn(answer)]
    return before if blocks(before) or CODE_LINE.search(before) else answer


def _said(answer: str, thinking: str) -> str:
    """What stands behind thinking, without tokens of the model's own."""
    answer = without_tokens(answer)
    return answer.lstrip("\r\n") if thinking and answer[:1] in "\r\n" else answer


def trimmed(text: str, wanted: Wanted) -> str:
    """Without a byte order mark, and between the marks of the prompt's form."""
    if wanted.end and wanted.end in text and (at := text.find(wanted.end, last_closing(text))) >= 0:
        text = text[:at]
    text = text.removeprefix("\ufeff")
    if wanted.begin and text.lstrip().startswith(wanted.begin):
        text = text.lstrip().removeprefix(wanted.begin).lstrip("\r\n")
    return text


def _found(answer: str, wanted: Wanted, *, unchanged: bool) -> Extraction:
    if not answer.strip():
        return Extraction(code=None, rule="empty")
    if not unchanged and (found := as_it_stands(answer, wanted)):
        return found
    if found := _surely(answer, wanted):
        return found
    plain = plain_spaces(answer)
    return (
        (plain != answer and (as_it_stands(plain, wanted) or _surely(plain, wanted)))
        or _boldly(plain, wanted)
        or _unparsable(answer, wanted)
    )


def _surely(answer: str, wanted: Wanted) -> Extraction | None:
    """By fences and wrappers: the answer says where its program is."""
    fenced = blocks(answer)
    return _before_a_fence(answer, wanted) or of_blocks(fenced, wanted) or _wrapped(answer, fenced, wanted)


def _boldly(answer: str, wanted: Wanted) -> Extraction | None:
    """By what looks like code and parses."""
    return among_words(answer, wanted) or cut_blocks(blocks(answer), wanted) or prefix(answer, wanted)


# The answer as it stands


def as_it_stands(text: str, wanted: Wanted) -> Extraction | None:
    """The whole text, where it is a program, or goes on from the prompt to one."""
    if wanted.continues and INDENTED.match(text):
        if _defines_indented(text, wanted):
            return as_it_stands(textwrap.dedent(text), wanted)
        if python.parse(wanted.prompt + text) is not None:
            return Extraction(code=wanted.prompt + text, rule="continuation")
        return None
    tree = python.parse(text)
    if tree is None or not python.is_program(tree):
        return None
    text, tree = python.without_words(text, tree)
    if not wanted.names or python.defines(tree, wanted.names):
        if text.lstrip()[:1] == "[" and next(called_with(text), None):
            return None
        return Extraction(code=behind(wanted.prompt, wanted.names, text, tree), rule="whole")
    if wanted.continues and python.parse(wanted.prompt + text) is not None:
        return Extraction(code=wanted.prompt + text, rule="continuation")
    return None if _quoted(tree) else Extraction(code=behind(wanted.prompt, wanted.names, text, tree), rule="whole")


def _defines_indented(text: str, wanted: Wanted) -> bool:
    """Whether all of a text is indented, and it is no body: it defines the function that it would go on with."""
    if not any(re.search(rf"^[ \t]+def {re.escape(name)}\b", text, re.M) for name in wanted.names):
        return False
    tree = python.parse(textwrap.dedent(text))
    return tree is not None and python.defines(tree, wanted.names)


def _quoted(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)


def _before_a_fence(answer: str, wanted: Wanted) -> Extraction | None:
    """Code in front of a first fence that names no language: the prompt, or a prefill, had opened it."""
    fence = first_fence(answer)
    if fence is None or fence[1] or not answer[: fence[0]].strip():
        return None
    found = as_it_stands(answer[: fence[0]], wanted)
    if found is None or not (found.rule == "continuation" or _good(answer[: fence[0]], wanted)):
        return None
    return attrs.evolve(found, rule="before the fence")


def _good(source: str, wanted: Wanted) -> bool:
    tree = python.parse(source)
    return tree is not None and python.is_program(tree) and (not wanted.names or python.defines(tree, wanted.names))


# Wrappers


def _wrapped(answer: str, fenced: Sequence[Block], wanted: Wanted) -> Extraction | None:
    for number, inside in enumerate(unwrapped(answer)):
        if number >= WRAPPED_ATTEMPTS:
            return None
        if not inside.strip():
            continue
        found = as_it_stands(inside, wanted)
        if found and found.rule == "whole" and not _good(inside, wanted):
            found = None
        found = found or (of_blocks(blocks(inside), wanted) if inside != answer else None)
        if found:
            return attrs.evolve(found, rule="wrapper")
    return None


def _unparsable(answer: str, wanted: Wanted) -> Extraction:
    """Nothing defines what is wanted. Code is judged all the same, and fails by its own fault; words are no program."""
    fenced = [b for b in blocks(answer) if (b.python or not b.language) and b.text.strip()]
    if fenced:
        parts = parts_of(fenced)
        code = parts[-1].code if parts else fenced[-1].text
        return Extraction(code=prelude(wanted.prompt) + code, rule="as it stands")
    if CODE_LINE.search(answer):
        front = wanted.prompt if wanted.continues and INDENTED.match(answer) else prelude(wanted.prompt)
        return Extraction(code=front + answer, rule="as it stands")
    return Extraction(code=None, rule="refused" if _REFUSAL.match(answer) else "no program")


# The plain rules of the audit


def extract_plainly(
    text: str, wanted: Wanted, *, whole: str | None = None, thinking_opened: bool = False, reasoning: str = ""
) -> dict[Choice, str | None]:
    """The programs that the two plain rules take out: as `extract` for each of them, at less than the cost of both.

    Args:
        whole: the program that `extract` found by the rule ``whole``, if it did: it spares parsing the text again.

    The others are those of `extract`.
    """
    if text == whole and not thinking_opened and not wanted.continues and not any(mark in text for mark in _MARKS):
        return dict.fromkeys(PLAIN, whole)
    if reasoning and not text.strip():
        return dict.fromkeys(PLAIN)
    text = laid_out(trimmed(text, wanted))
    thought = split_thinking(text, opened=thinking_opened and not reasoning)
    if thought.answer is None:
        return dict.fromkeys(PLAIN)
    answer = _one_turn(_said(thought.answer, thought.thinking))
    fenced = blocks(answer)
    as_it_stood = whole is not None and whole.endswith(text)  # ours leaves words out, and the plain rules do not
    if as_it_stood and not fenced and answer == text and not (wanted.continues and INDENTED.match(text)):
        return dict.fromkeys(PLAIN, whole)
    if len(fenced) < 2:
        return dict.fromkeys(PLAIN, _plainly(answer, fenced, wanted, PLAIN[0]).code)
    return {choice: _plainly(answer, fenced, wanted, choice).code for choice in PLAIN}


def _plainly(answer: str, fenced: Sequence[Block], wanted: Wanted, choose: Choice) -> Extraction:
    rule = choose.replace("-", " ")
    code = (fenced[0] if choose == "first-block" else fenced[-1]).text if fenced else answer
    if not code.strip():
        return Extraction(code=None, rule=rule)
    if wanted.continues and INDENTED.match(code):
        return Extraction(code=wanted.prompt + code, rule=rule)
    tree = python.parse(code)
    return Extraction(
        code=behind(wanted.prompt, wanted.names, code, tree) if tree else prelude(wanted.prompt) + code, rule=rule
    )
