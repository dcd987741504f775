"""What a server's error says: of what kind it is, in whose words, and what is to be done."""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping

import openai

from wmtp_openai.pool import Server
from wmtp_openai.probe import innermost

AWAY = frozenset({429, 502, 503, 504, *range(520, 531)})
NO_PATH = frozenset({404, 405, 501})
ONE_MODEL = (
    "samples of one run come from one model on one kind of server: start it as it was (model.base_id, "
    "model.loaders.openai.urls), or use another run.name"
)
TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size)|max_model_len|max_new_tokens`? must be <="
    r"|(?:maximum|model'?s?|available) (?:model |sequence |input )?(?:context|length)|must have less than \d+ tokens"
    r"|(?:prompt|input) is too long",
    re.I,
)
"""What servers say of a prompt that does not fit: vLLM, SGLang, llama.cpp, TGI, OpenAI."""
PINNED = re.compile(r"server is pinned to", re.I)
"""What transformers serve says where it serves one model and another is named."""
NO_SEEDS = re.compile(
    r"(?s)(?=.*\bseed\b).*(?:unrecogni[sz]ed|unknown|unsupported|unexpected|extra_forbidden"
    r"|not (?:be )?(?:supported|permitted|allowed))",
    re.I,
)
"""What servers say that do not take the key ``seed`` at all."""


def no_path(server: Server, error: openai.APIStatusError) -> str:
    """What is to be done where nothing takes a request under its path."""
    response, told = error.response, f"{error.status_code}: {said(error)}"
    if response.history:
        return (
            f"{server.url} sends requests on to {response.url}, where they are not taken ({told}): name the address where they "
            "end in model.base_id"
        )
    if "model" in told.lower():
        return f"{server.url} serves the model no more ({told}); {ONE_MODEL}"
    turns = response.request.url.path.endswith("/chat/completions")
    other = "" if turns else ", or it takes turns alone: model.loaders.openai.api: chat"
    return f"{server.url} has no such path ({told}); see model.base_id{other}"


def whole(error: openai.APIStatusError) -> str:
    """All of an error's body: servers put a code beside the message."""
    return json.dumps(error.body, default=str) if error.body is not None else error.message


def said(error: openai.APIStatusError) -> str:
    """What the server said, on one line: its message where the body has one."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, Mapping) else inner
    return " ".join(str(body if body is not None else error.message).split())[:300]


def cause(error: BaseException) -> str:
    """The innermost reason of a failed connection: openai's own text is 'Connection error.' for all of them."""
    error = innermost(error)
    return f"{type(error).__name__}: {error}".rstrip(": ")


def retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to be left alone, as a number or as a date; ``None`` where it does not say.

    A date is read by the server's clock where it tells the time: its clock and ours may be hours apart.
    """
    wish = error.response.headers.get("retry-after", "")
    try:
        seconds = float(wish)
    except ValueError:
        if (until := _moment(wish)) is None:
            return None
        now = _moment(error.response.headers.get("date", ""))
        seconds = until - (time.time() if now is None else now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _moment(date: str) -> float | None:
    """Seconds since 1970 of a date of HTTP; ``None`` where it is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
