"""The flat keys of old (``storage_mode``, ``s3_config``): found, refused, and shown in their nested form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import Any

from wmtp.config.source import KeyPath, as_plain, dump_yaml, is_secret

FLAT_KEYS = ("storage_mode", "s3_config")


def flat_problems(data: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """(key path, message) for each section, at any depth, that holds flat keys: one message a section.

    For configuration that is given as a mapping (a loader's, say): an empty result means that it holds none.
    """
    if found := [key for key in FLAT_KEYS if key in data]:
        yield (*path, found[0]), refusal(data)
    for key, inner in data.items():
        if isinstance(inner, Mapping) and key not in FLAT_KEYS:
            yield from flat_problems(inner, (*path, key))


def refusal(data: Mapping[str, Any]) -> str:
    """Why flat keys are refused, with the nested form in the user's own values; credentials are left out of it."""
    found = " and ".join(key for key in FLAT_KEYS if key in data)
    config = data.get("s3_config")
    secrets = sorted(key for key in config if is_secret(key)) if isinstance(config, Mapping) else []
    left_out = f"\n({', '.join(secrets)} left out: credentials come from the storage's own chain)" if secrets else ""
    return (
        f"{found}: flat keys are gone; only the nested form is read (`wmtp config migrate FILE` rewrites a file). "
        f"Write:\n{indent(dump_yaml(nested(data)).rstrip(), '  ')}{left_out}"
    )


def nested(data: Mapping[str, Any]) -> dict[str, Any]:
    """The ``storage`` section that flat keys stand for."""
    config = as_plain(data.get("s3_config"))
    mode = as_plain(data.get("storage_mode", "s3" if config is not None else "local"))
    section: dict[str, Any] = {"mode": mode}
    if isinstance(config, Mapping):
        section["s3"] = {key: value for key, value in config.items() if not is_secret(key)}
    elif mode == "s3":
        section["s3"] = {"bucket": "YOUR-BUCKET"}
    return {"storage": section}
