"""What a model thinks aloud is no answer: the marks of model families, and what stands behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

COMMENT_CHARACTERS = 200  # a comment is looked for so far in front of a mark

SPECIAL = ("<|", "◁t", "[T", "<u")  # how marks begin that are one token, which no model writes when it talks


@attrs.frozen
class Marks:
    """The pair of marks between which a family of models thinks.

    Attributes:
        opening: begins thinking. A chat template may write it into the prompt, so that an answer holds the closing one alone.
        closing: ends it; the answer follows.
    """

    opening: str
    closing: str


FAMILIES = (
    Marks("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, GLM, MiMo, Nemotron, Hunyuan, SmolLM3
    Marks("<thinking>", "</thinking>"),
    Marks("<thought>", "</thought>"),
    Marks("<Thought>", "</Thought>"),
    Marks("<longcat_think>", "</longcat_think>"),  # LongCat
    Marks("Thinking...\n", "...done thinking."),  # what Ollama prints
    Marks("<reasoning>", "</reasoning>"),
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("[THINK]", "[/THINK]"),  # Magistral
    Marks("◁think▷", "◁/think▷"),  # Kimi
    Marks("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    Marks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Marks("<unused94>thought", "<unused95>"),  # MedGemma
    Marks("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    Marks("<|channel>thought", "<channel|>"),  # Gemma 4
    Marks("Here is my thought process:", "Here is my response:"),  # Granite 3
)

_CODE = re.compile(r"\s*(?:```|~~~|def \w+\(|class \w+[:(]|import \w|from [\w.]+ import |@\w)")
_AFTER = r"(?!['\"\\]|`(?!``))"  # a mark in quotes is a string of the program, one in a backtick is talked about


def _by_first(marks: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """First character → an expression of the marks that begin with it: one that begins with a character is searched for at
    the speed of that character, and an alternation of many beginnings is not."""
    firsts = {mark[0]: [m[1:] for m in marks if m[0] == mark[0]] for mark in marks}
    return {
        first: re.compile(f"{re.escape(first)}(?:{'|'.join(map(re.escape, rest))}){_AFTER}")
        for first, rest in firsts.items()
    }


_CLOSING = _by_first([m.closing for m in FAMILIES])
_OPENING = _by_first([m.opening for m in FAMILIES])
_HARMONY_AS_TEXT = re.compile(r"\A\s*(?:assistant)?analysis(?=[^\s:])")
_HARMONY_FINAL = "assistantfinal"
# gpt-oss says with a channel whom it speaks to and in what form. A call of a tool is what it wants done, so it is its answer
# where nothing final follows.
_CHANNEL = re.compile(
    r"(?:<\|start\|>assistant(?P<to> to=[^<\s]+)?)?<\|channel\|>(?P<name>final|commentary|analysis)(?P<more>[^<]*)"
    r"(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_CALL_AS_TEXT = re.compile(r"assistantcommentary to=[\w.]+ ?(?:json|code)?")


def opened_by(prompt: str, marks: Sequence[Marks] = FAMILIES) -> bool:
    """Whether a prompt ends inside thinking, because the template opened it for the model."""
    tail = prompt[-200:].rstrip()
    return any(tail.endswith(m.opening) for m in marks)


@attrs.frozen
class Thought:
    """An answer, apart from what was thought.

    Attributes:
        answer: the text behind the last closing mark; ``None`` where thinking was opened and never closed.
        thinking: ``""`` (no marks), ``"closed"`` or ``"unclosed"``.
    """

    answer: str | None
    thinking: str


def last_closing(text: str) -> int:
    """Where the last mark that closes thinking ends; 0 where there is none."""
    closings = _closings(text)
    return closings[-1].end() if closings else 0


def _closings(text: str) -> list[re.Match[str]]:
    found = [found for first, marks in _CLOSING.items() if first in text for found in marks.finditer(text)]
    return sorted(found, key=re.Match.end)


def split_thinking(text: str, *, opened: bool = False) -> Thought:
    """Cuts off what was thought.

    Args:
        text: what the model wrote.
        opened: whether the prompt had opened thinking already, so that an answer without any mark is all thought.
    """
    closings = _closings(text)
    closing = closings[-1] if closings else None
    closing = closing or (_spoken(text) if "<|channel|>" in text else None)
    start = closing.end() if closing else 0
    if closing and not text[start:].strip() and (answer := _before_a_stray(text, closings, opened=opened)):
        return answer
    if not closing and _HARMONY_AS_TEXT.match(text):
        at = text.rfind(_HARMONY_FINAL)  # gpt-oss where its marks were dropped as special tokens
        if at >= 0:
            return Thought(text[at + len(_HARMONY_FINAL) :], "closed")
        call = max(_CALL_AS_TEXT.finditer(text), key=re.Match.end, default=None)
        return Thought(text[call.end() :], "closed") if call else Thought(None, "unclosed")
    if not closing and opened:
        return Thought(None, "unclosed")
    opening = min(_openings(text, start), key=re.Match.start, default=None)
    if opening is None:
        return Thought(text[start:], "closed" if closing else "")
    before = text[start : opening.start()]
    if before.strip():  # an answer, and then the model began to think again
        return Thought(before, "unclosed")
    return Thought(None, "unclosed")


def _before_a_stray(text: str, closings: Sequence[re.Match[str]], *, opened: bool) -> Thought | None:
    """What stands in front of a mark that ends the answer and closes nothing: it was closed before, or no thought begins so."""
    before = closings[-2].end() if len(closings) > 1 else 0
    answer = text[before : closings[-1].start()]
    if next(_openings(answer, 0), None) is not None or not answer.strip():
        return None
    if before:
        return Thought(answer, "closed")
    return Thought(answer, "") if not opened and _CODE.match(answer) else None


def _openings(text: str, start: int) -> Iterator[re.Match[str]]:
    """Marks that open thinking. A tag begins a line: within one it is talked about, or part of a program. A special token in a
    comment of code is neither."""
    for first, marks in _OPENING.items():
        for match in marks.finditer(text, start) if first in text else ():
            line = text[text.rfind("\n", max(0, match.start() - COMMENT_CHARACTERS), match.start()) + 1 : match.start()]
            if not line.strip() or (match[0][:2] in SPECIAL and "#" not in line):
                yield match
                break


def _spoken(text: str) -> re.Match[str] | None:
    """Where gpt-oss' answer begins: behind its last final header, or its last call of a tool."""
    found = list(_CHANNEL.finditer(text))
    final = [match for match in found if match["name"] == "final"]
    calls = [match for match in found if match["to"] or "to=" in match["more"]]
    answers = final or calls
    return answers[-1] if answers else None
