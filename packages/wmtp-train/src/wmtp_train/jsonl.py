"""The data set ``jsonl``: a file of prompt and answer, or of text. Its path stands in the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit

LARGEST = 10**9
"""Weight, or place in a text, beyond which a number is a slip."""
FORMS = "prompt and answer (or completion), messages, or text"


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """The lines of a file, or of ``<split>.jsonl`` in a folder. Raises ConfigError naming file and line."""
    names = (f"{request.split}.jsonl", f"{request.split}-*.jsonl", f"{request.split}*.parquet", "*.jsonl")
    for row in kit.read_rows(kit.files_of_split(request.fetch().path, names, "jsonl data"), {}, columns=()):
        _check(row.data, row.where)
        yield {**row.data, "id": str(row.data.get("id", row.where))}


def _check(row: Mapping[str, Any], where: str) -> None:
    if "text" in row and not ({"prompt", "messages"} & set(row)):
        wanted: dict[str, type] = {"text": str}
    elif "messages" in row:
        wanted = {"messages": list}
    elif "prompt" in row:
        answer = next((name for name in ("answer", "completion") if name in row), None)
        if answer is None:
            raise wmtp.ConfigError(f"{where}: it has a prompt and no answer; a row holds {FORMS}")
        wanted = {answer: str}
    else:
        raise wmtp.ConfigError(f"{where}: a row holds {FORMS}; this one has {', '.join(sorted(row)) or 'nothing'}")
    kit.check_fields(row, wanted, where)
    if "messages" in wanted:
        _check_turns(row["messages"], where)
    elif "prompt" in row and not isinstance(row["prompt"], str):
        _check_turns(row["prompt"], where)
    _check_weights(row.get("weights"), where)


def _check_turns(turns: Any, where: str) -> None:
    if not isinstance(turns, list) or not turns:
        raise wmtp.ConfigError(
            f"{where}: a prompt is a text or a list of turns, and messages are such a list; it is {turns!r}"
        )
    for turn in turns:
        if not isinstance(turn, Mapping) or not all(isinstance(turn.get(name), str) for name in ("role", "content")):
            raise wmtp.ConfigError(f"{where}: a turn is an object with role and content, both text; one is {turn!r}")


def _check_weights(weights: Any, where: str) -> None:
    told = (
        f"{where}: weights are [[first character, end, weight], …] of the answer, none below 0 or above {LARGEST:.0e}"
    )
    if weights is None:
        return
    if not isinstance(weights, list):
        raise wmtp.ConfigError(f"{told}; they are {weights!r}")
    for span in weights:
        numbers = isinstance(span, list) and len(span) == 3 and all(type(one) in (int, float) for one in span)
        if not numbers or not 0 <= span[2] <= LARGEST or not 0 <= span[0] < span[1] <= LARGEST:
            raise wmtp.ConfigError(f"{told}; one is {span!r}")


def examples(row: Mapping[str, Any]) -> Iterable[wmtp.Example]:
    """The one example of a row. ``weights``: [[first character, end, weight], …] of the answer."""
    weights = tuple((int(first), int(end), float(weight)) for first, end, weight in row.get("weights") or ())
    name = str(row.get("id", ""))
    if "messages" in row:
        *asked, last = row["messages"]
        if last.get("role") != "assistant":
            raise wmtp.ConfigError(f"{name}: its last message is not the assistant's, so there is nothing to learn")
        return [wmtp.Example(id=name, prompt=tuple(asked), answer=str(last["content"]), weights=weights)]
    if "prompt" in row:
        prompt = row["prompt"] if isinstance(row["prompt"], str) else tuple(row["prompt"])
        return [wmtp.Example(id=name, prompt=prompt, answer=row.get("answer", row.get("completion")), weights=weights)]
    return [wmtp.Example(id=name, answer=row["text"], weights=weights)]
