"""What the tests need of a program, and what was found of it in an answer."""

from __future__ import annotations

from collections.abc import Iterable

import attrs


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
