"""The flat keys of old (``storage_mode``, ``s3_config``): found, refused, and shown in their nested form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import Any

from wmtp.config.source import KeyPath, as_plain, dump_yaml, has_userinfo, is_secret

FLAT_KEYS = ("storage_mode", "s3_config")


def flat_faults(data: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """(key path, message) for each section, at any depth, that holds flat keys: one message a section.

    For configuration that is given as a mapping (a loader's, say): an empty result means that it holds none.
    """
    if found := [key for key in FLAT_KEYS if key in data]:
        yield (*path, found[0]), refusal(data)
    for key, inner in data.items():
        if isinstance(inner, Mapping) and key not in FLAT_KEYS:
            yield from flat_faults(inner, (*path, key))


def refusal(data: Mapping[str, Any]) -> str:
    """Why flat keys are refused, with the nested form in the user's own values; credentials are left out of it."""
    found = " and ".join(key for key in FLAT_KEYS if key in data)
    config = data.get("s3_config")
    without = left_out(config)
    notes = "".join(
        f"\n({', '.join(sorted(key for key in without if without[key] == why))} left out: {why})"
        for why in dict.fromkeys(without.values())
    )
    return (
        f"{found}: flat keys are gone; only the nested form is read (`wmtp config migrate FILE` rewrites a file). "
        f"Write:\n{indent(dump_yaml(nested(data)).rstrip(), '  ')}{notes}"
    )


def left_out(config: Any) -> dict[str, str]:
    """The keys of ``s3_config`` that no new file is given, and why."""
    found = {}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        if is_secret(key):
            found[key] = "credentials come from the storage's own chain"
        elif has_userinfo(value):
            found[key] = "there are credentials in it; write it without them"
        elif key == "use_ssl":
            found[key] = "the scheme of endpoint_url decides, http:// or https://"
    return found


def nested(data: Mapping[str, Any]) -> dict[str, Any]:
    """The ``storage`` section that flat keys stand for."""
    config = as_plain(data.get("s3_config"))
    mode = as_plain(data.get("storage_mode", "s3" if config is not None else "local"))
    section: dict[str, Any] = {"mode": mode}
    if isinstance(config, Mapping):
        section["s3"] = {key: value for key, value in config.items() if key not in left_out(config)}
    elif mode == "s3":
        section["s3"] = {"bucket": "YOUR-BUCKET"}
    return {"storage": section}
