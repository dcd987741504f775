"""`wmtp audit --against` where a side is a server: what its scores say of a difference, and what is said where it has none."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai_server import StandIn, drawn

import wmtp
from wmtp.cli.audit import lines
from wmtp.config import load_configuration
from wmtp.evaluation.audit import Difference, audit
from wmtp_openai.scores import FLOAT32, Scored, _goes_on, _rounding, format_step, scored_tokens

Audits = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def other() -> Iterator[StandIn]:
    made = StandIn().started()
    yield made
    made.stop()


@pytest.fixture
def audits(
    server: StandIn, other: StandIn, write_files: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Audits:
    def run(temperature: float = 0.0, **openai: Any) -> tuple[dict[str, Any], str]:
        write_files(
            problems=3,
            config={"judging": {"level": "process"}},
            model={"base_id": f"openai:{server.url}", "loaders": {"openai": openai}},
            eval={
                "metrics": ["mbpp_pass@1"], "evaluators": {"mbpp-v1": {"shots": 0}}, "sampling": {"temperature": temperature},
            },
        )  # fmt: skip
        monkeypatch.chdir(tmp_path)
        plugins = wmtp.create_plugin_manager()
        files = load_configuration("config.yaml", "recipe.yaml", plugins=plugins)
        found = audit(*files, against=f"openai:{other.url}", plugins=plugins, runs=tmp_path / "runs")
        return found.to_json(), "\n".join(lines(found))

    return run


def words(problem: str, text: str) -> Callable[[dict[str, Any]], str]:
    """The stand-in's texts, but for one problem."""
    return lambda body: text if f"add {problem} " in json.dumps(body.get("prompt") or body["messages"]) else drawn(body)


def test_servers_that_write_the_same_are_audited(server: StandIn, audits: Audits) -> None:
    found, _ = audits()
    assert (found["passed"], found["samples"], found["equal"], found["unexplained"]) == (True, 3, 3, 0)
    assert found["acceptance"][0], "drafts as the first server counts them"
    assert not any("logprobs" in body for body in server.seen), "scores are asked of texts that differ"


def test_without_scores_a_difference_is_shown_and_no_margin_is_known(server: StandIn, audits: Audits) -> None:
    server.write = lambda body: drawn(body) + ("!" if "add 12 " in body["prompt"] else "")
    found, told = audits()
    assert (found["passed"], found["equal"], found["unexplained"]) == (False, 2, 1)
    (difference,) = found["differences"]
    assert (difference["problem"], difference["a"], difference["b"], difference["near_tie"]) == ("12", None, None, None)
    assert difference["written"] == ["!", ""]
    assert any("no margin is known of a and b" in note for note in found["notes"])
    assert "a writes '!' and b nothing more" in told
    assert "NOT EXPLAINED" in told


def test_scores_of_both_servers_explain_a_near_tie(server: StandIn, other: StandIn, audits: Audits) -> None:
    server.write, other.write = words("12", " x y END"), words("12", " x z END")
    server.scores, other.scores = rivals(" z", 0.01, 0.02), rivals(" y", 0.01, 0.02)
    found, told = audits()
    (difference,) = found["differences"]
    assert (found["passed"], difference["near_tie"]) == (True, True), told
    a, b = difference["a"], difference["b"]
    assert (a["engine"], a["other"], a["asked"], a["position"]) == (" z", " y", "b", 1)
    assert (b["engine"], b["other"], b["asked"], b["position"]) == (" y", " z", "a", 1)
    assert "a: token 1: ' y' instead of ' z', which b writes there by a margin of 0.0" in told
    assert not found["notes"]


def test_a_server_that_writes_the_other_s_text_when_it_is_asked_again_is_told_of_its_own(
    server: StandIn, other: StandIn, audits: Audits
) -> None:
    """Its scores move with what it serves beside: by how much, and by what margin it wrote the other word, it says itself."""
    now, before = words("12", " x y END"), words("12", " x z END")
    server.write, other.write = now, lambda body: (now if body.get("logprobs") else before)(body)
    server.scores, other.scores = rivals(" z", 0.01, 0.02), rivals(" z", 0.01, 0.02)
    found, told = audits()
    (difference,) = found["differences"]
    assert (found["passed"], difference["near_tie"]) == (True, True), told
    assert (difference["a"]["engine"], difference["a"]["other"], difference["a"]["asked"]) == (" y", " z", "b")
    other.scores = rivals(" z", 1.5, 0.02)
    found, told = audits(concurrency=7)  # another run: settings are part of its name
    assert (found["passed"], found["faults"]) == (False, 1), told


