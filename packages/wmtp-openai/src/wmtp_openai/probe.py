"""What a server is and what it can do, asked once before the first request."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import httpx2
import openai

import wmtp
from wmtp_openai.client import key_refused
from wmtp_openai.pool import Server
from wmtp_openai.settings import OpenAISettings

SPECULATIVE = re.compile(r"speculative|deterministic|batch_invariant|^version$|quantization|dtype", re.IGNORECASE)
COUNTERS = re.compile(
    r"^vllm:spec_decode_num_(drafts|accepted_tokens_per_pos)(?:_total)?\{([^}]*)\}\s+([0-9]+(?:\.[0-9]*)?(?:[eE][+]?[0-9]+)?)$",
    re.MULTILINE,
)
PASSING = frozenset({408, 425, 429, 500, 502, 504})
"""Statuses that say nothing of a server but that it, or what stands before it, had no time."""
PAUSES_S = (0.25, 1.0)
"""Between attempts at a question."""
PROBE_S = 60.0


class OtherModelError(wmtp.ConfigError):
    """A server does not serve the model that is meant."""


@attrs.frozen(kw_only=True)
class ServerInfo:
    """What a server said of itself.

    Attributes:
        kind: ``vllm``, ``sglang``, ``llama.cpp``, ``transformers`` (its own serve command), or ``unknown``.
        model: The model's name, as requests must say it.
        weights: What it tells of the weights behind that name, which can be given to others: their size (llama.cpp), or the
            last part of their path (vLLM, SGLang), since machines of one model may keep it in different places. Empty where it
            tells nothing.
        origin: Everything else for the record: version, context, speculative settings. It decides nothing.
        always: Keys that every request to this kind of server carries.
    """

    kind: str
    model: str
    weights: str = ""
    origin: Mapping[str, str]
    always: Mapping[str, Any]

    def is_another_than(self, first: ServerInfo) -> bool:
        """Whether it is another model, or served by another kind of server."""
        other_weights = bool(self.weights and first.weights) and self.weights != first.weights
        return other_weights or (self.kind, self.model) != (first.kind, first.model)

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.model} ({', '.join(filter(None, (self.kind, self.weights)))})"


def innermost(error: BaseException) -> BaseException:
    """What an error was raised from, in the end."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class TwiceError(ValueError):
    """A key stands twice in one object, with two values: nobody can say which one is meant."""


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if value != found[key]:
                raise TwiceError(f"the key {key[:40]!r} stands twice in the answer, with two values")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object_of, parse_constant=lambda name: None)


def parsed(raw: httpx2.Response) -> Any:
    """The body of an answer as JSON. What JSON has no number for (NaN) is ``None``. Raises ValueError."""
    data = raw.content
    try:
        return DECODER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except TwiceError:
        raise
    except (ValueError, RecursionError):
        kind = raw.headers.get("content-type", "no content type")
        raise ValueError(f"the answer is no JSON ({kind}, {len(data)} bytes): {data[:60]!r}") from None


async def probe(server: Server, named: str, settings: OpenAISettings) -> ServerInfo:
    """Asks a server what it is. named: the model, or ``""`` for the only one there is.

    Raises:
        ConfigError: No such model, or several and none named; no OpenAI API under this address; the key is not taken.
        GenerationError: Nobody answers.
    """
    if (found := await _transformers_serve(server, named)) is not None:
        return found
    row = _chosen(server, await _models(server, settings), named)
    name, owner = str(row.get("id")), str(row.get("owned_by", "")).lower()
    root = server.url.removesuffix("/v1")
    origin = {"server": server.url, "name": name}
    if (length := row.get("max_model_len")) is not None:
        origin["context"] = str(length)
    if isinstance(path := row.get("root"), str) and path != name:
        origin["weights"] = path
    props = await _object(server, f"{root}/props")
    if owner == "llamacpp" or "build_info" in props or "default_generation_settings" in props:
        defaults = props.get("default_generation_settings")
        origin |= {"version": str(props.get("build_info", "")), "slots": str(props.get("total_slots", ""))}
        if isinstance(defaults, Mapping):
            origin["context"] = str(defaults.get("n_ctx", ""))
        if not row.get("meta"):  # it lists its model before it has loaded it
            row = _chosen(server, await _models(server, settings), named)
        origin["weights"] = size = _size(row.get("meta"))
        # The warm cache moves logits by as much as 4e-4: a sample would depend on what was asked before it.
        always = {"cache_prompt": False}
        return ServerInfo(kind="llama.cpp", model=name, weights=size, origin=origin, always=always)
    kind = owner if owner in ("vllm", "sglang") else "unknown"
    for path in ("/version", "/get_server_info", "/server_info"):
        for key, value in (await _object(server, f"{root}{path}", ())).items():
            if SPECULATIVE.search(key) and isinstance(value, str | int | float | bool):
                origin[key] = str(value)
            elif key == "model_path" and isinstance(value, str) and value != name:
                origin["weights"] = value
    weights = origin.get("weights", "").rstrip("/").rpartition("/")[2]
    return ServerInfo(kind=kind, model=name, weights=weights, origin=origin, always={})


def _size(meta: Any) -> str:
    """How large llama.cpp's server says that its model is; empty where it does not say."""
    if not isinstance(meta, Mapping) or not meta.get("size"):
        return ""
    return f"{meta.get('n_params')} parameters in {meta['size']} bytes"


