"""What files of other tools hold to look at: prompts, answers and what their judges said.

Their outcomes are read by `wmtp.comparison.foreign`.

Everything here may be absent or of another shape in another version of a tool: what is not there is not shown, and is no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wmtp import json_text
from wmtp.comparison.archive import members
from wmtp.comparison.records import MOST_SCORE, RunData
from wmtp.runs.lines import json_lines

FAILING = 5  # failing tests of a sample that are told
SCORED = "scored"
"""Status of a sample of which a file holds no outcome of its own."""


@attrs.frozen(kw_only=True)
class Text:
    """One sample of a file of another tool.

    Attributes:
        text: The program, or the whole answer where the file has nothing else; ``None``: the file holds neither.
        status: ``passed``, ``failed`` or `SCORED`.
        detail: What that tool's judge said.
    """

    problem: str
    index: int
    text: str | None
    status: str
    detail: str = ""
    tokens: int = 0
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class Texts:
    """What a file holds.

    Attributes:
        samples: In the order of the file. prompts: problem → what was asked, where the file has it.
        by: The scores that `Text.status` is of, where there are several; ``""`` where there is one, or none.
    """

    samples: tuple[Text, ...]
    prompts: Mapping[str, str]
    by: str = ""

    @property
    def programs(self) -> bool:
        """Whether there is any text."""
        return any(sample.text is not None for sample in self.samples)


def read_texts(run: RunData) -> Texts:
    """Read what there is to look at in the file of `run`, which was read without a fault before."""
    prompts: dict[str, str] = {}
    found = list(_READERS[run.form](run.path, prompts))
    by = _decisive(run)
    passed = run.judged[by].passed if by is not None else {}
    binary = [who for who, of in run.judged.items() if of.passed]
    samples = []
    for sample in found:
        outcome = passed.get(sample.problem, {}).get(sample.index)
        status = SCORED if outcome is None else "passed" if outcome else "failed"
        samples.append(attrs.evolve(sample, status=status))
    return Texts(samples=tuple(samples), prompts=prompts, by=by if by and len(binary) > 1 else "")


def _decisive(run: RunData) -> str | None:
    """Whose outcomes a sample is shown with: EvalPlus' strictest, else the first there are."""
    found = [who for who, of in run.judged.items() if of.passed]
    return None if not found else found[-1] if run.form == "EvalPlus" else found[0]


def _human_eval(path: Path, prompts: dict[str, str]) -> Iterator[Text]:
    counts: dict[str, int] = {}
    for row in json_lines(path):
        problem = str(row.get("task_id"))
        index = counts[problem] = counts.get(problem, -1) + 1
        _ask(prompts, problem, row.get("prompt"))
        said = _said(row.get("result"))
        yield Text(
            problem=problem, index=index, text=_text(row.get("completion"), row.get("solution")), status="",
            detail="" if said == "passed" else said,
        )  # fmt: skip


def _evalplus(path: Path, prompts: dict[str, str]) -> Iterator[Text]:
    for task, samples in json_text.loads_utf8(path.read_bytes())["eval"].items():
        for index, row in enumerate(samples):
            said = [
                f"{name} tests: {row[key]}"
                for name, key in (("base", "base_status"), ("plus", "plus_status"))
                if row.get(key)
            ]
            for name, key in (("base", "base_fail_tests"), ("plus", "plus_fail_tests")):
                failing = row.get(key)
                if isinstance(failing, list) and failing:
                    more = f" and {len(failing) - FAILING} more" if len(failing) > FAILING else ""
                    said.append(f"failing {name} tests: " + ", ".join(map(_said, failing[:FAILING])) + more)
            said += [_said(row["details"])] if row.get("details") else []
            yield Text(problem=task, index=index, text=_text(row.get("solution")), status="", detail="\n".join(said))


def _bigcode(path: Path, prompts: dict[str, str]) -> Iterator[Text]:
    for task, entries in json_text.loads_utf8(path.read_bytes()).items():
        for index, outcome in entries:
            said = _said(outcome.get("result"))
            yield Text(problem=task, index=int(index), text=None, status="", detail="" if said == "passed" else said)


def _lm_eval(path: Path, prompts: dict[str, str]) -> Iterator[Text]:
    """The answers of a problem once, though a file has a line of them for each filter; programs where a filter made them."""
    seen: set[str] = set()
    for row in json_lines(path):
        problem = str(row.get("doc_id"))
        if problem in seen:
            continue
        seen.add(problem)
        _ask(prompts, problem, _asked(row.get("arguments")))
        answers, filtered = _listed(row.get("resps")), _listed(row.get("filtered_resps"))
        for index, text in enumerate(filtered if len(filtered) == len(answers) else answers or filtered):
            yield Text(problem=problem, index=index, text=_text(text), status="")


def _listed(value: Any) -> Sequence[Any]:
    """The answers in ``resps`` or ``filtered_resps``: one list for each request, of which tasks that generate have one."""
    if not isinstance(value, list) or not value:
        return ()
    return value[0] if isinstance(value[0], list) else value


def _asked(arguments: Any) -> Any:
    """The prompt in lm-evaluation-harness' ``arguments``, in either of its forms."""
    if isinstance(arguments, dict):
        arguments = list(arguments.values())
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    if isinstance(first, dict):
        return first.get("arg_0")
    return first[0] if isinstance(first, list) and first else first


def _inspect(path: Path, prompts: dict[str, str]) -> Iterator[Text]:
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if packed:
        rows: Iterator[Any] = (json_text.loads_utf8(data) for _, data in members(path, "samples/"))
    else:
        rows = (row for row in json_text.loads_utf8(path.read_bytes())["samples"] if isinstance(row, dict))
    for row in rows:
        output = _object(row.get("output"))
        _ask(prompts, str(row.get("id")), row.get("input"))
        said = [f"{name}: {_score(of)}" for name, of in _object(row.get("scores")).items()]
        error = row.get("error")
        said += [_said(error.get("message") if isinstance(error, dict) else error)] if error else []
        usage, time = _object(output.get("usage")), row.get("total_time") or output.get("time")
        yield Text(
            problem=str(row.get("id")), index=row.get("epoch"), text=_text(output.get("completion")), status="",
            detail="\n".join(said), tokens=_number(usage.get("output_tokens")), seconds=round(_number(time), 3),
        )  # fmt: skip


def _score(of: Any) -> str:
    """A score of inspect's, and why."""
    if not isinstance(of, dict):
        return _said(of)
    why = of.get("explanation")
    return _said(of.get("value")) + (f" ({why})" if isinstance(why, str) and why else "")


_READERS = {
    "human-eval": _human_eval, "EvalPlus": _evalplus, "bigcode": _bigcode, "lm-evaluation-harness": _lm_eval,
    "inspect": _inspect,
}  # fmt: skip


def _ask(prompts: dict[str, str], problem: str, asked: Any) -> None:
    if isinstance(asked, list):
        turns = [turn for turn in asked if isinstance(turn, dict) and isinstance(turn.get("content"), str)]
        asked = "\n\n".join(f"[{turn.get('role', '')}]\n{turn['content']}" for turn in turns)
    if isinstance(asked, str) and asked:
        prompts.setdefault(problem, asked)


def _text(*values: Any) -> str | None:
    return next((value for value in values if isinstance(value, str)), None)


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> Any:
    """A count or a time; 0 for what is none. JSON as Python writes it has NaN, which a page's own JSON has not."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and 0 <= value <= MOST_SCORE else 0