def test_a_server_that_wrote_what_it_does_not_prefer_is_at_fault(
    server: StandIn, other: StandIn, audits: Audits
) -> None:
    """Its drafts were accepted wrongly: by its own scores another word is far better."""
    server.write, other.write = words("12", " x bad END"), words("12", " x good END")
    server.scores = lambda body, place: {" good": -0.1 if place == 1 else -9.0, " far": -3.3}
    found, told = audits()
    (difference,) = found["differences"]
    assert (found["passed"], found["faults"], difference["b"]["margin"]) == (False, 1, pytest.approx(0.4)), told
    assert any("no margin is known of b" in note for note in found["notes"])


def rivals(rival: str, margin: float, moves: float) -> Callable[[dict[str, Any], int], dict[str, float]]:
    """Scores at the second word: the rival stands so far behind, and moves from one asking to the next."""
    times = itertools.count()
    return lambda body, place: (
        {rival: -0.5 - margin - moves * (next(times) % 2), " far": -3.3} if place == 1 else {" far": -7.1}
    )


@pytest.mark.parametrize("turns", [False, True], ids=["completions", "chat"])
@pytest.mark.parametrize(
    ("margin", "moves", "tie"),
    [(0.01, 0.02, True), (1.5, 0.02, False), (0.01, 0.0, False), (0.0, 0.0, True), (0.25, 0.0, True)],
)
def test_the_margin_of_a_departure_and_whether_it_is_near(
    margin: float, moves: float, tie: bool, turns: bool, server: StandIn, opened: Callable[..., Any]
) -> None:
    server.write, server.scores = lambda body: " x z END", rivals(" y", margin, moves)
    if margin == 0.25:  # as in bfloat16: all scores are eighths apart
        server.scores = lambda body, place: {" y": -0.75, " far": -3.375, " farther": -4.0}
    asked = {"messages": ({"role": "user", "content": "q"},)} if turns else {"prompt": "q"}
    request = wmtp.GenerationRequest(
        key=wmtp.SampleKey(evaluator="e", problem="1", index=0), max_new_tokens=8, stop=(" END",), **asked
    )
    engine = opened(server)
    same, found, shorter = engine.departures(request, wmtp.Sampling(), [" x z", " x y", " x"])
    assert same is None
    assert (found.position, found.engine, found.other) == (1, " z", " y")
    assert margin - 1e-6 <= found.margin <= margin + moves + 1e-6
    assert found.near_tie is tie
    assert (shorter.position, shorter.other) == (1, "")
    (unlikely,) = engine.departures(request, wmtp.Sampling(), [" x word"])
    assert (unlikely.other, unlikely.near_tie) == ("", False)
    assert unlikely.margin == pytest.approx(3.5 if margin == 0.25 else 2.8)
    assert engine.departures(request, wmtp.Sampling(temperature=0.5), [" x y"]) is None
    server.scores = None
    assert engine.departures(request, wmtp.Sampling(), [" x y"]) is None


@pytest.mark.parametrize(
    ("margin", "blind", "tie"), [(1e-5, True, True), (0.05, True, None), (0.05, False, False), (5.0, True, False)]
)
def test_what_bfloat16_would_explain_is_no_fault_of_a_side_that_cannot_be_asked(
    margin: float, blind: bool, tie: bool | None
) -> None:
    """A checkpoint in float32 beside a server that says neither by what margin it wrote a token nor in what it computes."""
    found = wmtp.Departure(position=3, engine="x", other="y", margin=margin, rounding=1e-5, scale=20.0)
    key = wmtp.SampleKey(evaluator="e", problem="1", index=0)
    assert Difference(key=key, b=found, asked=("", "a"), blind=blind).near_tie is tie


def test_the_larger_rounding_of_both_sides_decides() -> None:
    fine = wmtp.Departure(position=3, engine="x", other="y", margin=0.05, rounding=1e-5)
    coarse = wmtp.Departure(position=3, engine="y", other="x", margin=0.2, rounding=0.1)
    key = wmtp.SampleKey(evaluator="e", problem="1", index=0)
    assert Difference(key=key, a=coarse, b=fine, asked=("b", "a")).near_tie is True
    assert Difference(key=key, b=fine, asked=("", "a")).near_tie is False


