"""The engine for OpenAI-style servers: what is asked, what is taken, and that nothing else ever becomes a sample."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai_server import FAULTS, Handler, StandIn, _bytes, _status, drawn

import wmtp
from wmtp_openai.connections import proxy_of
from wmtp_openai.engine import OpenAIEngine, open_engine
from wmtp_openai.errors import retry_after
from wmtp_openai.pool import Server
from wmtp_openai.seeds import SEEDS, request_seed
from wmtp_openai.settings import OpenAISettings, parse_reference

Opened = Callable[..., OpenAIEngine]
GREEDY, SAMPLED = wmtp.Sampling(), wmtp.Sampling(temperature=0.8, top_p=0.9, n=3, seed=7)


def wanted(problems: int, n: int = 1, **fields: Any) -> list[wmtp.GenerationRequest]:
    """Requests for `n` samples of each problem."""
    fields = {"stop": (" END",), "max_new_tokens": 8} | fields
    return [
        wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem=str(p), index=i), **({"prompt": f"prompt {p}:"} | fields)
        )
        for p in range(problems)
        for i in range(n)
    ]


def right(request: wmtp.GenerationRequest, sampling: wmtp.Sampling) -> str:
    """What the stand-in writes for a request, cut where it should be."""
    body = {
        "prompt": request.prompt,
        "temperature": sampling.temperature,
        "seed": request_seed(sampling.seed or 0, request.key),
    }
    return drawn(body).partition(" END")[0]


def test_a_request_says_everything_and_nothing_that_is_not_wanted(server: StandIn, opened: Opened) -> None:
    (request,) = wanted(1, stop=())
    list(opened(server).generate([request], SAMPLED))
    assert server.seen[-1] == {
        "model": "our/model", "prompt": "prompt 0:", "max_tokens": 8, "temperature": 0.8, "top_p": 0.9,
        "seed": request_seed(7, request.key),
    }  # fmt: skip


def test_each_sample_has_a_seed_of_its_own_that_no_attempt_changes(server: StandIn, opened: Opened) -> None:
    requests = wanted(4, 3)
    engine = opened(server)
    list(engine.generate(requests[:1], SAMPLED))
    server.faults = [_status(500), _status(500)]
    found = {c.key: c.text for c in engine.generate(requests, SAMPLED)}
    assert found == {r.key: right(r, SAMPLED) for r in requests}
    assert len({request_seed(7, r.key) for r in requests}) == len(requests)


def test_seeds_are_far_from_one_another_and_never_the_one_that_means_random() -> None:
    keys = [wmtp.SampleKey(evaluator="e", problem=str(p), index=i) for p in range(20) for i in range(50)]
    seeds = sorted(request_seed(0, key) for key in keys)
    assert all(0 <= seed < SEEDS for seed in seeds)
    assert min(b - a for a, b in itertools.pairwise(seeds)) > 1


AWAY = ("half and reset", "closed", "fewer bytes than promised", "no gzip", "redirect to a file")
BROKEN = (
    *AWAY, "spoilt gzip", "a chunk and no end", "no HTTP", "half in a chunk and reset", "a chunk that is cut", "two lengths",
    "a chunk longer than it says", "chunks of no length", "a length below nothing", "goes on and ends",
    "another protocol from now on",
)  # fmt: skip
"""A connection that breaks is a server that is away, however often; one that says so with a status too."""
SLOW = ("late", "byte by byte", "endless", "headers for ever")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_the_right_completion(name: str, server: StandIn, opened: Opened) -> None:
    requests = wanted(3)
    server.faults = [FAULTS[name]]
    found = {
        c.key: c
        for c in opened(server, timeout_s=0.7 if name in SLOW else 10.0, patience_s=20).generate(requests, GREEDY)
    }
    assert {k: c.text for k, c in found.items()} == {r.key: right(r, GREEDY) for r in requests}
    assert all(c.finish_reason == "stop" for c in found.values())
    assert not server.asked_again()


@pytest.mark.parametrize(
    "name",
    [n for n in FAULTS if n[:2] not in ("42", "50", "52") and n[:9] != "reset bef" and n not in (*BROKEN, *SLOW)],
)
def test_a_fault_that_stays_ends_in_a_missing_sample(
    name: str, server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmtp_openai.requests.FIRST_PAUSE_S", 0.001)
    (request,) = wanted(1)
    server.faults = [FAULTS[name]] * 100
    (found,) = opened(server, patience_s=0.2).generate([request], GREEDY)
    assert (found.finish_reason, found.text) == ("error", "")
    assert "asked 6 times" in found.error


@pytest.mark.parametrize(
    "name", ["429 without", "503", "502 page", "reset before", "429 until the end of time", "429 with no time", *AWAY]
)
def test_a_server_that_stays_away_ends_the_run_and_says_so(name: str, server: StandIn, opened: Opened) -> None:
    server.faults = [FAULTS[name]] * 1000
    with pytest.raises(wmtp.GenerationError, match=r"no server has answered for 0\.2 s") as error:
        list(opened(server, patience_s=0.2).generate(wanted(20), GREEDY))
    assert server.url in str(error.value)
    assert "the same command" in str(error.value)


@pytest.mark.parametrize(("status", "says"), [(400, "top_p"), (422, "top_p"), (413, "top_p")])
def test_a_request_that_is_refused_is_missing_and_the_others_go_on(
    status: int, says: str, server: StandIn, opened: Opened
) -> None:
    server.faults = [_status(status, {"error": {"message": "top_p is unknown"}})]
    found = list(opened(server, concurrency=1).generate(wanted(3), GREEDY))
    assert sorted(c.finish_reason for c in found) == ["error", "stop", "stop"]
    assert says in next(c.error for c in found if c.finish_reason == "error")
    assert len(server.seen) == 3


LONG = {
    "vLLM": (400, {"error": {"message": "This model's maximum context length is 64 tokens. However, you requested 90 tokens"}}),
    "vLLM, the older form": (400, {"object": "error", "message": "The decoder prompt (length 90) is longer than the maximum "
                                   "model length of 64. Make sure that `max_model_len` is no smaller"}),
    "SGLang": (400, {"message": "The input (90 tokens) is longer than the model's context length (64 tokens)."}),
    "llama.cpp": (400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "request (90 tokens) exceeds "
                                  "the available context size (64 tokens), try increasing it"}}),
    "TGI": (422, {"error": "Input validation error: `inputs` must have less than 64 tokens. Given: 90"}),
    "OpenAI": (400, {"error": {"code": "context_length_exceeded", "message": "Please shorten it."}}),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_a_prompt_that_is_too_long_for_the_servers_model_is_told_apart(
    name: str, server: StandIn, opened: Opened
) -> None:
    status, body = LONG[name]
    server.faults = [_status(status, body)]
    found = list(opened(server, concurrency=1).generate(wanted(2), GREEDY))
    assert sorted(c.finish_reason for c in found) == ["stop", "too-long"]
    assert all(bool(c.error) == (c.finish_reason == "too-long") for c in found)


@pytest.mark.parametrize("message", ["'messages' is too long a word", "context is a reserved word", "bad seed"])
def test_other_refusals_are_errors(message: str, server: StandIn, opened: Opened) -> None:
    server.faults = [_status(400, {"error": {"message": message}})]
    (found,) = opened(server).generate(wanted(1), GREEDY)
    assert found.finish_reason == "error"
    assert message in found.error


def test_a_key_that_is_refused_in_the_middle_ends_the_run(server: StandIn, opened: Opened) -> None:
    server.faults = [_status(401)]
    with pytest.raises(wmtp.GenerationError, match="OPENAI_API_KEY"):
        list(opened(server).generate(wanted(3), GREEDY))


def test_the_key_comes_from_the_variable_that_is_named(
    server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "s3cret"
    with pytest.raises(wmtp.ConfigError, match="wants a key"):
        opened(server)
    monkeypatch.setenv("OUR_KEY", "s3cret")
    engine = opened(server, key_env="OUR_KEY")
    assert "s3cret" not in json.dumps([dict(engine.identity), dict(engine.origin)])


def test_more_stops_than_a_server_takes_are_cut_here(server: StandIn, opened: Opened) -> None:
    (request,) = wanted(1, stop=("1", "2", "3", "4", "END"))
    server.write = lambda body: " a b END c"
    (found,) = opened(server).generate([request], GREEDY)
    assert server.seen[-1]["stop"] == ["1", "2", "3", "4"]
    assert (found.text, found.finish_reason) == (" a b ", "stop")


def test_a_length_stays_a_length_and_a_call_of_a_tool_is_kept(server: StandIn, opened: Opened) -> None:
    engine = opened(server)
    (found,) = engine.generate(wanted(1, stop=()), GREEDY)
    assert found.finish_reason == "length"

    def tools(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        message = {"content": None, "tool_calls": [{"id": 1}], "reasoning_content": "thought"}
        answer["choices"][0] |= {"finish_reason": "tool_calls", "message": message}
        return answer

    server.shape = tools
    (found,) = engine.generate(wanted(1, prompt=None, messages=({"role": "user", "content": "x"},)), GREEDY)
    assert (found.text, found.finish_reason) == ("", "stop")
    assert found.extra == {"reasoning": "thought", "tool_calls": [{"id": 1}], "finish_reason": "tool_calls"}


def test_what_a_content_filter_ended_is_missing_not_wrong(server: StandIn, opened: Opened) -> None:
    server.shape = lambda body, answer: (
        answer | {"choices": [answer["choices"][0] | {"finish_reason": "content_filter"}]}
    )
    (found,) = opened(server).generate(wanted(1), GREEDY)
    assert found.finish_reason == "error"
    assert "content filter" in found.error


def test_a_server_that_does_not_draw_is_refused(server: StandIn, opened: Opened) -> None:
    server.write = lambda body: " the same END"
    with pytest.raises(wmtp.GenerationError, match="does not draw"):
        list(opened(server).generate(wanted(1), SAMPLED))
    list(opened(server).generate(wanted(1), GREEDY))


def test_copies_are_told_loudly(server: StandIn, opened: Opened) -> None:
    """A server that draws without a seed and has one text for all seeds, as under lm-evaluation-harness' one seed for all."""
    server.write = lambda body: drawn(body | {"seed": 1}) if "seed" in body else drawn(body)
    engine = opened(server)
    list(engine.generate(wanted(5, 3), SAMPLED))
    assert any(note.startswith("COPIES") for note in engine.stats.notes)


