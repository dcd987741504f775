"""Samples of one run come from one model: a name is no proof of it, and what stands behind it may change in the middle."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from openai_server import FAULTS, Handler, StandIn, _status

import wmtp
from wmtp_openai.engine import OpenAIEngine

Opened = Callable[..., OpenAIEngine]
LONG = "def add(x, y):  # the sum of both, as an integer\n"


def asked(count: int, **fields: Any) -> list[wmtp.GenerationRequest]:
    fields = {"prompt": LONG, "max_new_tokens": 8, "stop": (" END",)} | fields
    return [
        wmtp.GenerationRequest(key=wmtp.SampleKey(evaluator="e", problem=str(i), index=0), **fields)
        for i in range(count)
    ]


def answers(engine: OpenAIEngine, count: int = 4) -> list[wmtp.Completion]:
    return list(engine.generate(asked(count), wmtp.Sampling()))


@pytest.mark.parametrize("fault", ["reset before", "503", "502 page"])
@pytest.mark.parametrize(
    ("kind", "before", "then"),
    [
        ("vllm", {"root": "/models/step-1000"}, {"root": "/models/step-2000"}),
        ("vllm", {"root": "/runs/7/last"}, {"root": "/runs/8/last"}),
        ("sglang", {"root": "/models/step-1000"}, {"root": "/models/step-2000"}),
        ("llama.cpp", {"size": 500_000}, {"size": 300_000}),
    ],
)  # fmt: skip
def test_other_weights_of_the_same_name_end_the_run(
    kind: str, before: dict[str, Any], then: dict[str, Any], fault: str, opened: Opened
) -> None:
    """A proxy before a server answers 503 while it is started anew."""

    def restarts(handler: Handler, body: dict[str, Any]) -> None:
        vars(server).update(then)
        FAULTS[fault](handler, body)

    server = StandIn(kind).started()
    vars(server).update(before)
    engine = opened(server, patience_s=20, concurrency=1)
    assert answers(engine, 1)
    server.faults = [restarts]
    with pytest.raises(
        wmtp.GenerationError, match=r"which was away, serves our/model .* now.*as before or as the others"
    ):
        answers(engine)
    server.stop()


def test_servers_of_one_name_and_other_weights_are_no_engine(opened: Opened) -> None:
    for kind, attribute, values in (("llama.cpp", "size", (5, 6)), ("vllm", "root", ("/a/one", "/a/two"))):
        servers = [StandIn(kind).started() for _ in values]
        for server, value in zip(servers, values, strict=True):
            setattr(server, attribute, value)
        with pytest.raises(wmtp.ConfigError, match="samples of one run come from one model"):
            opened(servers[0], urls=(servers[1].url,))
        for server in servers:
            server.stop()


def test_one_model_may_lie_in_different_places(server: StandIn, opened: Opened) -> None:
    other = StandIn().started()
    server.root, other.root = "/mnt/models/ours", "/data/ours/"
    engine = opened(server, urls=(other.url,))
    assert engine.identity["weights"] == "ours"
    assert engine.origin["weights"] == "/mnt/models/ours"
    other.stop()


def test_a_list_made_before_the_model_was_loaded_is_asked_for_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, lists = Handler.do_GET, itertools.count()

    def loads(self: Handler) -> None:
        if self.path == "/v1/models" and not next(lists):
            self.json(200, {"data": [{"id": "our/model", "owned_by": "llamacpp", "meta": None}]})
        else:
            get(self)

    monkeypatch.setattr(Handler, "do_GET", loads)
    server = StandIn("llama.cpp").started()
    assert opened(server).identity["weights"] == "1000 parameters in 500000 bytes"
    server.stop()


def test_one_of_several_servers_that_answers_with_another_model_ends_the_run(server: StandIn, opened: Opened) -> None:
    """Its list says one name, its answers another."""
    other = StandIn().started()
    other.shape = lambda body, answer: answer | {"model": "our/other"}
    with pytest.raises(wmtp.GenerationError, match=r"answers with .*, and http\S+ answered with .* before"):
        answers(opened(server, urls=(other.url,), concurrency=1), 40)
    other.stop()


def test_another_version_after_a_restart_is_noted(
    server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Handler.do_GET

    def newer(self: Handler) -> None:
        self.json(200, {"version": "0.34.0"}) if self.path == "/version" else get(self)

    engine = opened(server, patience_s=20)
    monkeypatch.setattr(Handler, "do_GET", newer)
    server.faults = [FAULTS["reset before"]]
    assert len(answers(engine)) == 4
    assert any("version 0.34.0, before 0.33.0" in note for note in engine.stats.notes)


def test_a_server_of_one_model_that_is_asked_for_another_ends_the_run(server: StandIn, opened: Opened) -> None:
    """As transformers serve says it, which lists nothing."""
    server.faults = [_status(400, {"detail": "Server is pinned to 'our/one'; requested 'our/model'."})]
    with pytest.raises(wmtp.GenerationError, match=r"serves another model.*model\.base_id.*pinned to 'our/one'"):
        answers(opened(server))


def test_a_prompt_that_the_server_cuts_is_too_long(
    server: StandIn, opened: Opened, tiny_llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.shape = lambda body, answer: answer | {"usage": answer["usage"] | {"prompt_tokens": len(body["prompt"]) - 1}}
    engine = opened(server, tokenizer=str(tiny_llama))
    (found,) = answers(engine, 1)
    assert (found.finish_reason, found.text) == ("too-long", "")
    assert "it cuts prompts" in found.error


def test_answers_that_begin_with_their_prompt_are_told(server: StandIn, opened: Opened) -> None:
    server.write = lambda body: body["prompt"] + "    return x + y END"
    engine = opened(server)
    answers(engine)
    assert any(note.startswith("4 answers begin with the whole prompt") for note in engine.stats.notes)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking", "reasoning_text", "thought"])
def test_reasoning_is_kept_under_whatever_name_it_comes(name: str, server: StandIn, opened: Opened) -> None:
    def shape(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        answer["choices"][0]["message"] |= {name: "I think", "reasoning_details": [{"text": "I think"}]}
        return answer

    server.shape = shape
    (found,) = opened(server).generate(
        asked(1, prompt=None, messages=({"role": "user", "content": "x"},)), wmtp.Sampling()
    )
    assert found.extra == {"reasoning": "I think", "reasoning_details": [{"text": "I think"}]}


@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_a_turn_of_somebody_else_is_no_answer(role: str, server: StandIn, opened: Opened) -> None:
    server.shape = lambda body, answer: (
        answer
        if len(server.seen) > 1
        else answer | {"choices": [answer["choices"][0] | {"message": {"role": role, "content": "x"}}]}
    )
    (found,) = opened(server).generate(
        asked(1, prompt=None, messages=({"role": "user", "content": "x"},)), wmtp.Sampling()
    )
    assert (found.finish_reason, len(server.seen)) == ("stop", 2)


def test_a_server_that_has_no_time_is_left_alone_longer_and_longer(server: StandIn, opened: Opened) -> None:
    """`Retry-After: 0` is no wish to be asked without end."""
    server.faults = [_status(429, None, Retry_After="0")] * 1000
    with pytest.raises(wmtp.GenerationError, match=r"no server has answered for 0\.8 s"):
        answers(opened(server, patience_s=0.8))
    assert len(server.seen) < 12