def _chosen(server: Server, rows: list[Mapping[str, Any]], named: str) -> Mapping[str, Any]:
    """The row of the model that is meant."""
    names = list(dict.fromkeys(str(row["id"]) for row in rows))
    if named and named not in names:
        raise OtherModelError(f"{server.url} serves no model {named!r}; it serves {', '.join(names) or 'none'}")
    if not named and len(names) != 1:
        raise wmtp.ConfigError(
            f"{server.url} serves {', '.join(names) or 'no model'}; name one behind a '#' in model.base_id"
        )
    return next(row for row in rows if row["id"] == (named or names[0]))


async def _transformers_serve(server: Server, named: str) -> ServerInfo | None:
    """What is known of a server that is transformers' own, which lists the hub's cache and not what it serves."""
    root = server.url.removesuffix("/v1")
    routes = (await _object(server, f"{root}/openapi.json")).get("paths")
    if not isinstance(routes, Mapping) or not set(routes) >= {"/load_model", "/v1/completions", "/v1/responses"}:
        return None
    if not named:
        raise wmtp.ConfigError(
            f"{server.url} is transformers serve, which does not say what it serves; name the model behind a '#' in "
            f"model.base_id as it was named to it (openai:{server.url}#org/name, or a folder)"
        )
    origin = {"server": server.url, "name": named}
    return ServerInfo(kind="transformers", model=named, origin=origin, always={})


async def _get(server: Server, url: str, pauses: Sequence[float] = PAUSES_S) -> httpx2.Response:
    """An answer to a question that is small. Where what is asked decides what server it is, what may pass is asked again.

    Raises:
        openai.APIError: Another status, no connection, no answer in time.
    """
    try:
        async with asyncio.timeout(PROBE_S):  # the client's own counts from byte to byte
            raw: httpx2.Response = await server.client.get(url, cast_to=httpx2.Response)
            return raw
    except openai.APIStatusError as error:
        if not pauses or error.status_code not in PASSING:
            raise
    except TimeoutError:
        raise openai.APITimeoutError(httpx2.Request("GET", server.url)) from TimeoutError(
            f"no answer within {PROBE_S:g} s"
        )
    await asyncio.sleep(pauses[0])
    return await _get(server, url, pauses[1:])


async def _models(server: Server, settings: OpenAISettings) -> list[Mapping[str, Any]]:
    try:
        body = parsed(await _get(server, "/models"))
    except ValueError as error:
        raise wmtp.ConfigError(
            f"{server.url} has no OpenAI API under this path ({error}); {_rather(server.url)}, and a proxy before it must let "
            "it through"
        ) from None
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise wmtp.ConfigError(key_refused(server.url, f"{error.status_code}: {error.message}", settings)) from None
    except openai.NotFoundError:
        raise wmtp.ConfigError(f"{server.url} has no OpenAI API under this path; {_rather(server.url)}") from None
    except openai.APIConnectionError as error:
        why = innermost(error)
        shown = f"{type(why).__name__}: {why}".rstrip(": ")
        tls = ""
        if "SSL" in shown:
            tls = " It may speak http and not https, or have a certificate that nobody here trusts."
        elif isinstance(why, httpx2.ReadError | httpx2.RemoteProtocolError):
            tls = " Something listens there that does not speak http; it may be https."
        raise wmtp.GenerationError(
            f"no server answers at {server.url} ({shown}); start it, or mend the address in model.base_id.{tls}"
        ) from None
    except openai.APIStatusError as error:
        raise wmtp.GenerationError(
            f"{server.url} answers {error.status_code} when asked for its models: it is not up yet, or a proxy before it does "
            "not reach it or does not let us through; start it, or mend the address in model.base_id"
        ) from None
    rows = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(r, Mapping) and isinstance(r.get("id"), str) for r in rows):
        raise wmtp.ConfigError(f"{server.url} answers with something that is no list of models; {_rather(server.url)}")
    return rows


def _rather(url: str) -> str:
    """The address that was probably meant."""
    base = re.sub(r"/(?:chat/completions|completions|models|responses)$", "", url)
    if base == url and not url.endswith("/v1"):
        base = re.match(r"https?://[^/]*", url)[0] + "/v1"  # type: ignore[index]
    return f"it usually ends in /v1: {base}" if base != url else "it usually ends in /v1"


async def _object(server: Server, url: str, pauses: Sequence[float] = PAUSES_S) -> Mapping[str, Any]:
    """What a server answers beside the API, where it does; an empty mapping where it has nothing to say.

    Raises:
        GenerationError: It is loading its model: llama.cpp's server lists that already, and says nothing else yet.
    """
    try:
        body = parsed(await _get(server, url, pauses))
    except openai.APIStatusError as error:
        if error.status_code == 503 and "loading" in error.message.lower():
            raise wmtp.GenerationError(
                f"{server.url} is not up yet (503: {error.message}); start the run once it has loaded its model"
            ) from None
        return {}
    except (openai.APIError, ValueError):
        return {}
    return body if isinstance(body, Mapping) else {}


async def draft_counters(server: Server) -> tuple[int, tuple[int, ...]]:
    """Drafts made and drafts accepted at each position, over the server's life, as vLLM's Prometheus page has them."""
    try:
        raw = await _get(server, f"{server.url.removesuffix('/v1')}/metrics", ())
    except openai.APIError:
        return 0, ()
    drafts, by_position = 0, dict[int, int]()
    for name, labels, value in COUNTERS.findall(raw.text):
        if name == "drafts":
            drafts += int(float(value))
        elif position := re.search(r'position="(\d+)"', labels):
            by_position[int(position[1])] = by_position.get(int(position[1]), 0) + int(float(value))
    return drafts, tuple(by_position.get(i, 0) for i in range(max(by_position, default=-1) + 1))