def test_samples_that_differ_are_not_called_copies(server: StandIn, opened: Opened) -> None:
    engine = opened(server)
    list(engine.generate(wanted(5, 3), SAMPLED))
    assert not any(note.startswith("COPIES") for note in engine.stats.notes)


def test_a_dead_server_is_left_out_and_tried_again(server: StandIn, opened: Opened) -> None:
    other = StandIn().started()
    try:
        engine = opened(server, urls=(other.url,), concurrency=2)
        port = other.server_address[1]
        other.stop()
        requests = wanted(30)
        assert {c.text for c in engine.generate(requests, GREEDY)} == {right(r, GREEDY) for r in requests}
        other = StandIn(port=port).started()
        deadline = time.monotonic() + 60
        while not other.answered and time.monotonic() < deadline:
            list(engine.generate(wanted(30), GREEDY))
        assert other.answered, "back, and asked again"
    finally:
        other.stop()


def test_a_server_that_is_restarted_meanwhile_costs_nothing(server: StandIn, opened: Opened) -> None:
    engine, port = opened(server, patience_s=30), server.server_address[1]
    server.delay_s = 0.02
    back: list[StandIn] = []

    def restart() -> None:
        time.sleep(0.15)
        server.stop()
        time.sleep(0.5)
        back.append(StandIn(port=port).started())

    thread = threading.Thread(target=restart)
    thread.start()
    requests = wanted(300)
    found = {c.key: c for c in engine.generate(requests, GREEDY)}
    thread.join()
    back[0].stop()
    assert {k: c.text for k, c in found.items()} == {r.key: right(r, GREEDY) for r in requests}


