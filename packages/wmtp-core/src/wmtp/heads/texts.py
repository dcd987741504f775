"""The texts that heads are measured on: rows of a file, or a benchmark's requests, with solutions given or written anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from wmtp.contracts.engines import GenerationRequest, Message, SampleKey
from wmtp.errors import ConfigError
from wmtp.kit.rows import read_rows

SHOWN = 10


@attrs.frozen(kw_only=True)
class GivenText:
    """A prompt, and what is to be predicted behind it; ``None`` where that is still to be written.

    Attributes:
        name: of the row or problem.
        prompt: text, or turns of a chat.
        request: what asks a model to write it.
    """

    name: str
    prompt: str | Sequence[Message]
    text: str | None
    request: GenerationRequest


def of_file(path: Path, *, max_new_tokens: int) -> list[GivenText]:
    """Rows with ``text``, or with ``prompt`` and ``text``. Raises ConfigError naming every row that is neither."""
    found, faults = [], []
    try:
        for number, row in enumerate(read_rows([path])):
            prompt, text = row.data.get("prompt", ""), row.data.get("text")
            if not isinstance(text, str) or not text:
                faults.append(f"{row.where}: no text; a row has `text`, or `prompt` and `text`, and neither is empty")
                continue
            if not isinstance(prompt, str) or ("prompt" in row.data and not prompt):
                faults.append(f"{row.where}: prompt is {'empty' if prompt == '' else 'no text'}")
                continue
            request = GenerationRequest(
                key=SampleKey(evaluator="text", problem=str(number), index=0),
                prompt=prompt or None,
                max_new_tokens=max_new_tokens,
            )
            found.append(GivenText(name=row.where, prompt=prompt, text=text, request=request))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    if faults:
        more = f"\nand {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ConfigError("\n".join(faults[:SHOWN]) + more)
    if not found:
        raise ConfigError(f"{path} has no rows")
    return found


def of_requests(requests: Sequence[GenerationRequest], *, max_new_tokens: int) -> list[GivenText]:
    """A benchmark's requests, with its reference solutions where it has them."""
    return [
        GivenText(
            name=request.key.problem,
            prompt=request.prompt or "" if request.messages is None else request.messages,
            text=request.reference or None,
            request=attrs.evolve(request, max_new_tokens=max_new_tokens),
        )
        for request in requests
    ]
