"""From a file, a mapping and ``--set`` to plain data that remembers where each part came from.

YAML is read as 1.2 (ruamel.yaml), not 1.1: ``speculative: off`` is the text "off" and ``1e-3`` is a number. A key
written twice is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs

from wmtp.errors import ConfigError, ConfigFault

MOST_BYTES = 16 << 20  # of one file: a device such as /dev/zero never ends
MOST_NODES = 100_000  # of one source: an alias that names an alias can stand for any number of them
KeyPath = tuple[str | int, ...]

_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<body>[^{}]*)\}|(?P<broken>\$\{)")
_SECRET = re.compile(
    r"secret|password|passwd|token(?!s|i[sz])|credential|access_?key|private_?key|account_?key|api_?key", re.I
)
_USERINFO = re.compile(r"//[^/?#\s]*@|(^|=)[^/?#\s@:=]+:[^/?#\s]*@")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>.*))?", re.DOTALL)


class Text(str):
    """A string of the configuration.

    Attributes:
        folder: What a relative path in it is relative to.
        untyped: It came out of ``${…}``, which has no type of its own: it may stand for a number, a bool or null.
    """

    __slots__ = ("folder", "untyped")
    folder: Path
    untyped: bool

    def __new__(cls, value: str, folder: Path, *, untyped: bool = False) -> Self:
        text = super().__new__(cls, value)
        text.folder = folder
        text.untyped = untyped
        return text


class Scalar(Text):
    """A number, bool or date that ``--set`` gave. `value` is as YAML reads it; the text, for a field that is text.

    Whoever types ``--set run.name=123`` in a shell has no quotes left in it.
    """

    __slots__ = ("value",)
    value: Any

    def __new__(cls, text: str, value: Any) -> Self:
        scalar = super().__new__(cls, text, Path.cwd())
        scalar.value = value
        return scalar


@attrs.define
class Document:
    """One source of configuration, read.

    Attributes:
        root: The first word of its key paths: ``config`` or ``recipe``.
        name: The file as the user named it, or ``""``.
    """

    root: str
    data: dict[str, Any]
    name: str = ""
    folder: Path = attrs.field(factory=Path.cwd)
    lines: dict[KeyPath, int] = attrs.field(factory=dict)
    overrides: dict[KeyPath, str] = attrs.field(factory=dict)
    nodes: int = 0
    faults: list[tuple[KeyPath, str]] = attrs.field(factory=list)
    wrong_overrides: list[ConfigFault] = attrs.field(factory=list)

    def where(self, path: KeyPath) -> str:
        """``config.storage.mode (config.yaml, line 4)``."""
        shown = self.root + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return f"{shown} ({self.overrides[path[:end]]})"
            if path[:end] in self.lines:
                return f"{shown} ({self.name}, line {self.lines[path[:end]]})"
            if end == len(path):  # a section that --set made by naming a key in it
                for override, name in self.overrides.items():
                    if override[:end] == path:
                        return f"{shown} ({name})"
        return f"{shown} ({self.name})" if self.name else shown

    def error(self, found: Sequence[tuple[KeyPath, str]]) -> ConfigError | None:
        """All of this document's faults as one error; at one key, only the first stage that failed speaks."""
        early = {path for path, _ in self.faults}
        later = [(path, message) for path, message in found if path not in early]
        found_here = [ConfigFault(self.where(path), message) for path, message in [*self.faults, *later]]
        all_of_it = list(dict.fromkeys([*self.wrong_overrides, *found_here]))
        return ConfigError(all_of_it) if all_of_it else None


def read(root: str, source: Path | str | Mapping[str, Any] | None) -> Document:
    """Reads a file or takes a mapping. Strings become `Text`, ``${…}`` not yet substituted.

    Raises `ConfigError` for a file that cannot be read or is not a YAML mapping.
    """
    if source is None or isinstance(source, Mapping):
        document = Document(root, {})
        document.data = _plain(source or {}, document, (), document.folder)
        return document
    path = Path(source)
    try:
        text = _text(path, root)
    except FileNotFoundError:
        raise ConfigError(ConfigFault(root, f"no such file: {path}")) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(ConfigFault(root, f"cannot read {path}: {exc}")) from exc
    data = parse_yaml(text, root, str(path))
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise ConfigError(ConfigFault(f"{root} ({path})", f"must be a mapping of keys, not {shown(data)}"))
    document = Document(root, {}, str(path), path.absolute().parent)
    try:
        document.data = _plain(data, document, (), document.folder)
    except (RecursionError, _TooLarge):
        raise ConfigError(
            ConfigFault(f"{root} ({path})", "is nested too deep, or too large once its aliases are read")
        ) from None
    return document


