"""Rewriting a file with flat keys (``storage_mode``, ``s3_config``) to the nested form.

The text itself is cut and moved, by the positions that ruamel.yaml gives: everything else, comments and quoting
included, stays as it was. The result is read again and compared before it is handed out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from wmtp.config.flat import FLAT_KEYS, left_out, nested, refusal
from wmtp.config.source import as_plain, dump_yaml, parse_yaml
from wmtp.errors import ConfigError, ConfigFault

_COMMENT = re.compile(r"\}([ \t]+#[^\r\n]*)$", re.M)  # behind a mapping in flow style


@attrs.frozen
class Migrated:
    """text: the new file. changed: there was work to do.

    Attributes:
        removed: (key path, why) of what was left out of it: credentials above all.
        incomplete: Key paths of new sections that say s3 and name no bucket.
        nested: Of those that are not at the top level.
    """

    text: str
    changed: bool
    removed: tuple[tuple[str, str], ...] = ()
    incomplete: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


def migrate(text: str, name: str = "config.yaml") -> Migrated:
    """Rewrites every section of `text` that holds flat keys. `name` is for messages.

    Raises `ConfigError` for what it cannot rewrite: a file that is not YAML, a section with flat keys *and*
    ``storage``, one in flow style, ``{storage_mode: …}``. The message shows how to do it by hand.
    """
    data = parse_yaml(text, "config", name)
    removed: list[tuple[str, str]] = []
    sections = list(_flat_sections(data, ()))
    # From the last section to the first, so that the line numbers of those before stay true.
    lines = text.splitlines(keepends=True)
    for path, section in reversed(sections):
        _check(path, section, lines, name)
        removed += [
            (".".join((*path, "s3_config", key)), why) for key, why in left_out(section.get("s3_config")).items()
        ]
        lines = _rewrite(section, lines)
    result = "".join(lines)
    if as_plain(parse_yaml(result, "config", name)) != _expected(data):
        by_hand = refusal(sections[0][1]) if sections else ""
        raise ConfigError(ConfigFault(f"config ({name})", f"cannot be rewritten safely; by hand: {by_hand}"))
    nested = tuple(".".join((*path, "storage")) for path, _ in sections if path)
    incomplete = tuple(".".join((*path, "storage")) for path, section in sections if _lacks_bucket(section))
    return Migrated(result, bool(sections), tuple(sorted(removed)), incomplete, nested)


def _flat_sections(data: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(data, Mapping):
        return
    if any(key in data for key in FLAT_KEYS):
        yield path, data
    for key, inner in data.items():
        if key not in FLAT_KEYS:
            yield from _flat_sections(inner, (*path, str(key)))


def _lacks_bucket(section: Mapping[str, Any]) -> bool:
    form = _form(section)["storage"]
    settings = form.get("s3")
    return form["mode"] == "s3" and not (isinstance(settings, Mapping) and settings.get("bucket"))


def _expected(data: Any) -> Any:
    """What the new file must say, worked out on the data instead of the text."""
    if not isinstance(data, Mapping):
        return as_plain(data)
    kept = {key: _expected(inner) for key, inner in data.items() if key not in FLAT_KEYS}
    return kept | (_form(data) if any(key in data for key in FLAT_KEYS) else {})


def _form(section: Mapping[str, Any]) -> dict[str, Any]:
    form = nested(section)
    if not isinstance(section.get("s3_config"), Mapping):
        form["storage"].pop("s3", None)  # `nested` shows a placeholder there; a file must not be given one
        if "s3_config" in section:
            form["storage"]["s3"] = as_plain(section["s3_config"])
    return form


def _check(path: tuple[str, ...], section: Any, lines: list[str], name: str) -> None:
    where = f"{'.'.join(('config', *path))} ({name}, line {section.lc.line + 1})"
    if "storage" in section:
        raise ConfigError(
            ConfigFault(where, f"has flat keys and a section 'storage'; take one out. {refusal(section)}")
        )
    in_block = all(_starts_with(key, lines[section.lc.data[key][0]]) for key in FLAT_KEYS if key in section)
    if section.fa.flow_style() or not in_block:
        raise ConfigError(ConfigFault(where, f"is written in flow style; rewrite it by hand. {refusal(section)}"))


def _starts_with(key: str, line: str) -> bool:
    return line.lstrip().startswith((key, f'"{key}', f"'{key}"))


def _rewrite(section: Any, lines: list[str]) -> list[str]:
    """Cuts the flat keys' lines, and puts the nested section where ``s3_config`` (or else ``storage_mode``) was."""
    spans = {key: _span(section, key, lines) for key in FLAT_KEYS if key in section}
    indent = " " * section.lc.data[next(iter(spans))][1]
    mode_lines = ["mode: s3\n"]
    if "storage_mode" in spans:
        start, stop = spans["storage_mode"]
        mode_lines = _dedented(_renamed(lines[start:stop], "storage_mode", "mode"), indent)
    new = [f"{indent}storage:\n", *(_indented(line, indent + "  ") for line in mode_lines)]
    if "s3_config" in spans:
        start, stop = spans["s3_config"]
        body = _renamed(lines[start:stop], "s3_config", "s3")
        without = left_out(section["s3_config"])
        if without and section["s3_config"].fa.flow_style():
            body = _in_block(section["s3_config"], indent, comment=_COMMENT.search(lines[stop - 1]))
        else:
            for key in without:
                first, last = _span(section["s3_config"], key, lines, end=stop)
                body[first - start : last - start] = [""] * (last - first)
        new += [_indented(line, "  ") for line in body]
    anchor = spans.get("s3_config", spans.get("storage_mode"))
    result = []
    for number, line in enumerate(lines):
        if number == anchor[0]:  # type: ignore[index]
            result += new
        if not any(start <= number < stop for start, stop in spans.values()):
            result.append(line)
    return result


def _in_block(config: Mapping[str, Any], indent: str, comment: re.Match[str] | None) -> list[str]:
    """The lines of ``s3`` written anew, without what is left out: in flow style there are no lines to cut them from."""
    text = dump_yaml({"s3": {key: value for key, value in as_plain(config).items() if key not in left_out(config)}})
    first, *others = text.splitlines()
    return [f"{indent}{first}{comment[1] if comment else ''}\n", *(f"{indent}{line}\n" for line in others)]


def _span(section: Any, key: str, lines: list[str], end: int | None = None) -> tuple[int, int]:
    """Lines [start, stop) of a key with its value. Comments and blank lines before the next key belong to that."""
    start, column = section.lc.data[key][:2]
    stop = start + 1
    last = len(lines) if end is None else end
    for number in range(start + 1, last):
        text = lines[number].strip()
        if not text or text.startswith("#"):
            continue
        depth = len(lines[number]) - len(lines[number].lstrip())
        if depth < column or (depth == column and not text.startswith("- ")):
            break
        stop = number + 1
    # A comment that is indented like the value belongs to the value.
    while stop < last and lines[stop].strip().startswith("#") and _depth(lines[stop]) > column:
        stop += 1
    return start, stop


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _renamed(block: list[str], old: str, new: str) -> list[str]:
    return [block[0].replace(old, new, 1), *block[1:]]


def _dedented(block: list[str], indent: str) -> list[str]:
    return [line.removeprefix(indent) for line in block]


def _indented(line: str, indent: str) -> str:
    line = line if line.endswith("\n") or not line else line + "\n"
    return indent + line if line.strip() else line
