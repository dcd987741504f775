"""`wmtp doctor --model openai:…`: what a server can do is tried out, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from openai_server import StandIn, drawn


def told(wmtp: Callable[..., Any], url: str) -> dict[str, tuple[bool | None, str]]:
    done = wmtp("doctor", "--model", f"openai:{url}", "--json")
    assert done.returncode == 0, done.stderr
    (checks,) = json.loads(done.stdout).values()
    return {c["name"]: (c["ok"], c["detail"]) for c in checks}


def test_what_a_server_can_do_is_told(server: StandIn, wmtp: Callable[..., Any]) -> None:
    found = told(wmtp, server.url)
    assert found["server"] == (True, "vllm, model our/model, context 4096, version 0.33.0")
    can = (
        "temperature 0",
        "sampling",
        "seed",
        "stop strings",
        "prompts as token ids",
        "chat",
        "template_args",
        "prefill",
        "drafts",
    )
    assert {name: found[name][0] for name in can} == dict.fromkeys(can, True)
    assert found["logprobs"] == (None, "taken and not answered")
    table = wmtp("doctor", "--model", f"openai:{server.url}").stdout
    assert "  ok    sampling" in table


def test_what_it_cannot_do_is_told(wmtp: Callable[..., Any]) -> None:
    server = StandIn("someone").started()
    server.write = lambda body: drawn(body | {"temperature": 0})
    found = told(wmtp, server.url)
    server.stop()
    assert found["sampling"] == (False, "three answers at temperature 1.5 are one text: sampling is refused")
    assert found["seed"] == (None, "four seeds gave one text")
    assert found["template_args"] == (None, "not sent here")
    assert found["prefill"][0] is None


def test_no_server_is_told(wmtp: Callable[..., Any]) -> None:
    ok, detail = told(wmtp, "http://127.0.0.1:9/v1")["server"]
    assert ok is False
    assert "no server answers" in detail
