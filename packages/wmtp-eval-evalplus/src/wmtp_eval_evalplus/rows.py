"""EvalPlus' rows in both forms that it ships: its own release (jsonl), and the hub's parquet, whose inputs stand in a test.

The forms: evalplus 0.3.1, evalplus/data/{humaneval,mbpp}.py and tools/{humaneval,mbpp}/to_original_fmt.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit
from wmtp_eval_evalplus.plugin import BENCHMARKS

TEXTS = dict.fromkeys(("task_id", "prompt", "entry_point", "canonical_solution"), str)
RELEASED: Mapping[str, Any] = {**TEXTS, "base_input": list, "plus_input": list, "atol": (int, float)}
HUB_MBPP = {"task_id": int, "code": str, "prompt": str, "test": str, "test_list": list}
# The last argument of ``assertion(…, atol)``, or the right of ``assert … <= atol``.
TOLERANCE = re.compile(r"^[ \t]*assert(?:ion\(.*,|\b.*<=)[ \t]*([\d.][\d.e+-]*)\)?[ \t\r]*$", re.M)


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """Rows with the fields of the release; ``base_input`` is ``None`` where the hub's form does not tell it apart.

    Raises:
        ConfigError: naming file and line.
    """
    patterns = (f"{BENCHMARKS[request.dataset][1]}*.jsonl", "test*.parquet", "*/test*.parquet")
    mbpp, inputs = request.dataset == "mbpp_plus", ("base_input", "plus_input")
    for row in kit.read_rows(kit.split_files(request, patterns, request.dataset, splits=("test",))):
        if "plus_input" in row.data:
            kit.check_fields(row.data, RELEASED, row.where)
            found = dict(row.data)
            with kit.row_faults(row.where, "arguments of a call"):
                found |= {name: [as_called(found["task_id"], args) for args in found[name]] for name in inputs}
        else:
            kit.check_fields(row.data, HUB_MBPP if mbpp else {**TEXTS, "test": str}, row.where)
            found = _from_hub(row.data, row.where)
        if not (found["base_input"] or found["plus_input"]):
            raise wmtp.ConfigError(f"{row.where}: it has no inputs, so every program would pass")
        yield {**found, "digest": row.digest}


def _from_hub(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The inputs and the tolerance are read out of the test's source, which is not run."""
    with kit.row_faults(where, "no inputs can be read from its test"):
        inputs = kit.assigned(ast.parse(row["test"]), "inputs")
    near = TOLERANCE.search(row["test"])
    found = {"base_input": None, "plus_input": inputs, "atol": float(near[1]) if near else 0}
    if "entry_point" in row:
        return {**found, **{name: row[name] for name in TEXTS}}
    called = kit.tested_function(row["code"], row["test_list"])
    if called is None:
        raise wmtp.ConfigError(f"{where}: which function is tested cannot be told from test_list and code")
    prompt = "\n".join(['"""', row["prompt"], *row["test_list"], '"""', ""])
    return {**found, "task_id": f"Mbpp/{row['task_id']}", "prompt": prompt, "entry_point": called,
            "canonical_solution": row["code"]}  # fmt: skip


# JSON has no tuples, sets and complex numbers: which arguments are some, by problem (evalplus/data/mbpp.py).


def _tuples(values: Any) -> Any:
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _rows(values: Any) -> Any:
    return list(map(tuple, values))


_FORMS: list[tuple[Callable[[list[Any]], Any], str]] = [
    (lambda args: _rows(args), "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809"),
    (lambda args: [_rows(a) for a in args], "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780"),
    (lambda args: [_rows(args[0]), args[1]], "75 413 444 753"),
    (lambda args: [args[0], tuple(args[1])], "106 750"),
    (lambda args: [[set(x) if isinstance(x, list) and x else {} for x in args[0]]], "115"),
    (lambda args: [float(args[0]), complex(args[1])], "124"),
    (lambda args: [tuple(args[0]), *args[1:]], "250 405 446 617 720 763 808 307"),
    (lambda args: [tuple(_rows(a)) for a in args], "259 401 445"),
    (lambda args: [tuple(tuple(x) if isinstance(x, list) else x for x in args[0])], "278"),
    (lambda args: [{key: tuple(value) for key, value in args[0].items()}, *args[1:]], "722"),
    (lambda args: [complex(args[0])], "252"),
    (lambda args: list(map(_tuples, args)), "580 615 791"),
]
_FORM_OF = {f"Mbpp/{number}": form for form, numbers in _FORMS for number in numbers.split()}


def as_called(task_id: str, args: list[Any]) -> list[Any]:
    """The arguments of one call, in the types that MBPP+ calls with."""
    if not isinstance(args, list):
        raise TypeError(f"{args!r:.80} is no list")
    return list(_FORM_OF.get(task_id, list)(args))
