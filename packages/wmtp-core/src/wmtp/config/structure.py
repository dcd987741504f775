"""Strict structuring: plain data → attrs records, every fault at once, each with its key path.

cattrs does the walking. What it would coerce in silence (``"false"`` → True, ``1.9`` → 1, ``5`` → ``"5"``, ``"12"`` →
``[1, 2]``) is refused by the hooks of `strict_converter`.
"""

from __future__ import annotations

import enum
import math
import re
import types
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from wmtp.config.source import KeyPath, Scalar, Text, as_plain, is_secret, shown, unknown_key
from wmtp.errors import WmtpError

Hook = Callable[[Any, Any], Any]
_NOTHING: Any = object()
_SCALARS = (bool, int, float, str, type(None))
SEQUENCES = (tuple, list, set, frozenset, Sequence, MutableSequence)
_MAPPINGS = (dict, Mapping, MutableMapping)


class InvalidValue(Exception):  # noqa: N818  (not shown as it is: it becomes a `wmtp.errors.ConfigFault`)
    """Something the user wrote is wrong. `path` is relative to the value being structured."""

    def __init__(self, message: str, path: KeyPath = (), value: Any = _NOTHING) -> None:
        super().__init__(message)
        self.message, self.path, self.value = message, path, value


class _Below(Exception):  # noqa: N818  (carries another exception to its key path)
    def __init__(self, path: KeyPath, inner: Exception) -> None:
        super().__init__(str(inner))
        self.path, self.inner = path, inner


class ErrorCollector:
    """Collects the faults of several parts, so that all of them are told at once."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        try:
            yield
        except Exception as exc:  # noqa: BLE001  (`faults` sorts them, and lets go on what is not the user's)
            self.faults.append(_Below(path, exc))

    def finish(self) -> None:
        if self.faults:
            raise ExceptionGroup("invalid", self.faults)


def faults(exc: BaseException, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Flattens what structuring raised into (key path, message). Exceptions that are no fault of the user's go on."""
    if isinstance(exc, _Below):
        yield from faults(exc.inner, path + exc.path)
    elif isinstance(exc, InvalidValue):
        secret = any(is_secret(key) for key in path + exc.path)
        tail = "" if exc.value is _NOTHING or secret else f", not {shown(exc.value)}"
        yield path + exc.path, exc.message + tail
    elif isinstance(exc, ExceptionGroup):
        for inner in exc.exceptions:
            yield from faults(inner, path + _noted(inner))
    elif isinstance(exc, ForbiddenExtraKeysError):
        known = [a.name for a in attrs.fields(exc.cl) if a.init]
        for key in sorted(exc.extra_fields, key=str):
            yield (*path, key), unknown_key(key, known)
    elif isinstance(exc, KeyError) and path and exc.args == (path[-1],):
        yield path, "required, and missing"
    elif isinstance(exc, ValueError | TypeError | WmtpError):
        yield path, exc.args[0] if exc.args and isinstance(exc.args[0], str) else str(exc)
    else:
        raise exc


def _noted(exc: BaseException) -> KeyPath:
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


def mapping(value: Any) -> Mapping[str, Any]:
    """A section. One that is empty in the file (everything in it commented out) is an empty mapping."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidValue("must be a section (a mapping of keys)", value=value)
    for key in value:
        if not isinstance(key, str):
            raise InvalidValue(f"key {shown(key)} must be text; put it in quotes", (key,))
    return value


def strict_converter() -> cattrs.Converter:
    """A converter without coercions. Later hooks win, so callers may add their own."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_factory(attrs.has, lambda cls: record_hook(cls, converter))
    converter.register_structure_hook_func(_is_mapping, lambda value, tp: _structure_mapping(value, tp, converter))
    converter.register_structure_hook_func(_is_sequence, lambda value, tp: _structure_sequence(value, tp, converter))
    converter.register_structure_hook_func(lambda tp: tp is Any, lambda value, _: as_plain(value))
    converter.register_structure_hook_func(_is_path_or_scalar, _structure_path_or_scalar)
    converter.register_structure_hook_func(_is_scalar, structure_scalar)
    for scalar in _SCALARS:  # cattrs has hooks for these very classes, which predicates do not outrank
        converter.register_structure_hook(scalar, structure_scalar)
    converter.register_structure_hook(enum.Enum, _structure_enum)  # the same, in cattrs 24.1
    converter.register_structure_hook(Path, lambda value, _: Path(absolute(value)))
    return converter


def record_hook(cls: type[Any], converter: cattrs.Converter, **hooks: Hook) -> Hook:
    """The hook of an attrs class. `hooks`: field → a hook of its own, in place of its type's.

    Validators run field by field, before the record is made: attrs itself would stop at the first that fails.
    """
    cls = attrs.resolve_types(cls)
    overrides: Any = {}
    for field in attrs.fields(cls):
        hook = hooks.get(field.name)
        if field.validator is not None:
            hook = _validated(field, hook or converter.get_structure_hook(field.type))
        if hook is not None:
            overrides[field.name] = override(struct_hook=hook)
    inner = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)
    return lambda value, _: inner(mapping(value), cls)


def _validated(field: attrs.Attribute[Any], hook: Hook) -> Hook:
    def structure(value: Any, tp: Any) -> Any:
        structured = hook(value, tp)
        try:
            field.validator(None, field, structured)  # type: ignore[misc]
        except (ValueError, TypeError):
            raise
        except Exception:  # noqa: BLE001  (it needs the instance: the record's own __init__ runs it again, with one)
            return structured
        return structured

    return structure


