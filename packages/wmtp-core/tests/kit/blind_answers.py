# ruff: noqa: E501 - answers are shown as they were written
"""200 answers that were written, with their labels, before the rules were run on them; what they found is mended, and they stay.

In the manner of model families, most of which `answers` does not have. On the day that they were written 175 of the 200 were taken out
rightly (87.5 %); of five forms none was: gpt-oss' calls of tools and constrained final channel, GLM's tags of arguments, a call as Python
text, fill-in marks in brackets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

Task = Any


def fenced(code: str, language: str = "python", mark: str = "```") -> str:
    return f"{mark}{language}\n{code}{mark}\n"


def _call(t: Task) -> str:
    return f"{t.name}(3)" if t.name else "main()"


def _spaced(code: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in code.splitlines(keepends=True))


BLIND: dict[str, Callable[[Task], str]] = {
    "Qwen3: thinks with a fenced draft and a table, answers with headings": lambda t: (
        "<think>\nOkay, so I need to write this. First attempt:\n\n"
        f"{fenced(t.draft)}\n| in | out |\n|---|---|\n| 3 | 9 |\n\nHmm, that's not it. Let me redo it.\n</think>\n\n"
        f"### ✅ Solution\n\n{fenced(t.right)}\n---\n\n### 🔍 Explanation\n\n- **Loop**: goes over `x`.\n- **Return**: `return` gives it back.\n\n"
        "### 📌 Time complexity\n\n$$O(n)$$\n"
    ),
    "Qwen3: thinking switched off, the marks left": lambda t: (
        f"<think>\n\n</think>\n\nHere's the function:\n\n{fenced(t.right)}"
    ),
    "Qwen3-Coder: writes a file by tool": lambda t: (
        "I'll create the file for you.\n\n<tool_call>\n<function=write_file>\n<parameter=path>\nsolution.py\n</parameter>\n"
        f"<parameter=content>\n{t.right}</parameter>\n</function>\n</tool_call>"
    ),
    "Qwen3-Coder: file name in bold above the block": lambda t: (
        f"**solution.py**\n\n{fenced(t.right)}\n**Run it:**\n\n{fenced('python solution.py' + chr(10), 'bash')}"
    ),
    "Qwen3: a quoted closing mark within its thinking": lambda t: (
        f"<think>\nThe user wants code. I should close with `</think>` and then answer.\n{fenced(t.draft)}no\n</think>\n\n{fenced(t.right)}"
    ),
    "DeepSeek-R1: boxed conclusion behind": lambda t: (
        f"<think>\nLet me think step by step.\n\nWait, {t.draft.splitlines()[0]} would do? No.\n</think>\n\n**Solution Code**\n\n{fenced(t.right)}\n**Final Answer**: $\\boxed{{\\text{{see the code above}}}}$\n"
    ),
    "DeepSeek-V3.1: no opening mark, the code bare": lambda t: f"First I consider the edge cases.</think>{t.right}",
    "DeepSeek-V3: two languages, Python second": lambda t: (
        f"### C++\n\n{fenced('#include <iostream>' + chr(10) + 'int main() { return 0; }' + chr(10), 'cpp')}\n### Python\n\n{fenced(t.right)}"
    ),
    "DeepSeek-Coder: the statement in comments above": lambda t: fenced(
        "# Problem: do as the tests say.\n# Input: see above\n# Output: the answer\n\n" + t.right
    ),
    "GLM-4.6: a tool call with argument tags": lambda t: (
        f"<think>I should run this.</think>\n<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>{t.right}</arg_value>\n</tool_call>"
    ),
    "GLM-4.5: the answer in a box, in a block": lambda t: (
        f"<think>\n{fenced(t.draft)}</think>\n<|begin_of_box|>\n{fenced(t.right)}\n<|end_of_box|>"
    ),
    "GLM-4: Chinese prose, numbered steps with code in them": lambda t: (
        f"当然可以！步骤如下：\n\n1. **读取输入**\n2. **计算**：例如 `{_call(t)}`\n\n{fenced(t.right)}\n\n代码说明：\n- 第一行定义函数；\n- 最后返回结果。\n"
    ),
    "Kimi-K2: a call in its section": lambda t: (
        "I'll check this.<|tool_calls_section_begin|><|tool_call_begin|>functions.python:0<|tool_call_argument_begin|>"
        + json.dumps({"code": t.right})
        + "<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "Kimi: draft in thought, then 'Revised' block": lambda t: (
        f"◁think▷Naive:\n{fenced(t.draft)}but slow◁/think▷Below is the **revised** version.\n\n{fenced(t.right)}\nEnjoy!"
    ),
    "gpt-oss: a commentary preamble, then the final channel": lambda t: (
        f"<|channel|>analysis<|message|>Need code. {t.draft}<|end|><|start|>assistant<|channel|>commentary<|message|>I will write it now.<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{fenced(t.right)}<|return|>"
    ),
    "gpt-oss: calls python in the commentary channel": lambda t: (
        "<|channel|>analysis<|message|>Let me run it.<|end|><|start|>assistant<|channel|>commentary to=functions.python <|constrain|>json<|message|>"
        + json.dumps({"code": t.right})
        + "<|call|>"
    ),
    "gpt-oss: final channel with a constraint": lambda t: (
        f"<|channel|>analysis<|message|>ok {fenced(t.draft)}<|end|><|start|>assistant<|channel|>final <|constrain|>code<|message|>{t.right}<|return|>"
    ),
    "gpt-oss: a table of complexity and non-breaking hyphens": lambda t: (
        f"**Solution – single‑pass**\n\n{fenced(t.right)}\n\n| step | cost |\n|------|------|\n| loop | O(n) |\n\n*All tests pass.*"
    ),
    "Gemma 3: key improvements, with inline code": lambda t: (
        f"{fenced(t.right)}\nKey improvements and explanations:\n\n* **Clear name:** `{_call(t)}` says what it does.\n* **No side effects:** it does not `print`.\n"
    ),
    "Gemma 3: docstring block of doctests behind": lambda t: (
        f"{fenced(t.right)}\n**How to use it:**\n\n{fenced('>>> ' + _call(t) + chr(10) + '6' + chr(10))}"
    ),
    "CodeGemma: fill-in tokens": lambda t: f"{t.right}<|file_separator|>tests.py\nimport unittest\n",
    "Magistral: thought with brackets in it": lambda t: (
        f"[THINK]xs[0] then [1], so\n{fenced(t.draft)}[/THINK]\n\nThe code:\n\n{fenced(t.right)}[/INST]"
    ),
    "Mistral Small: another instruction invented": lambda t: (
        f"{fenced(t.right)}</s>[INST] Now write a test [/INST] {fenced('assert True' + chr(10))}"
    ),
    "Codestral: suffix marks": lambda t: f"[SUFFIX][PREFIX]{t.right}",
    "Phi-4-reasoning: three drafts in thought, final behind a heading": lambda t: (
        f"<think>User asks. I'd produce:\n\n{fenced(t.draft)}\nor\n\n{fenced('pass' + chr(10))}\nI think that's fine.</think>Below is one acceptable solution.\n\n"
        f"### Final Answer\n\n{fenced(t.right)}\n──────────────────────────────\nThis explanation covers the code.\n"
    ),
    "Phi-4-mini: code indented as a whole within its block": lambda t: fenced(_spaced(t.right, "    ")),
    "Granite 3.3: thinks and responds in tags": lambda t: (
        f"<think>{fenced(t.draft)}</think>\n<response>\n{fenced(t.right)}\n</response>"
    ),
    "Granite 4: bullets with the block nested under one": lambda t: (
        f"- Read.\n- Then write:\n\n{_spaced(fenced(t.right), '  ')}\n- Done.\n"
    ),
    "EXAONE Deep: thinks in its own tag": lambda t: (
        f"<thought>\n음, 생각해 보자.\n{fenced(t.draft)}아니다.\n</thought>\n\n다음과 같습니다.\n\n{fenced(t.right)}\n\\boxed{{완료}}"
    ),
    "EXAONE 4: Korean, particles glued to inline code": lambda t: (
        f"`{_call(t)}`를 호출하면 됩니다.\n\n{fenced(t.right)}\n위 코드에서 `return`은 결과를 돌려줍니다."
    ),
    "Nemotron: thinking off, bare code with a comment behind": lambda t: f"<think></think>{t.right}\n# That is all.\n",
    "Nemotron: thinks twice the same, answers in a quoted block": lambda t: (
        f"<think>\na\n</think>\n\n<think>\nb {t.draft}\n</think>\n\n{''.join('> ' + line for line in fenced(t.right).splitlines(True))}"
    ),
    "Llama 4: headers as text": lambda t: (
        f"<|header_start|>assistant<|header_end|>\n\n## Solution\n\n{fenced(t.right)}\n## Explanation\n\nIt loops.<|eot|>"
    ),
    "Llama 3.1: python tag and end of message within words": lambda t: (
        f"Let me compute.<|python_tag|>{t.right}<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\n6<|eot_id|>"
    ),
    "StarCoder2: response marks": lambda t: (
        f"### Response\n{fenced(t.right)}\n### Instruction\nWrite another one.\n\n### Response\n{fenced(t.draft)}"
    ),
    "StarCoder2: repository tokens": lambda t: (
        f"<repo_name>user/repo<file_sep>solution.py\n{t.right}<file_sep>README.md\n# Readme"
    ),
    "Hunyuan: answer tag with words and a block": lambda t: (
        f"<think>\n{t.draft}</think>\n<answer>\nThe solution:\n\n{fenced(t.right)}\nIt is fast.\n</answer>"
    ),
    "MiniMax-M2: a call in its own marks": lambda t: (
        f'<minimax:tool_call>\n<invoke name="python">\n<parameter name="code">{t.right}</parameter>\n</invoke>\n</minimax:tool_call>'
    ),
    "Apertus: thinks between inner marks": lambda t: (
        f"<|inner_prefix|>{fenced(t.draft)}<|inner_suffix|>{fenced(t.right)}<|assistant_end|>"
    ),
    "LFM2: a call as Python text": lambda t: f"<|tool_call_start|>[python(code={t.right!r})]<|tool_call_end|>",
}
"""Form → the answer that holds a task's right program: forty forms of five tasks."""


def labelled(tasks: tuple[Task, ...]) -> Iterator[tuple[str, Task, str, bool]]:
    """(name, task, answer, whether it holds a right program)."""
    for style, write in BLIND.items():
        for number, task in enumerate(tasks):
            yield f"{style} | {task.name or f'program {number}'}", task, write(task), True
