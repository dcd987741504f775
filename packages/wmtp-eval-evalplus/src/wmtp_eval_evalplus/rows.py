"""EvalPlus' rows in both forms that it ships: its own release (jsonl), and the hub's parquet, whose inputs stand in a test.

The forms: evalplus 0.3.1, evalplus/data/{humaneval,mbpp}.py and tools/{humaneval,mbpp}/to_original_fmt.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import wmtp
from wmtp import kit

FILES = {
    "humaneval_plus": ("HumanEvalPlus*.jsonl", "test*.parquet", "*/test*.parquet"),
    "mbpp_plus": ("MbppPlus*.jsonl", "test*.parquet", "*/test*.parquet"),
}
Fields = Mapping[str, type | tuple[type, ...]]
TEXTS = dict.fromkeys(("task_id", "prompt", "entry_point", "canonical_solution"), str)
RELEASED: Fields = {**TEXTS, "base_input": list, "plus_input": list, "atol": (int, float)}
HUB: Mapping[str, Fields] = {
    "humaneval_plus": {**TEXTS, "test": str},
    "mbpp_plus": {"task_id": int, "code": str, "prompt": str, "test": str, "test_list": list},
}


def read(request: wmtp.DatasetRequest) -> Iterator[Mapping[str, Any]]:
    """Rows with the fields of the release; ``base_input`` is ``None`` where the hub's form does not tell it apart.

    Raises:
        ConfigError: naming file and line.
    """
    if request.split != "test":
        raise wmtp.ConfigError(f"{request.dataset} has no split {request.split!r}; it has test")
    for row in kit.read_rows(
        kit.files_of_split(request.fetch().path, FILES[request.dataset], f"{request.dataset} data")
    ):
        if "plus_input" in row.data:
            kit.check_fields(row.data, RELEASED, row.where)
            found = dict(row.data)
            if request.dataset == "mbpp_plus":
                for name in ("base_input", "plus_input"):
                    found[name] = [as_called(found["task_id"], args) for args in found[name]]
        else:
            kit.check_fields(row.data, HUB[request.dataset], row.where)
            found = _from_hub(row.data, row.where)
        if not (found["base_input"] or found["plus_input"]):
            raise wmtp.ConfigError(f"{row.where}: it has no inputs, so every program would pass")
        yield {**found, "digest": row.digest}


def _from_hub(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The inputs and the tolerance are read out of the test's source, which is not run."""
    try:
        tree = ast.parse(row["test"])
        names = {node.targets[0].id: node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)
                 and isinstance(node.targets[0], ast.Name)}  # fmt: skip
        inputs = ast.literal_eval(_WithInfinity().visit(names["inputs"]))
        atol = next(_tolerances(tree), 0)
    except (SyntaxError, ValueError, KeyError, RecursionError) as error:
        raise wmtp.ConfigError(f"{where}: no inputs can be read from its test: {error!r}") from None
    found = {"base_input": None, "plus_input": inputs, "atol": atol}
    if "entry_point" in row:
        return {**found, **{name: row[name] for name in TEXTS}}
    asserts = "\n".join(row["test_list"])
    defined = {node.name for node in ast.walk(kit.parse(row["code"]) or tree) if isinstance(node, ast.FunctionDef)}
    called = sorted(kit.called_names(row["test_list"]) & defined)
    if len(called) != 1:
        raise wmtp.ConfigError(f"{where}: which function is tested cannot be told from test_list and code")
    prompt = f'"""\n{row["prompt"]}\n{asserts}\n"""\n'
    return {**found, "task_id": f"Mbpp/{row['task_id']}", "prompt": prompt, "entry_point": called[0],
            "canonical_solution": row["code"]}  # fmt: skip


class _WithInfinity(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ("inf", "nan") else node


def _tolerances(tree: ast.Module) -> Iterator[float]:
    """The last argument of ``assertion(…, atol)``, or the right of ``… <= atol``."""
    for node in ast.walk(tree):
        last = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "assertion":
            last = node.args[-1]
        elif isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
            last = node.test.comparators[-1]
        if isinstance(last, ast.Constant) and isinstance(last.value, int | float) and not isinstance(last.value, bool):
            yield last.value


# JSON has no tuples, sets and complex numbers: which arguments are some, by problem (evalplus/data/mbpp.py).


def _tuples(values: Any) -> Any:
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _rows(values: Any) -> Any:
    return [tuple(row) for row in values]


_FORMS: list[tuple[Callable[[list[Any]], Any], str]] = [
    (lambda args: [tuple(a) for a in args], "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 "
     "809"),
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
]  # fmt: skip
_FORM_OF = {f"Mbpp/{number}": form for form, numbers in _FORMS for number in numbers.split()}


def as_called(task_id: str, args: list[Any]) -> list[Any]:
    """The arguments of one call, in the types that MBPP+ calls with."""
    form = _FORM_OF.get(task_id)
    return list(form(args)) if form else args
