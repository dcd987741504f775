"""What a server answered, taken apart: a completion, or a reason why it is none.

Servers and what stands before them answer 200 with an error page, with half a JSON, with no choices at all, and the openai
client raises nothing for those. Only an answer that says why it ended is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thought")
"""Where servers put reasoning that they take out of an answer; the first that holds something is it."""
CALLS = ("tool_calls", "function_call")
"""The ends that mean a call, and where it stands."""
KEPT = (*CALLS, "refusal", "reasoning_details")
"""What is kept as it is."""
INSTEAD = (*REASONING, *KEPT)
"""What a turn may hold in place of its content. A turn with none of them was lost on the way."""


class BadAnswer(Exception):  # noqa: N818  (never shown as it is: it becomes the reason of a further attempt)
    """An answer that is no completion. The text says what was wrong with it."""


@attrs.frozen(kw_only=True)
class Answer:
    """One choice of a server's answer.

    Attributes:
        text: What was written, as the server sent it.
        finish: Why it ended, in the server's word: ``stop``, ``length``, ``tool_calls``, ``content_filter``, ``error`` …
        tokens: How many were generated, as the server counts them, or ``None``.
        prompt_tokens: How many the prompt had, in the same way.
        extra: Reasoning, tool calls, speculation and the finish reason, where there is something to keep.
        logprobs: As the server gave them, where they were asked for.
    """

    text: str
    finish: str
    tokens: int | None
    prompt_tokens: int | None
    extra: Mapping[str, Any]
    logprobs: Any = None


def read_answer(body: Any, *, chat: bool) -> Answer:
    """Takes one choice out of the body of an answer, which may be anything.

    Raises:
        BadAnswer: It is no completion with one choice and a reason for its end.
    """
    if not isinstance(body, Mapping):
        raise BadAnswer(f"the answer is no object but {_shown(body)}")
    if error := body.get("error"):
        raise BadAnswer(f"an error inside an answer of status 200: {_shown(error)}")
    choices = body.get("choices")
    if (
        not isinstance(choices, Sequence)
        or isinstance(choices, str)
        or not all(isinstance(c, Mapping) for c in choices)
    ):
        raise BadAnswer(f"'choices' is {_shown(choices)}")
    if len(choices) != 1:
        raise BadAnswer(f"{len(choices)} choices where one was asked for")
    choice = choices[0]
    if error := choice.get("error"):
        raise BadAnswer(f"an error inside the choice: {_shown(error)}")
    if choice.get("index") not in (None, 0):
        raise BadAnswer(f"the only choice has the index {_shown(choice['index'])}: it is another request's")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or not finish:
        raise BadAnswer("the answer does not say why it ended (finish_reason); it was cut off")
    text, tokens, extra = _text(choice, chat=chat), _tokens(body, "completion_tokens"), _extra(body, choice, finish)
    if finish == "length" and not (text or tokens or extra):
        raise BadAnswer("the answer is empty, and is said to have ended at its length")
    if finish in CALLS and not text and not extra.keys() & {*CALLS}:
        raise BadAnswer(f"it is said to have ended with a call ({finish}), and holds neither a call nor a text")
    return Answer(
        text=text,
        finish=finish,
        tokens=tokens,
        prompt_tokens=_tokens(body, "prompt_tokens"),
        extra=extra,
        logprobs=choice.get("logprobs"),
    )


def _text(choice: Mapping[str, Any], *, chat: bool) -> str:
    if (role := _message(choice).get("role")) in ("user", "system", "developer", "tool"):
        raise BadAnswer(f"the turn is one of {role!r}: it is what was asked, or another's")
    text = _message(choice).get("content") if chat else choice.get("text")
    if text is None and chat and any(_message(choice).get(name) for name in INSTEAD):
        return ""
    if not isinstance(text, str):
        raise BadAnswer(f"{'message.content' if chat else 'text'} is {_shown(text)}")
    return text


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, Mapping) else {}


def _tokens(body: Mapping[str, Any], name: str) -> int | None:
    usage = body.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _extra(body: Mapping[str, Any], choice: Mapping[str, Any], finish: str) -> dict[str, Any]:
    """What is kept beside the text. Speculation is where vLLM (``metrics``) and SGLang (``meta_info``) put it."""
    message = _message(choice)
    extra: dict[str, Any] = {}
    if reasoning := next(filter(None, map(message.get, REASONING)), None):
        if not isinstance(reasoning, str):
            raise BadAnswer(f"the reasoning is {_shown(reasoning)}")
        extra["reasoning"] = reasoning
    for name in KEPT:
        if message.get(name):
            extra[name] = message[name]
    if finish not in ("stop", "length"):
        extra["finish_reason"] = finish
    for holder in (choice, body):
        metrics, info = holder.get("metrics"), holder.get("meta_info")
        if isinstance(metrics, Mapping) and metrics.get("speculative_decoding"):
            extra["speculation"] = metrics["speculative_decoding"]
        elif isinstance(info, Mapping) and (found := {k: v for k, v in info.items() if k.startswith("spec_")}):
            extra["speculation"] = found
    return extra


def _shown(value: Any) -> str:
    """A short look at what came, on one line."""
    text = " ".join(str(value).split())
    return f"{type(value).__name__} {text[:80]!r}" if value is not None else "missing"