def test_a_server_that_says_too_much_is_asked_less(server: StandIn, opened: Opened) -> None:
    server.delay_s = 0.05
    server.faults = [_status(429, None, Retry_After="0.1")] * 4
    requests = wanted(40)
    assert len(list(opened(server, concurrency=16).generate(requests, GREEDY))) == 40
    assert not server.asked_again()


def test_speculation_is_kept_with_the_sample_and_counted_as_the_server_counts(server: StandIn, opened: Opened) -> None:
    engine = opened(server)
    server.shape = lambda body, answer: answer | {"metrics": {"speculative_decoding": {"num_drafts": 4}}}
    (found,) = engine.generate(wanted(1), GREEDY)
    assert found.extra["speculation"] == {"num_drafts": 4}
    list(engine.generate(wanted(5), GREEDY))
    assert (engine.stats.drafted, engine.stats.accepted) == ((6, 6), (6, 3))


def test_what_the_servers_are_is_kept(opened: Opened) -> None:
    for kind, key, value in (("vllm", "version", "0.33.0"), ("sglang", "speculative_algorithm", "NEXTN")):
        server = StandIn(kind).started()
        engine = opened(server)
        assert (engine.identity["server"], engine.identity["name"]) == (kind, "our/model")
        assert engine.origin[key] == value
        server.stop()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("openai:", "must be an address"), ("openai:localhost:8000/v1", "must be an address"),
        ("openai:http://me:pw@127.0.0.1:1/v1", "must be an address"), ("openai:http://127.0.0.1:9/v1", "no server answers"),
    ],
)  # fmt: skip
def test_a_wrong_reference_is_told_without_its_password(reference: str, says: str) -> None:
    with pytest.raises(wmtp.WmtpError, match=says) as error:
        open_engine(reference, OpenAISettings(timeout_s=1))
    assert "pw" not in str(error.value)