def test_drawn_texts_of_servers_differ_of_themselves(server: StandIn, other: StandIn, audits: Audits) -> None:
    server.write = other.write = lambda body: drawn(body | {"seed": body.get("seed", 0) + id(body)})
    server.scores = other.scores = lambda body, place: {" far": -3.3}
    found, _ = audits(0.8)
    assert (found["passed"], found["faults"], found["unexplained"]) == (True, 0, 3)


def test_further_urls_are_the_first_sides_alone(server: StandIn, other: StandIn, audits: Audits) -> None:
    """Else the servers of the first side would answer for the second."""
    further = StandIn().started()
    other.write = lambda body: "of the other END"
    found, _ = audits(urls=[further.url], concurrency=1)
    further.stop()
    assert [d["written"][1] for d in found["differences"]] == ["of the other END"] * 3
    assert further.seen


@pytest.mark.parametrize(
    "logprobs",
    [None, [], {}, "x", {"content": None}, {"content": [None]}, {"content": [{"token": 3, "logprob": -1.0}]},
     {"content": [{"token": "x", "logprob": None, "top_logprobs": []}]}, {"tokens": ["x"], "token_logprobs": [-1.0]},
     {"tokens": ["x"], "token_logprobs": [-1.0, -2.0], "top_logprobs": [{}]},
     {"tokens": ["x"], "token_logprobs": [], "top_logprobs": [{}]}, {"tokens": [], "token_logprobs": [], "top_logprobs": []},
     {"tokens": ["x"], "token_logprobs": [float("nan")], "top_logprobs": [{}]}],
    ids=str,
)  # fmt: skip
def test_scores_that_cannot_be_read_are_none(logprobs: Any) -> None:
    assert scored_tokens(logprobs) is None


@pytest.mark.parametrize(
    ("beginning", "text", "so"),
    [
        ("ab", "abc", True), ("abc", "ab", False), ("", "x", True), ("\ufffd", "x", True), ("\ufffdx", "éx", True),
        ("\ufffdx", "ax", False), ("a\ufffd\ufffdb\ufffd", "aéßbé", True), ("a\ufffdé\ufffdb", "aéééb", True),
        ("a\ufffdé\ufffdb", "ab", False), ("é\ufffd" * 400 + "x", "é" * 2000 + "y", False),
        ("é\ufffd" * 400 + "x", "é" * 2000 + "x", True), ("\ufffd", "\ufffd", True),
    ],
    ids=ascii,
)  # fmt: skip
def test_characters_that_are_spread_over_tokens_are_known_in_no_text(beginning: str, text: str, so: bool) -> None:
    """The long ones would take a pattern longer than anybody waits."""
    assert _goes_on(beginning, text) == so


@pytest.mark.parametrize(
    ("gaps", "step"), [((0.125, 0.5, 1.75), 0.125), ((0.25, 1.0, 3.0), 0.25), ((0.1, 0.37, 2.2), 0.0), ((0.125,), 0.0)]
)
def test_the_step_of_a_coarse_format_is_seen_in_the_scores(gaps: tuple[float, ...], step: float) -> None:
    scores = {"x": -0.7321} | {f"y{i}": -0.7321 - gap + i * FLOAT32 / 8 for i, gap in enumerate(gaps)}
    assert format_step(Scored("x", scores)) == step


@pytest.mark.parametrize(
    ("copies", "moved"),
    [
        ([["a", "b", "c"]], FLOAT32),  # it wrote the same by the same scores
        ([["a", "x", "y"]], 0.14),  # it left one token before: for that its scores had moved
        ([["a", "b"]], FLOAT32),  # it ended there, and says nothing of the place
        ([], FLOAT32),
    ],
)
def test_a_copy_that_has_left_before_says_how_far_scores_move(copies: list[list[str]], moved: float) -> None:
    def token(name: str, gap: float) -> Scored:
        return Scored(name, {"a": -1.0, "b": -1.0, "x": -1.0 + gap, "c": -1.0, "y": -1.0})

    written = [token(name, 0.0) for name in "abc"]
    beside = [[token(name, 0.14 if name == "x" else 0.0) for name in copy] for copy in copies]
    found = wmtp.Departure(position=2, engine="c", other="d", margin=0.31, rounding=0.0)
    assert _rounding(written, beside, found) == pytest.approx(moved)
