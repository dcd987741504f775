"""Prompts in the manner of models' own chat templates: what they strip, refuse and put in is not the benchmark's prefill."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wmtp.contracts.engines import Message
from wmtp.errors import ConfigError
from wmtp.kit import encoded, rendered

OPEN = "{% if add_generation_prompt %}"
TEMPLATES = {
    "ChatML": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    + OPEN
    + "<|im_start|>assistant\n{% endif %}",
    # Takes thoughts out of the assistant's turns, and writes an empty one into the last.
    "Qwen3": "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content.split('</think>')[-1].lstrip('\n') %}"
    "<|im_start|>assistant\n{% if loop.last %}<think>\n\n</think>\n\n{% endif %}{{ c }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    + OPEN
    + "<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}",
    "DeepSeek-R1": "{% for m in messages %}{% if m.role == 'assistant' %}<A>{{ m.content.split('</think>')[-1] }}<E>"
    "{% else %}<U>{{ m.content }}{% endif %}{% endfor %}" + OPEN + "<A><think>\n{% endif %}",
    "Gemma": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}" + OPEN + "<start_of_turn>model\n{% endif %}",
    "Mistral": "{% if messages[-1].role != 'user' %}{{ raise_exception('the last turn must be the user\\'s') }}{% endif %}"
    "{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}",
    "with tools": "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}" + OPEN + "<assistant>{% endif %}",
}
PREFILLS = ("```python\n", "<think>\n\n</think>\n\n```python\n", "  indented", "<", "end", "Sure:\n\n")
ASKED: Message = {"role": "user", "content": "Double it."}


@pytest.fixture
def tokenizer(byte_tokenizer: Any) -> Any:
    kept = byte_tokenizer.chat_template
    yield byte_tokenizer
    byte_tokenizer.chat_template = kept


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prefill_is_the_end_of_the_prompt_as_it_stands(name: str, tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    for prefill in PREFILLS:
        text = rendered(tokenizer, [ASKED, {"role": "assistant", "content": prefill}])
        assert text.endswith(prefill), "its newline too"
        assert text.count("Double it.") == 1
        front = text.removesuffix(prefill)
        assert front.endswith(("assistant\n", "</think>\n\n", "<A>", "model\n", "[/INST]", "<assistant>")), front
        assert "</think>" not in front or "</think>" not in prefill, "one empty thought, not two"
        assert "here" not in text


def test_without_a_prefill_the_template_opens_the_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES["DeepSeek-R1"]
    assert rendered(tokenizer, [ASKED]) == "<U>Double it.<A><think>\n"
    assert encoded(tokenizer, [ASKED])[1], "thinking is open"
    assert not encoded(tokenizer, [ASKED, {"role": "assistant", "content": "```python\n"}])[1]


def test_an_argument_that_the_template_does_not_know_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES["Qwen3"]
    assert rendered(tokenizer, [ASKED], {"enable_thinking": False}).endswith("</think>\n\n")
    for wrong in ("thinking", "enable_thinkin", "thinking("):
        with pytest.raises(ConfigError, match=f"knows no {re.escape(wrong)}, so it would change nothing"):
            rendered(tokenizer, [ASKED], {wrong: False})


def test_a_template_without_a_system_turn_says_what_to_leave_out(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES["Gemma"]
    with pytest.raises(ConfigError, match=r"System role not supported.*leave out system_prompt"):
        rendered(tokenizer, [{"role": "system", "content": "You write Python."}, ASKED])