def test_wrong_paths_and_names_are_told(server: StandIn) -> None:
    base = server.url.removesuffix("/v1")
    for reference, says in (
        (f"openai:{base}", "usually ends in /v1"),
        (f"openai:{server.url}#other", "serves no model 'other'; it serves our/model"),
    ):  # fmt: skip
        with pytest.raises(wmtp.ConfigError, match=says):
            open_engine(reference, OpenAISettings())


def test_servers_of_different_models_are_no_engine(server: StandIn, opened: Opened) -> None:
    other = StandIn(model="our/other").started()
    with pytest.raises(wmtp.ConfigError, match="samples of one run come from one model"):
        opened(server, urls=(other.url,))
    other.stop()


def test_settings_refuse_what_is_ours() -> None:
    with pytest.raises(ValueError, match="must not hold 'seed'"):
        OpenAISettings(extra_body={"seed": 1})
    with pytest.raises(ValueError, match="name of an environment variable"):
        OpenAISettings(key_env="sk-123")


def test_requests_are_pulled_as_there_is_room(server: StandIn, opened: Opened) -> None:
    pulled = 0

    def source() -> Any:
        nonlocal pulled
        for request in wanted(200):
            pulled += 1
            yield request

    completions = opened(server, concurrency=2).generate(source(), GREEDY)
    next(completions)
    assert pulled <= 2 + 16 + 1
    completions.close()  # type: ignore[attr-defined]
    assert server.most_at_once <= 2


def lost(**message: Any) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    """Every first answer has this turn, and stopped by itself."""
    times = iter([True])

    def shape(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if next(times, False):
            answer["choices"][0] = {"index": 0, "finish_reason": "stop", "message": message}
        return answer

    return shape


TURN = {"prompt": None, "messages": ({"role": "user", "content": "x"},)}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None}, {"role": "assistant"}, {}, {"content": None, "reasoning_content": ""},
        {"content": None, "reasoning": {"text": "x"}}, {"content": "x", "reasoning_content": 3}, {"content": [{"text": "x"}]},
        {"content": None, "tool_calls": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_turn_that_lost_its_content_is_asked_again(message: dict[str, Any], server: StandIn, opened: Opened) -> None:
    server.shape = lost(**message)
    (found,) = opened(server).generate(wanted(1, **TURN), GREEDY)
    assert (found.finish_reason, len(server.seen)) == ("stop", 2)
    assert found.text.startswith(" w")


def test_reasoning_alone_is_an_answer_without_a_text(server: StandIn, opened: Opened) -> None:
    server.shape = lost(content=None, reasoning="I think")
    (found,) = opened(server).generate(wanted(1, **TURN), GREEDY)
    assert (found.text, found.finish_reason, found.extra) == ("", "stop", {"reasoning": "I think"})


@pytest.mark.parametrize(
    "usage",
    [None, [], {}, "many", {"completion_tokens": -5}, {"completion_tokens": "7"}, {"completion_tokens": True}],
    ids=str,
)
def test_usage_that_makes_no_sense_counts_as_none(usage: Any, server: StandIn, opened: Opened) -> None:
    server.shape = lambda body, answer: answer | {"usage": usage}
    engine = opened(server)
    (found,) = engine.generate(wanted(1), GREEDY)
    assert (found.tokens, found.finish_reason) == (0, "stop")
    assert "did not count the tokens of 1 answers" in " ".join(engine.stats.notes)


def test_numbers_that_json_does_not_have_are_none(server: StandIn, opened: Opened) -> None:
    server.shape = lambda body, answer: answer | {"metrics": {"speculative_decoding": {"rate": float("nan")}}}
    (found,) = opened(server).generate(wanted(1), GREEDY)
    assert found.extra["speculation"] == {"rate": None}


def test_one_of_several_servers_that_is_away_at_the_start_joins_when_it_is_back(
    server: StandIn, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    other = StandIn().started()
    port = other.server_address[1]
    other.stop()
    engine = opened(server, urls=(other.url,), concurrency=2)
    assert "left out, and tried again" in caplog.text
    requests = wanted(20)
    assert {c.text for c in engine.generate(requests, GREEDY)} == {right(r, GREEDY) for r in requests}
    back = StandIn(port=port).started()
    deadline = time.monotonic() + 60
    while not back.answered and time.monotonic() < deadline:
        list(engine.generate(wanted(30), GREEDY))
    back.stop()
    assert back.answered


def test_one_that_comes_back_with_another_model_ends_the_run(server: StandIn, opened: Opened) -> None:
    other = StandIn().started()
    port = other.server_address[1]
    other.stop()
    engine = opened(server, urls=(other.url,), concurrency=2)
    back = StandIn(model="our/other", port=port).started()
    server.delay_s = 0.05
    time.sleep(0.6)
    with pytest.raises(wmtp.GenerationError, match=r"serves no model 'our/model'.*urls"):
        list(engine.generate(wanted(60), GREEDY))
    back.stop()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"<html>Sign in</html>", "usually ends in /v1"), (b"{", "usually ends in /v1"), (b"null", "usually ends in /v1"),
        (b'{"data": [{"name": "x"}]}', "usually ends in /v1"), (b"", "usually ends in /v1"),
        (b'{"data": []}', "serves no model"),
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', "serves a, b; name one behind a '#'"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_models_is_told(
    answer: bytes, says: str, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send(200, answer))
    with pytest.raises(wmtp.ConfigError, match=says):
        open_engine(f"openai:{server.url}", OpenAISettings(timeout_s=2))


