"""The options under ``model.loaders.openai`` in the recipe, and what a reference says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import validators

import wmtp

PREFIX = "openai:"
_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[^/@\s#?:\[\]]+)(:(?P<port>[0-9]{1,9}))?(/[^@\s#?]*)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OWN_KEYS = frozenset(
    {"model", "prompt", "messages", "stream", "n", "seed", "stop", "max_tokens", "temperature", "top_p"}
    | {"chat_template_kwargs", "echo", "max_completion_tokens", "stream_options"}
)
"""Keys of a request that are ours: the run's own settings say them, and its keys rest on them."""


def _address(_: Any, __: Any, value: str) -> None:
    """The message does not repeat the address: what stands before an @ may be a password."""
    found = _ADDRESS.fullmatch(value)
    if not found:
        raise ValueError(
            "must be an address such as http://host:8000/v1 (with IPv6 http://[::1]:8000/v1), without user, password, '?' "
            "and '#'"
        )
    if found["port"] and not 0 < int(found["port"]) < 2**16:
        raise ValueError(f"must be an address such as http://host:8000/v1; there is no port {found['port']}")


def _variable(_: Any, __: Any, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ValueError("must be the name of an environment variable; the key itself stands in no file")


def _not_ours(_: Any, __: Any, value: Mapping[str, Any]) -> None:
    if taken := sorted(OWN_KEYS & set(value)):
        raise ValueError(
            f"must not hold {taken[0]!r}: what is asked, and in what form, is the run's own (model.base_id, eval.sampling, "
            "template_args)"
        )


@attrs.frozen(kw_only=True)
class OpenAISettings:
    """``model.loaders.openai``.

    Attributes:
        urls: Further servers of the same model; work goes to whoever is free.
        concurrency: Requests at once for each server, at most. Fewer are sent where a server says that it is too much.
        api: ``completions`` or ``chat``; ``auto`` sends a bare prompt to the first and turns to the second.
        tokenizer: Folder or hub id. With it, prompts are sent as token ids, and are those that a local engine would make;
            without it, as text. Servers that take no ids (transformers serve) need it left out.
        key_env: Environment variable that holds the key; a server without keys needs none.
        timeout_s: Seconds after which one request is given up, and asked again.
        patience_s: Seconds for which a server that does not answer, or refuses work, is asked again. Then the run ends, and the
            same command goes on.
        extra_body: Further keys of every request, as the server names them (``{top_k: 20}``).
    """

    urls: tuple[str, ...] = attrs.field(default=(), validator=validators.deep_iterable(_address))
    concurrency: int = attrs.field(default=32, validator=[validators.ge(1), validators.le(4096)])
    api: Literal["auto", "completions", "chat"] = "auto"
    tokenizer: str | None = None
    key_env: str = attrs.field(default="OPENAI_API_KEY", validator=_variable)
    timeout_s: float = attrs.field(default=600.0, validator=validators.gt(0))
    patience_s: float = attrs.field(default=300.0, validator=validators.ge(0))
    extra_body: Mapping[str, Any] = attrs.field(factory=dict, validator=_not_ours)


def parse_reference(reference: str) -> tuple[str, str]:
    """``openai:http://host:8000/v1#model`` → address and model's name (``""`` where none is named).

    Raises:
        ConfigError: It is not of that form.
    """
    url, _, model = reference.removeprefix(PREFIX).partition("#")
    try:
        _address(None, None, url)
    except ValueError as error:
        raise wmtp.ConfigError(
            f"model.base_id: what follows 'openai:' {error}; the model's name comes behind a '#'"
        ) from None
    return url.rstrip("/"), model