def absolute(value: Any) -> str:
    """A path, made absolute against the folder of the file that it was written in. URLs stay as they are."""
    text = structure_scalar(value, str)
    if not text:
        raise InvalidValue("is empty; write a path, or leave the key out")
    if "://" in text:
        return str(text)
    folder = value.folder if isinstance(value, Text) else Path.cwd()
    return str(Path(folder, Path(text).expanduser()))


# scalars


def _members(tp: Any) -> tuple[Any, ...]:
    return get_args(tp) if get_origin(tp) in (Union, types.UnionType) else (tp,)


def _is_scalar(tp: Any) -> bool:
    return all(m in _SCALARS or m is None or get_origin(m) is Literal for m in _members(tp))


def _is_path_or_scalar(tp: Any) -> bool:
    members = _members(tp)
    return len(members) > 1 and Path in members and all(m is Path or _is_scalar(m) for m in members)


def _structure_path_or_scalar(value: Any, tp: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Scalar):
        return Path(absolute(value))
    try:
        return structure_scalar(value, Union[tuple(m for m in _members(tp) if m is not Path)])  # noqa: UP007  (at run time)
    except InvalidValue:
        raise InvalidValue("must be a path", value=value) from None


def structure_scalar(value: Any, tp: Any) -> Any:
    """A bool, int, float, str, null or one of some literal values: exactly that, nothing that looks like it.

    An int serves where a float is asked for. A value out of ``${…}`` takes the type that is asked for, and a number of
    ``--set`` is text where that is asked for.
    """
    members = _members(tp)
    texts = [value]
    if isinstance(value, Text) and value.untyped:
        texts = [*_readings(value), value]
    elif isinstance(value, Scalar):
        texts = [value.value, value]
    for candidate in texts:
        for member in members:
            if (found := _exactly(candidate, member)) is not _NOTHING:
                return found
    hint = _hint(value.value if isinstance(value, Scalar) else value, members)
    raise InvalidValue(f"must be {_either(members)}{hint}", value=value)


def _exactly(value: Any, member: Any) -> Any:
    if get_origin(member) is Literal:
        for choice in get_args(member):
            same_type = isinstance(value, str) if isinstance(choice, str) else type(value) is type(choice)
            if same_type and value == choice:
                return choice
    elif member in (None, type(None)):
        return None if value is None else _NOTHING
    elif member is str:
        return str(value) if isinstance(value, str) else _NOTHING
    elif member is float:
        # an int that a float cannot hold exactly would be another number
        if (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= 2**53):
            return float(value)
    elif type(value) is member:
        return value
    return _NOTHING


def _readings(text: str) -> Iterator[Any]:
    """What a text out of the environment may stand for, besides itself."""
    if text in ("", "null", "~"):
        yield None
    if text in ("true", "false"):
        yield text == "true"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        yield int(text)
    elif re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text):
        yield float(text)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


def _either(members: Sequence[Any]) -> str:
    words: list[str] = []
    for member in members:
        if get_origin(member) is Literal:
            words += [repr(choice) for choice in get_args(member)]
        else:
            words.append(_WORDS[member or type(None)])
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _hint(value: Any, members: Sequence[Any]) -> str:
    if isinstance(value, str):
        from difflib import get_close_matches

        choices = [c for m in members if get_origin(m) is Literal for c in get_args(m) if isinstance(c, str)]
        if near := get_close_matches(value, choices, n=1):
            return f" (did you mean {near[0]!r}?)"
        if any(_exactly(reading, m) is not _NOTHING for reading in _readings(value) for m in members):
            return " (written without quotes)"
        if bool in members and value.lower() in ("yes", "no", "on", "off"):
            return " (YAML 1.2 has no yes, no, on, off)"
    elif str in members and value is not None and not isinstance(value, Mapping | list):
        return " (put it in quotes)"
    return ""


# collections and enums


def _structure_enum(value: Any, tp: type[enum.Enum]) -> Any:
    return tp(structure_scalar(value, Literal[tuple(member.value for member in tp)]))


def _is_sequence(tp: Any) -> bool:
    return (get_origin(tp) or tp) in SEQUENCES


def _structure_sequence(value: Any, tp: Any, converter: cattrs.Converter) -> Any:
    if not isinstance(value, list | tuple):
        hint = f" (write [{value}])" if isinstance(value, str) else ""
        raise InvalidValue(f"must be a list{hint}", value=value)
    origin, arguments = get_origin(tp) or tp, [a for a in get_args(tp) if a is not Ellipsis]
    fixed = origin is tuple and Ellipsis not in get_args(tp) and bool(arguments)
    if fixed and len(value) != len(arguments):
        raise InvalidValue(f"must be a list of {len(arguments)}, not of {len(value)}")
    errors, items = ErrorCollector(), []
    for index, item in enumerate(value):
        inner = arguments[index if fixed else 0] if arguments else Any
        with errors.at(index):
            items.append(converter.structure(item, inner))
    errors.finish()
    return (origin if origin in (tuple, list, set, frozenset) else tuple)(items)


def _is_mapping(tp: Any) -> bool:
    return (get_origin(tp) or tp) in _MAPPINGS


def _structure_mapping(value: Any, tp: Any, converter: cattrs.Converter) -> dict[str, Any]:
    inner = (*get_args(tp), Any, Any)[1] if get_args(tp) else Any
    errors, items = ErrorCollector(), {}
    for key, item in mapping(value).items():
        with errors.at(key):
            items[str(key)] = converter.structure(item, inner)
    errors.finish()
    return items