def _text(path: Path, root: str) -> str:
    """A file's text, or a pipe's, which is read once. Raises ConfigError where it does not end."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(
            ConfigFault(
                root, f"{path} is longer than {MOST_BYTES >> 20} MiB: is it a device, or data? Name a YAML file"
            )
        )
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


class _TooLarge(Exception):  # noqa: N818
    pass


def parse_yaml(text: str, root: str, name: str) -> Any:
    """One YAML document with its comments and positions (ruamel.yaml's own types)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML().load(text)
    except RecursionError:
        raise ConfigError(ConfigFault(f"{root} ({name})", "is nested too deep")) from None
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        problem = str(exc.problem).partition(" with value")[0]
        if isinstance(exc, DuplicateKeyError):
            message = f"{problem}: a key may be written once in a section"
        else:
            message = f"not YAML: {problem}" + (f" ({exc.context})" if exc.context else "")
        raise ConfigError(ConfigFault(f"{root} ({place})", message)) from exc
    except (YAMLError, ValueError) as exc:
        raise ConfigError(ConfigFault(f"{root} ({name})", f"not YAML: {' '.join(str(exc).split())}")) from exc


def _plain(value: Any, document: Document, path: KeyPath, folder: Path) -> Any:
    """Plain dicts, lists and scalars; notes the line of every key."""
    document.nodes += 1
    if document.nodes > MOST_NODES:
        raise _TooLarge
    if isinstance(value, Mapping):
        positions = getattr(getattr(value, "lc", None), "data", None) or {}
        plain: dict[Any, Any] = {}
        for key, inner in value.items():
            name = str(key) if isinstance(key, str) else key
            if name in positions:
                document.lines[(*path, name)] = positions[name][0] + 1
            plain[name] = _plain(inner, document, (*path, name), folder)
        return plain
    if isinstance(value, list | tuple):
        positions = getattr(getattr(value, "lc", None), "data", None) or {}
        for index in range(len(value)):
            if index in positions:
                document.lines[(*path, index)] = positions[index][0] + 1
        return [_plain(inner, document, (*path, index), folder) for index, inner in enumerate(value)]
    return _scalar(value, folder)


def _scalar(value: Any, folder: Path) -> Any:
    # ruamel's scalars remember how they were written (0x10, 1_000, &anchor); what counts here is the value.
    if isinstance(value, Scalar):
        return value
    if isinstance(value, str):
        return Text(value, folder)
    if type(value).__module__.startswith("ruamel"):
        for plain in (bool, int, float):
            if isinstance(value, plain) or (plain is bool and type(value).__name__ == "ScalarBoolean"):
                return plain(value)
    return value


def apply_overrides(
    document: Document,
    overrides: Sequence[str],
    own: Sequence[str],
    foreign: Sequence[str],
    unknown: Callable[[str, Sequence[str]], str],
) -> None:
    """Applies ``key.path=yaml`` in order; a mapping or a list is one in brackets.

    Keys whose first word is in `foreign` belong to the other file. unknown: (key, those known) → what to say of a key that is
    neither's.
    """
    for override in overrides:
        keys, equals, text = override.partition("=")
        path = tuple(keys.strip().split("."))
        name = f"--set {keys if any(map(is_secret, path)) or has_userinfo(text) else override}"
        if not equals or not all(path):
            document.wrong_overrides.append(ConfigFault(name, "must read key.path=value, like eval.limit=20"))
        elif path[0] not in own and path[0] not in foreign:
            document.wrong_overrides.append(ConfigFault(name, unknown(path[0], sorted({*own, *foreign}))))
        elif not text.strip():  # a shell variable that is not set, more often than a wish for null
            document.wrong_overrides.append(ConfigFault(name, f"has no value; to unset a key, write {keys}=null"))
        elif path[0] in own:
            try:
                _apply(document, path, _override(text.strip(), name.removeprefix("--set ")))
            except ConfigError as exc:
                document.wrong_overrides += exc.faults
            else:
                document.overrides = {p: n for p, n in document.overrides.items() if p[: len(path)] != path}
                document.lines = {p: n for p, n in document.lines.items() if p[: len(path)] != path}
                document.overrides[path] = name


def _override(text: str, name: str) -> Any:
    """The value of one ``--set``. Text like ``reference:`` is text, whatever a file's YAML would make of it."""
    try:
        value = parse_yaml(text, "--set", name)
    except ConfigError:
        if text.startswith(("{", "[", '"', "'")):
            raise
        return text
    if isinstance(value, Mapping | list):
        return value if text.startswith(("{", "[")) else text
    plain = _scalar(value, Path.cwd())
    written = not isinstance(plain, str) and plain is not None and not text.startswith(("!", "&")) and " #" not in text
    return Scalar(text, plain) if written else value


def _apply(document: Document, path: tuple[str, ...], value: Any) -> None:
    section = document.data
    for depth, key in enumerate(path[:-1], 1):
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise ConfigError(ConfigFault(f"--set {'.'.join(path)}", f"{'.'.join(path[:depth])} is not a section"))
    section[path[-1]] = _plain(value, Document(document.root, {}), (), Path.cwd())


def substitute(document: Document) -> None:
    """Replaces ``${VAR}`` and ``${VAR:-default}`` (used when VAR is unset or empty) in strings; ``$${`` is ``${``."""

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*path, index)) for index, inner in enumerate(value)]
        if isinstance(value, Text) and "${" in value:
            return expand(value, path)
        return value

    def expand(text: Text, path: KeyPath) -> Text:
        def one(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            body = None if match["broken"] else _BODY.fullmatch(match["body"])
            if body is None:
                document.faults.append((path, f"{match[0]!r} cannot be read; write ${{VAR}} or ${{VAR:-default}}"))
                return ""
            name, default = body["name"], body["default"]
            value = os.environ.get(name)
            if value is None and default is None:
                message = f"environment variable {name} is not set; set it, or write ${{{name}:-default}}"
                document.faults.append((path, message))
            return (value or default) if default is not None else (value or "")

        whole = _REFERENCE.fullmatch(text)
        untyped = whole is not None and whole["body"] is not None
        return Text(_REFERENCE.sub(one, text), text.folder, untyped=untyped)

    document.data = walk(document.data, ())


def dump_yaml(data: Any) -> str:
    """Plain data as block YAML 1.2, keys in their order."""
    import io

    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):  # one of our own: representers are registered on the class
        def represent_text(self, text: str) -> Any:
            # Only double quotes keep what YAML takes for a line break or cannot print.
            odd = not text.replace("\n", "").isprintable()
            return self.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)

    Representer.add_representer(str, Representer.represent_text)
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 4096
    yaml.representer.sort_base_mapping_type_on_output = False
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def as_plain(value: Any) -> Any:
    """A copy without `Text`: what a section that nobody structures is kept as."""
    if isinstance(value, Mapping):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(inner) for inner in value]
    if isinstance(value, Scalar):
        return value.value
    return str(value) if isinstance(value, str) else value


def is_secret(key: object) -> bool:
    """Whether a key's name says that its value must not be shown or written anywhere."""
    return isinstance(key, str) and _SECRET.search(key) is not None


def has_userinfo(value: object) -> bool:
    """Whether a text is or holds an address with a user or password in it, ``http://user:password@host``."""
    return isinstance(value, str) and _USERINFO.search(value) is not None


def shown(value: Any) -> str:
    """A value as messages show it, in YAML's words."""
    if has_userinfo(value):
        return "an address with a user or password in it"
    if isinstance(value, Scalar):
        value = value.value
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def unknown_key(key: Any, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(key), known, n=1)
    return "unknown key; " + (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(known) or 'none'}"
