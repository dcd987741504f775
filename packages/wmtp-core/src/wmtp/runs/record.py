"""results.json ↔ `RunRecord`, and the schema of it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from shlex import join
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from wmtp.contracts.evaluation import MetricValue
from wmtp.contracts.runs import RECORD_SCHEMA, RunRecord
from wmtp.errors import ConfigError

Json = dict[str, Any]
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_WHERE_STATED = ("unit", "method")
"""Fields of a metric that stand in the file only where there is something in them."""


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(
        MetricValue,
        make_dict_unstructure_fn(
            MetricValue, converter, unit=override(omit_if_default=True), method=override(omit_if_default=True)
        ),
    )
    for scalar in (int, float, str, bool):  # a number that is text is no number
        converter.register_structure_hook(scalar, _exactly)
    return converter


def _exactly(value: Any, wanted: type) -> Any:
    if type(value) is wanted or (wanted is float and type(value) is int):
        return value
    raise TypeError(f"must be {wanted.__name__}, not {value!r}")


_CONVERTER = _converter()


def to_json(record: RunRecord) -> Json:
    """The object of results.json."""
    found: Json = _CONVERTER.unstructure(record)
    return found


def from_json(data: Any, source: str = "results.json") -> RunRecord:
    """The record of results.json.

    Raises:
        ConfigError: It is of another version, or not the results of a run; names every field that is wrong.
    """
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if schema != RECORD_SCHEMA:
        raise ConfigError(f"{source}: not the results of a run that this version reads (schema {schema!r})")
    judging = data.get("judging")
    if isinstance(judging, Mapping) and judging.get("in_process") == []:  # stood there, always empty, before 0.1.0
        data = {**data, "judging": {k: v for k, v in judging.items() if k != "in_process"}}
    try:
        return _CONVERTER.structure(data, RunRecord)
    except cattrs.BaseValidationError as error:
        wrong = "; ".join(cattrs.transform_error(error, path="results"))
        raise ConfigError(f"{source}: not the results of a run: {wrong}") from None


def command(record: RunRecord) -> str:
    """What makes the same run once more."""
    folder = Path(record.run.directory or record.run.name)
    runs = [] if folder.parent == Path("runs") else ["--runs", str(folder.parent)]
    return join(["wmtp", "eval", str(folder / "config.yaml"), str(folder / "recipe.yaml"), *runs])


def model_name(model: Mapping[str, Any]) -> str:
    """What people call the model of a record: its id, or the file that its samples were replayed from; and the variant."""
    return f"{model.get('id') or ''}{model.get('file') or ''} {model.get('variant') or ''}".strip()


def schema() -> Json:
    """The JSON schema of results.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "WMTP results.json",
        **_schema_of(RunRecord),
    }


def _schema_of(tp: Any) -> Json:
    if isinstance(tp, type) and attrs.has(tp):
        fields = attrs.fields(attrs.resolve_types(tp))
        optional = _WHERE_STATED if tp is MetricValue else ()
        described = " ".join((tp.__doc__ or "").split("\n\n")[0].split())
        return {
            "type": "object",
            "description": described,
            "properties": {
                f.name: {"const": RECORD_SCHEMA} if f.name == "schema" else _schema_of(f.type) for f in fields
            },
            "required": [f.name for f in fields if f.name not in optional],
            "additionalProperties": False,
        }
    origin, arguments = get_origin(tp), get_args(tp)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(member) for member in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0])}
    if origin is Mapping or tp is Mapping:
        return {"type": "object", "additionalProperties": True if arguments[1] is Any else _schema_of(arguments[1])}
    return {"type": _TYPES[tp]} if tp in _TYPES else {}