def test_https_to_a_server_of_http_is_told(server: StandIn) -> None:
    with pytest.raises(wmtp.GenerationError, match="may speak http and not https"):
        open_engine(f"openai:{server.url.replace('http:', 'https:')}", OpenAISettings(timeout_s=2))


def test_a_path_twice_is_told(server: StandIn) -> None:
    with pytest.raises(wmtp.ConfigError, match="usually ends in /v1"):
        open_engine(f"openai:{server.url}/v1", OpenAISettings(timeout_s=2))


def test_an_address_of_ipv6_is_one() -> None:
    assert parse_reference("openai:http://[::1]:8000/v1#m") == ("http://[::1]:8000/v1", "m")


RIGHT: dict[str, Callable[[bytes], bytes]] = {
    "as text": lambda data: data,
    "with a mark of its byte order": lambda data: b"\xef\xbb\xbf" + data,
    "with lines around it": lambda data: b"\n\n" + data + b"\n",
    "in UTF-16": lambda data: data.decode().encode("utf-16"),
    "with keys that nobody knows": lambda data: data.replace(b'"index"', b'"who": {"knows": [1e400, null]}, "index"'),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_answer_in_an_odd_form_is_an_answer(name: str, server: StandIn, opened: Opened) -> None:
    (request,) = wanted(1)
    server.faults = [lambda h, b: h.send(200, RIGHT[name](json.dumps(h.answer(b)).encode()), "text/plain")]
    (found,) = opened(server).generate([request], GREEDY)
    assert (found.text, len(server.seen)) == (right(request, GREEDY), 1)


LENGTH = b"Content-Length: %d\r\n\r\n%b"
SENT: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda d: _framed(gzip.compress(d), b"gzip"),
    "GZIP": lambda d: _framed(gzip.compress(d), b"GZIP"),
    "deflate": lambda d: _framed(zlib.compress(d), b"deflate"),
    "an encoding of no name": lambda d: _framed(d, b""),
    "101 bytes a chunk, with a trailer": lambda d: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x;a=b\r\n%b\r\n" % (len(d[i : i + 101]), d[i : i + 101]) for i in range(0, len(d), 101))
        + b"0\r\nX-After: 1\r\n\r\n"
    ),
    "words before the answer": lambda d: (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _framed(d, b"identity")
    ),
    "HTTP/1.0": lambda d: b"HTTP/1.0 200 OK\r\n" + LENGTH % (len(d), d),
}
"""How an answer may be sent."""


