"""Models that think behind a server: what was thought is kept, told apart, and never judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import StandIn

import wmtp
from wmtp_openai.engine import OpenAIEngine
from wmtp_openai.settings import OpenAISettings

Opened = Callable[..., OpenAIEngine]
TURNS: tuple[wmtp.Message, ...] = ({"role": "user", "content": "Write it."},)
WRONG = "```python\ndef add_{n}(x):\n    return None\n```"
RIGHT = "```python\ndef add_{n}(x):\n    return x + {n}\n```"


def turn(**fields: Any) -> wmtp.GenerationRequest:
    key = wmtp.SampleKey(evaluator="mbpp-v1", problem="11", index=0)
    return wmtp.GenerationRequest(**({"key": key, "messages": TURNS} | fields))


def message(server: StandIn, finish: str = "stop", **fields: Any) -> None:
    """From now on the server answers with this message."""

    def shape(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        answer["choices"][0] |= {"message": {"role": "assistant", **fields}, "finish_reason": finish}
        return answer

    server.shape = shape


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
def test_arguments_of_the_template_go_to_servers_that_take_them(kind: str, opened: Opened) -> None:
    server = StandIn(kind).started()
    list(opened(server).generate([turn(template_args={"enable_thinking": False})], wmtp.Sampling()))
    assert server.seen[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    list(opened(server).generate([turn()], wmtp.Sampling()))
    assert "chat_template_kwargs" not in server.seen[-1]
    server.stop()


def test_arguments_of_the_template_are_refused_by_name_where_nobody_would_read_them(opened: Opened) -> None:
    server = StandIn("someone").started()
    with pytest.raises(wmtp.GenerationError, match=r"mbpp-v1\.template_args \(enable_thinking\).*name a tokenizer"):
        list(opened(server).generate([turn(template_args={"enable_thinking": False})], wmtp.Sampling()))
    assert not server.seen
    server.stop()


def test_extra_body_cannot_say_what_the_recipe_says_elsewhere() -> None:
    with pytest.raises(ValueError, match="template_args"):
        OpenAISettings(extra_body={"chat_template_kwargs": {}})


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
@pytest.mark.parametrize(
    ("template", "finish", "fields", "marked"),
    [
        ("<assistant><think>\n", "length", {"content": "I wonder"}, True),
        ("<assistant>", "length", {"content": "I wonder"}, False),
        ("<assistant><think>\n", "length", {"content": None, "reasoning_content": "I wonder"}, False),
        (
            "<assistant><think>\n",
            "stop",
            {"content": RIGHT},
            False,
        ),  # a server that takes thinking out, and an empty thought
    ],
)
def test_thinking_that_the_servers_template_opened_is_said(
    kind: str, template: str, finish: str, fields: dict[str, Any], marked: bool, opened: Opened
) -> None:
    server = StandIn(kind).started()
    server.template = lambda body: template
    message(server, finish, **fields)
    (found,) = opened(server).generate([turn()], wmtp.Sampling())
    assert ("thinking_opened" in found.extra) is marked
    server.stop()


def test_the_template_is_asked_once_for_each_set_of_arguments(server: StandIn, opened: Opened) -> None:
    asked: list[Any] = []

    def template(body: dict[str, Any]) -> str:
        asked.append(body.get("chat_template_kwargs"))
        return "<think>" if not asked[-1] else ""

    server.template = template
    message(server, "length", content="I wonder")
    requests = [turn(template_args=t) for t in ({}, {"enable_thinking": False}) for _ in range(5)]
    found = list(opened(server).generate(requests, wmtp.Sampling()))
    assert sum("thinking_opened" in c.extra for c in found) == 5
    assert len(asked) == 2


def test_prompts_as_tokens_say_what_our_own_template_opened(
    server: StandIn, opened: Opened, tiny_llama: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if enable_thinking %}<think>\n{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "thinks")
    engine = opened(server, tokenizer=str(tmp_path / "thinks"))
    for wanted in (True, False):
        (found,) = engine.generate([turn(template_args={"enable_thinking": wanted})], wmtp.Sampling())
        assert bool(found.extra.get("thinking_opened")) is wanted
        prompt = tokenizer.decode(server.seen[-1]["prompt"])
        assert prompt == "Write it." + ("<think>\n" if wanted else "")


def test_reasoning_is_kept_and_the_answer_alone_is_judged(
    server: StandIn,
    wmtp: Callable[..., Any],
    write_files: Callable[..., None],
    results: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Of four problems: a wrong program is thought and a right one answered; the other way round; all of it thought; and
    thought in the answer itself, as a server without a parser of reasoning sends it."""

    def shape(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        n = next(n for n in range(11, 15) if f"add_{n}(" in json.dumps(body["messages"]))
        wrong, right = WRONG.replace("{n}", str(n)), RIGHT.replace("{n}", str(n))
        content, thought, finish = {
            11: (right, wrong, "stop"), 12: (wrong, right, "stop"), 13: (None, right, "length"),
            14: (f"{wrong}\n</think>\n{right}", None, "stop"),
        }[n]  # fmt: skip
        answer["choices"][0] |= {"message": {"content": content, "reasoning": thought}, "finish_reason": finish}
        return answer

    server.shape = shape
    chat = {"mbpp-v1": {"chat": True, "shots": 0}}
    write_files(
        problems=4,
        model={"base_id": f"openai:{server.url}"},
        eval={"metrics": ["mbpp_pass@1"], "evaluators": chat},
    )
    done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "runs/run/samples/mbpp-v1.jsonl").read_text().splitlines()]
    stored = {line["key"]["problem"] if "key" in line else line["problem"]: line for line in lines}
    assert {p: s["extra"].get("thinking") for p, s in stored.items()} == {
        "11": "closed", "12": "closed", "13": "unclosed", "14": "closed",
    }  # fmt: skip
    assert "return x + 13" in stored["13"]["extra"]["reasoning"]
    assert results()["metrics"]["mbpp_pass@1"]["value"] == 0.5
    assert len(server.answered) == 4
    again = wmtp(
        "score", "runs/run/samples/mbpp-v1.jsonl", "--benchmark", "mbpp-v1", "--config", "config.yaml",
        "--set", "eval.limit=4", "--json",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["metrics"]["mbpp_pass@1"]["value"] == 0.5
