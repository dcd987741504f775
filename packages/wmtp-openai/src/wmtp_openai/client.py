"""The client of one server: openai's, over connections of ours, and its key."""

from __future__ import annotations

import os
from typing import Any

import httpx2
import openai

import wmtp
from wmtp_openai.connections import PACKED, Connections, proxy_of
from wmtp_openai.settings import OpenAISettings

CONNECT_S = 30.0
"""Whoever takes no connection for so long is away, however long an answer may take."""
TOLD = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async")
HEADERS: dict[str, Any] = {
    **{f"X-Stainless-{name}": openai.Omit() for name in TOLD},
    "Accept-Encoding": ", ".join(PACKED),
}
"""Without what the library tells of this machine: no server asks for it, and each header is copied and checked on its way."""
UNSENT_OF_A_REQUEST = {"x-stainless-retry-count": openai.Omit(), "x-stainless-read-timeout": openai.Omit()}


def open_client(url: str, settings: OpenAISettings) -> openai.AsyncOpenAI:
    """A client that asks once: whether to ask again is ours to say.

    Raises:
        ConfigError: The address or the key is none that can be used.
    """
    key = _key(settings)
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise wmtp.ConfigError(
            f"{url} is no address ({error}); mend it in model.base_id, or model.loaders.openai.urls"
        ) from None
    proxy = proxy_of(address)
    try:
        connections = Connections(proxy)
    except (httpx2.InvalidURL, ValueError, ImportError) as error:
        raise wmtp.ConfigError(
            f"the environment names a proxy for {url} that cannot be used ({error}): mend or unset HTTP_PROXY, HTTPS_PROXY and "
            "ALL_PROXY, or except the server in NO_PROXY"
        ) from None
    http = openai.DefaultAsyncHttpxClient(transport=connections)
    # Shorter than the whole, so that a server that takes no connection is told from one that does not answer.
    timeout = httpx2.Timeout(settings.timeout_s, connect=min(CONNECT_S, 0.9 * settings.timeout_s))
    return openai.AsyncOpenAI(
        base_url=url, api_key=key, max_retries=0, timeout=timeout, http_client=http, default_headers=HEADERS
    )


def _key(settings: OpenAISettings) -> str:
    """The key, or what stands for none: the client insists on one."""
    key = os.environ.get(settings.key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise wmtp.ConfigError(
            f"the environment variable {settings.key_env} holds no key: in it is a line break, or a letter that no header of "
            "HTTP has; set it again (model.loaders.openai.key_env names the variable)"
        )
    return key or "none"


def key_refused(url: str, said: str, settings: OpenAISettings) -> str:
    """What is wrong where a server does not let us in, and what to do."""
    if not os.environ.get(settings.key_env, "").strip():
        return (
            f"{url} wants a key ({said}), and the environment variable {settings.key_env} is not set: set it, or name another "
            "one in model.loaders.openai.key_env"
        )
    return (
        f"{url} does not take the key in the environment variable {settings.key_env} ({said}): set it anew, or name another "
        "one in model.loaders.openai.key_env"
    )