def _framed(data: bytes, encoding: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n" % encoding + LENGTH % (len(data), data)


@pytest.mark.parametrize("ends", [False, True])
def test_however_an_answer_is_sent_it_is_one(ends: bool, server: StandIn, opened: Opened) -> None:
    requests = wanted(len(SENT))
    server.faults = [_bytes(make, ends=ends) for make in SENT.values()]
    found = opened(server, concurrency=1, patience_s=20).generate(requests, GREEDY)
    assert {c.key: c.text for c in found} == {r.key: right(r, GREEDY) for r in requests}
    assert len(server.seen) == len(requests)


def test_a_date_is_read_by_the_servers_clock() -> None:
    """Ours may be hours before it or behind."""
    now = {"Date": "Sat, 01 Jan 2022 00:00:00 GMT"}
    for wish, seconds in (
        ("Sat, 01 Jan 2022 00:00:07 GMT", 7),
        ("Fri, 31 Dec 2021 23:00:00 GMT", 0),
        ("7", 7),
        ("-7", 0),
    ):
        answer = httpx2.Response(429, headers=now | {"Retry-After": wish}, request=httpx2.Request("POST", "http://x"))
        assert retry_after(openai.APIStatusError("", response=answer, body=None)) == seconds


@pytest.mark.parametrize(("packed", "told"), [("gzip", "256 KiB, compressed"), ("br", "not asked for")])
def test_what_is_compressed_is_no_longer_than_it_may_be(
    packed: str, told: str, server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client unpacks an answer whole, so a small one can fill the memory."""
    monkeypatch.setattr("wmtp_openai.requests.FIRST_PAUSE_S", 0.001)
    noise = random.Random(1).randbytes(300_000)
    server.faults = [lambda h, b: h.send(200, gzip.compress(noise), Content_Encoding=packed)] * 10
    (found,) = opened(server).generate(wanted(1), GREEDY)
    assert (found.finish_reason, told in found.error) == ("error", True), found.error


@pytest.mark.parametrize("named", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_that_the_environment_names_is_asked(
    named: str, server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(named, server.url.removesuffix("/v1").removeprefix("http://"))
    requests = wanted(3)
    engine = open_engine("openai:http://model.example:8000/v1", OpenAISettings(timeout_s=5.0))
    try:
        assert {c.key: c.text for c in engine.generate(requests, GREEDY)} == {r.key: right(r, GREEDY) for r in requests}
    finally:
        engine.close()
    assert len(server.answered) == len(requests)
    assert set(server.proxied) >= {"http://model.example:8000/v1/completions"}
    server.proxied.clear()
    list(opened(server).generate(requests, GREEDY))
    assert not server.proxied, "an address of this machine is behind no proxy"
    monkeypatch.setenv("NO_PROXY", "model.example")
    assert proxy_of(httpx2.URL("http://model.example:8000/v1")) is None


def test_a_proxy_that_cannot_be_used_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "ftp://proxy.example")
    with pytest.raises(wmtp.ConfigError, match=r"a proxy for http://model\.example.*unset HTTP_PROXY"):
        open_engine("openai:http://model.example:8000/v1", OpenAISettings())


@pytest.mark.parametrize(
    "text", ["\ud800 x", "a\x00b", "\u2028", "\ufffe", "x" * 2**20], ids=["surrogate", "nul", "line", "ffe", "1M"]
)
def test_odd_letters_of_an_answer_come_through(text: str, server: StandIn, opened: Opened) -> None:
    server.write = lambda body: text
    (found,) = opened(server).generate(wanted(1), GREEDY)
    assert found.text == text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Unrecognized request argument supplied: seed"}}),
        (
            422,
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        ),
        (400, {"error": {"message": "seed is not supported by this model"}}),
    ],
)
def test_a_server_that_takes_no_seeds_is_asked_without_and_it_is_said(
    status: int, body: dict[str, Any], server: StandIn, opened: Opened
) -> None:
    engine = opened(server, concurrency=1)
    server.faults = [lambda h, b: h.json(200, h.answer(b))] * 2 + [_status(status, body)]
    found = list(engine.generate(wanted(4), SAMPLED))
    assert [c.finish_reason for c in found] == ["stop"] * 4
    assert not any("seed" in asked for asked in server.seen[3:])
    assert any("takes no seeds" in note for note in engine.stats.notes)


def test_requests_that_were_under_way_when_the_seed_was_refused_are_asked_again_too(
    server: StandIn, opened: Opened
) -> None:
    together = threading.Barrier(4)

    def refuse(handler: Any, body: dict[str, Any]) -> None:
        together.wait(30)
        handler.json(400, {"error": {"message": "Unrecognized request argument supplied: seed"}})

    engine = opened(server, concurrency=4, timeout_s=60.0)
    server.faults = [refuse] * 4
    found = list(engine.generate(wanted(4), GREEDY))
    assert [c.finish_reason for c in found] == ["stop"] * 4


@pytest.mark.parametrize(
    "name", ["429 with Retry-After", "503", "502 page", "500", "200 page", "reset before", "closed"]
)
def test_a_fault_of_the_first_draws_costs_nothing(name: str, server: StandIn, opened: Opened) -> None:
    requests = wanted(4)
    engine = opened(server, patience_s=20)
    server.faults = [FAULTS[name]]
    found = {c.key: c.text for c in engine.generate(requests, SAMPLED)}
    assert found == {r.key: right(r, SAMPLED) for r in requests}
    assert not server.asked_again()


def test_first_draws_that_are_refused_or_never_answered_end_the_run(
    server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmtp_openai.requests.FIRST_PAUSE_S", 0.001)
    for fault, says in ((_status(400), "fault 400"), (FAULTS["200 page"], "asked 6 times")):
        server.faults = [fault] * 100
        with pytest.raises(wmtp.GenerationError, match=f"no server answers a first request: .*{says}"):
            list(opened(server).generate(wanted(3), SAMPLED))


def test_each_of_several_servers_must_draw(server: StandIn, opened: Opened) -> None:
    other = StandIn().started()
    other.write = lambda body: " the same END"
    with pytest.raises(wmtp.GenerationError, match=f"{other.url} wrote the same text"):
        list(opened(server, urls=(other.url,), concurrency=2).generate(wanted(40), SAMPLED))
    other.stop()


@pytest.mark.parametrize("name", ["200 page", "500", "half JSON", "finish reason error"])
def test_one_of_several_servers_that_never_answers_is_left_to_the_others(
    name: str, server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmtp_openai.requests.FIRST_PAUSE_S", 0.001)
    other = StandIn().started()
    other.faults = [FAULTS[name]] * 10_000
    server.delay_s = 0.01
    requests = wanted(120)
    found = {c.key: c.text for c in opened(server, urls=(other.url,), concurrency=4).generate(requests, GREEDY)}
    other.stop()
    assert found == {r.key: right(r, GREEDY) for r in requests}
    assert len(other.seen) < 40


def test_answers_that_are_odd_are_counted(server: StandIn, opened: Opened) -> None:
    """Empty, thought alone, cut off before the length that was asked for, and longer than it."""

    def shape(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        text, thought, finish, tokens = {
            "0": ("", None, "stop", 1), "1": ("", "I think", "stop", 3), "2": (" a b", None, "length", 5),
            "3": (" a b", None, "stop", 20), "4": (" a", None, "length", 8), "5": (" a", None, "stop", 9),
        }[body["messages"][0]["content"]]  # fmt: skip
        message = {"role": "assistant", "content": text, "reasoning": thought}
        answer["choices"][0] = {"index": 0, "message": message, "finish_reason": finish}
        return answer | {"usage": {"completion_tokens": tokens}}

    server.shape = shape
    engine = opened(server)
    for i in range(6):
        list(engine.generate(wanted(1, prompt=None, messages=({"role": "user", "content": str(i)},)), GREEDY))
    empty, cut, long = engine.stats.notes
    assert "is empty 2 times, 1 of them with reasoning alone" in empty
    assert cut.startswith("1 answers were cut off before max_new_tokens, after 5 tokens")
    assert long.startswith("1 answers are longer than max_new_tokens")


def test_draws_are_tried_on_a_server_that_is_there(server: StandIn, opened: Opened) -> None:
    away = StandIn().started()
    away.stop()
    requests = wanted(4)
    found = list(opened(away, urls=(server.url,)).generate(requests, SAMPLED))
    assert {c.text for c in found} == {right(r, SAMPLED) for r in requests}


def test_a_server_that_is_a_new_process_has_counted_nothing_and_one_that_tells_nothing_changes_nothing() -> None:
    one = Server("u", None, 1)
    one.rebase((100, (80,)))
    one.rebase((0, ()))
    assert one.counted == (100, (80,))
    one.rebase((120, (90,)))
    assert one.counted == (100, (80,))
    one.rebase((7, (5,)))
    assert one.counted == (0, (0,))


def test_a_server_that_answers_with_another_model_ends_the_run(server: StandIn, opened: Opened) -> None:
    """Some take any name, and answer with what they have loaded meanwhile."""
    server.shape = lambda body, answer: answer | {"model": "our/other" if len(server.seen) > 3 else "our/model"}
    with pytest.raises(wmtp.GenerationError, match=r"answers with 'our/other', and answered with 'our/model' before"):
        list(opened(server, concurrency=1).generate(wanted(8), GREEDY))


def test_a_model_that_is_gone_in_the_middle_ends_the_run(server: StandIn, opened: Opened) -> None:
    engine = opened(server, concurrency=1)
    server.model = "our/other"
    with pytest.raises(wmtp.GenerationError, match="serves the model no more"):
        list(engine.generate(wanted(3), GREEDY))


def test_a_server_that_comes_back_with_another_model_ends_the_run(server: StandIn, opened: Opened) -> None:
    def restarts(handler: Handler, body: dict[str, Any]) -> None:
        server.model = "our/other"
        handler.reset()

    engine = opened(server, patience_s=20)
    server.faults = [restarts]
    with pytest.raises(wmtp.GenerationError, match=r"serves no model 'our/model'.*was away"):
        list(engine.generate(wanted(1), GREEDY))


def test_a_server_that_is_back_and_still_loads_is_waited_for(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp's server lists its model before it has loaded it; all else is 503 until then."""
    server = StandIn("llama.cpp").started()
    engine = opened(server, patience_s=20)
    get, asked = Handler.do_GET, itertools.count()

    def loads(self: Handler) -> None:
        if self.path == "/props" and next(asked) < 2:
            self.json(503, {"error": {"message": "Loading model"}})
        else:
            get(self)

    monkeypatch.setattr(Handler, "do_GET", loads)
    server.faults = [FAULTS["reset before"]]
    (found,) = engine.generate(wanted(1), GREEDY)
    assert found.finish_reason == "stop"
    asked = itertools.count()
    with pytest.raises(wmtp.GenerationError, match="is not up yet"):
        opened(server)
    server.stop()


def test_drafts_are_counted_across_a_restart_of_the_server(server: StandIn, opened: Opened) -> None:
    """A new process counts from nothing: its counters stand below those that were there before the run."""
    server.answered = [{}] * 50
    engine = opened(server, patience_s=20)
    server.answered = []
    server.faults = [FAULTS["reset before"]]
    list(engine.generate(wanted(4), GREEDY))
    assert engine.stats.drafted == (4, 4)
    server.kind = "of no counters"
    assert engine.stats.drafted == (0, 0), "never less than nothing"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_takes_turns_alone_is_told(status: int, server: StandIn, opened: Opened) -> None:
    server.faults = [_status(status, {"detail": "Not Found"})]
    with pytest.raises(wmtp.GenerationError, match="api: chat"):
        list(opened(server).generate(wanted(1), GREEDY))


def test_a_redirect_that_makes_a_get_of_a_request_is_told(server: StandIn, opened: Opened) -> None:
    base = server.url.removesuffix("/v1")
    server.faults = [lambda h, b: h.send(301, b"", Location=f"{base}/elsewhere")]
    with pytest.raises(wmtp.GenerationError, match=r"sends requests on to .*/elsewhere.*name the address"):
        list(opened(server).generate(wanted(1), GREEDY))


@pytest.mark.parametrize(
    "url",
    ["http://::1:8000/v1", "http://127.0.0.1:99999/v1", "http://127.0.0.1:0/v1", "http://host:abc/v1", "http://[::1/v1", "http://:80/v1",
     "ftp://host/v1", "http://host name/v1", "http:///v1"],
)  # fmt: skip
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(wmtp.ConfigError, match=r"model\.base_id.*must be an address such as"):
        open_engine(f"openai:{url}", OpenAISettings())
    with pytest.raises(ValueError, match="must be an address such as"):
        OpenAISettings(urls=(url,))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, r"wants a key .*OUR_KEY is not set"), ("wr0ng", "does not take the key in the environment variable OUR_KEY"),
        ("wr0ng\nkey", "OUR_KEY holds no key"), ("schl\u00fcssel", "OUR_KEY holds no key"), ("  \n", "OUR_KEY is not set"),
    ],
)  # fmt: skip
def test_a_key_that_opens_nothing_is_told_and_never_shown(
    key: str | None, says: str, server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "s3cret"
    if key:
        monkeypatch.setenv("OUR_KEY", key)
    with pytest.raises(wmtp.ConfigError, match=says) as error:
        opened(server, key_env="OUR_KEY")
    assert "wr0ng" not in str(error.value)


def test_a_key_with_a_line_end_is_the_key(server: StandIn, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "s3cret"
    monkeypatch.setenv("OUR_KEY", "s3cret\n")
    opened(server, key_env="OUR_KEY")


@pytest.mark.parametrize(("path", "meant"), [("", "/v1"), ("/v1/chat/completions", "/v1"), ("/v1/models", "/v1")])
def test_the_address_that_was_meant_is_named(path: str, meant: str, server: StandIn) -> None:
    base = server.url.removesuffix("/v1")
    with pytest.raises(wmtp.ConfigError, match=f"usually ends in /v1: {base}{meant}$"):
        open_engine(f"openai:{base}{path}", OpenAISettings(timeout_s=2))
