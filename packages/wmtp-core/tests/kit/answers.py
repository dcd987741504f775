# ruff: noqa: E501 - answers are shown as they were written
"""Answers to programming questions, written in the manner of model families, each with what a right extraction does.

All of it is ours: the programs, the prose and the wrappers. `labelled()` yields every answer with its label.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from wmtp.kit import Wanted

sys.path.insert(0, str(Path(__file__).parent))  # it is loaded by its path
import blind_answers


@attrs.frozen(kw_only=True)
class Task:
    """name: what tests call ("" for a program). right, draft: programs. body: the right one's, behind the prompt."""

    name: str
    right: str
    draft: str
    passes: Callable[[str], bool]
    wanted: Wanted
    body: str = ""


def _calls(name: str, *cases: tuple[tuple[Any, ...], Any]) -> Callable[[str], bool]:
    def passes(code: str) -> bool:
        names: dict[str, Any] = {"__name__": "program"}
        exec(code, names)
        return all(names[name](*given) == expected for given, expected in cases)

    return passes


def _prints(given: str, expected: str) -> Callable[[str], bool]:
    def passes(code: str) -> bool:
        lines, out = iter(given.splitlines()), io.StringIO()
        names = {"__name__": "__main__", "input": lambda prompt="": next(lines)}
        with contextlib.redirect_stdout(out):
            exec(code, names)
        return out.getvalue().split() == expected.split()

    return passes


PROMPT = 'from typing import List\nLIMIT = 10\n\n\ndef clipped(xs: List[int]) -> List[int]:\n    """Each of xs, at most LIMIT."""\n'
BODY = "    found = []\n    for x in xs:\n        found.append(min(x, LIMIT))\n    return found\n"
TASKS = (
    Task(
        name="twice",
        right="def twice(x):\n    # doubles\n    return 2 * x\n",
        draft="def twice(x):\n    return x ** 2\n",
        passes=_calls("twice", ((3,), 6), ((0,), 0)),
        wanted=Wanted(names={"twice"}, begin="[BEGIN]", end="[DONE]"),
    ),
    Task(
        name="vowels",
        right='import re\n\nVOWELS = "aeiou"\n\n\ndef vowels(s):\n    """Counts.\n\n    ```\n    vowels("abe") == 2\n    ```\n    """\n'
        '    return len(re.findall(f"[{VOWELS}]", s))\n',
        draft="def vowels(s):\n    return len(s)\n",
        passes=_calls("vowels", (("abe",), 2), (("xyz",), 0)),
        wanted=Wanted(names={"vowels"}),
    ),
    Task(
        name="clipped",
        right="def clipped(xs: List[int]) -> List[int]:\n" + BODY,
        draft="def clipped(xs):\n    return xs\n",
        passes=_calls("clipped", (([3, 30],), [3, 10]), (([],), [])),
        wanted=Wanted(names={"clipped"}, prompt=PROMPT, continues=True),
        body=BODY,
    ),
    Task(
        name="",
        right="n = int(input())\ntotal = 0\nfor _ in range(n):\n    total += int(input())\nprint(total)\n",
        draft="print(0)\n",
        passes=_prints("2\n3\n4\n", "7"),
        wanted=Wanted(),
    ),
    Task(
        name="",
        right="import math\n\n\ndef solve():\n    a, b = map(int, input().split())\n    print(math.gcd(a, b))\n\n\nif __name__ == '__main__':\n    solve()\n",
        draft="a, b = map(int, input().split())\nprint(a)\n",
        passes=_prints("12 18\n", "6"),
        wanted=Wanted(),
    ),
)
BEFORE = (
    "",
    "Sure! Here is the solution:\n\n",
    "To solve this, we go over the values and handle each of them. We import nothing from outside.\n\n### Solution\n\n",
    "다음은 문제를 푸는 코드입니다:\n\n",
    "好的，下面是解决该问题的代码：\n\n",
    "**Approach**\n\n1. Read the input.\n2. Compute; for example, 3 becomes 6.\n\n",
)
BEHIND = (
    "",
    "\nThis runs in linear time, from the first value to the last.\n",
    "\n**Explanation**: the loop does `it`.\n\nExample output:\n```\n6\n```\n",
    "\n이 함수는 O(n) 시간에 동작합니다.\n",
    "\n时间复杂度为 O(n)。\n",
    "\nLet me know if you have any questions!\n",
)
Style = Callable[[Task, str, str], str]


def fenced(code: str, language: str = "python", mark: str = "```") -> str:
    return f"{mark}{language}\n{code}{mark}\n"


def _tool_call(task: Task, before: str, behind: str) -> str:
    return "<tool_call>\n" + json.dumps({"name": "python", "arguments": {"code": task.right}}) + "\n</tool_call>"


def _listed(task: Task, before: str, behind: str) -> str:
    inner = "".join(f"   {line}" if line.strip() else line for line in fenced(task.right).splitlines(keepends=True))
    return f"1. Think about it.\n2. Write it:\n\n{inner}\n3. Done.\n"


def _session(task: Task, before: str, behind: str) -> str:
    lines = task.right.splitlines()
    return "".join(f"{'>>>' if line[:1].strip() else '...'} {line}\n" for line in lines)


STYLES: dict[str, Style] = {
    "StarCoder: code alone": lambda t, a, b: t.right,
    "StarCoder: code, end token, another file": lambda t, a, b: (
        f"{t.right}<|endoftext|>package main\n\nfunc main() {{}}\n"
    ),
    "Llama 3: one block": lambda t, a, b: f"{a}{fenced(t.right)}{b}",
    "Llama 3: end of turn as text": lambda t, a, b: f"{a}{fenced(t.right)}{b}<|eot_id|>",
    "Mistral: a block without a language": lambda t, a, b: f"{a}{fenced(t.right, '')}{b}",
    "Gemma: tildes": lambda t, a, b: f"{a}{fenced(t.right, 'py', '~~~')}{b}<end_of_turn>",
    "Phi: four backticks": lambda t, a, b: f"{a}{fenced(t.right, 'python', '````')}{b}",
    "Phi: carriage returns": lambda t, a, b: f"{a}{fenced(t.right)}{b}".replace("\n", "\r\n"),
    "DeepSeek-R1: thinks": lambda t, a, b: f"<think>\nMaybe\n{fenced(t.draft)}No.\n</think>\n\n{a}{fenced(t.right)}{b}",
    "QwQ: the template opened": lambda t, a, b: f"Hmm, wait.\n{fenced(t.draft)}</think>\n{a}{fenced(t.right)}{b}",
    "Qwen3: an empty thought, code alone": lambda t, a, b: f"<think>\n\n</think>\n\n{t.right}",
    "Qwen2.5: shell line first": lambda t, a, b: (
        f"{a}{fenced('pip install nothing' + chr(10), 'bash')}\n{fenced(t.right)}{b}"
    ),
    "GLM: naive, then better": lambda t, a, b: f"{a}A naive version:\n{fenced(t.draft)}\nBetter:\n{fenced(t.right)}{b}",
    "Kimi: thinks in its own marks": lambda t, a, b: f"◁think▷{t.draft}◁/think▷{a}{fenced(t.right)}{b}",
    "Magistral: thinks in its own marks": lambda t, a, b: f"[THINK]{fenced(t.draft)}[/THINK]{a}{fenced(t.right)}{b}",
    "gpt-oss: channels": lambda t, a, b: (
        "<|channel|>analysis<|message|>Try "
        f"{fenced(t.draft)}<|end|><|start|>assistant<|channel|>final<|message|>{a}{fenced(t.right)}{b}<|return|>"
    ),
    "gpt-oss: channels, marks dropped": lambda t, a, b: (
        f"analysisWe try {fenced(t.draft)}assistantfinal{a}{fenced(t.right)}{b}"
    ),
    "Seed-OSS: thinks": lambda t, a, b: f"<seed:think>{fenced(t.draft)}</seed:think>{a}{fenced(t.right)}{b}",
    "Granite: says that it thinks": lambda t, a, b: (
        f"Here is my thought process: {fenced(t.draft)}Here is my response: {a}{fenced(t.right)}{b}"
    ),
    "Command A: thinks": lambda t, a, b: f"<|START_THINKING|>{t.draft}<|END_THINKING|>{a}{fenced(t.right)}{b}",
    "Command A: a tool call": _tool_call,
    "CodeLlama: tags": lambda t, a, b: f"{a}[PYTHON]\n{t.right}[/PYTHON]\n{b}",
    "Yi: in a tag": lambda t, a, b: f"{a}<code>\n{t.right}</code>\n{b}",
    "InternLM: a list, indented fences": _listed,
    "Falcon: an interpreter's session": _session,
    "OLMo: a prefill opened the fence": lambda t, a, b: f"{t.right}```\n{b}",
    "SmolLM: no closing fence": lambda t, a, b: f"{a}{fenced(t.right).removesuffix('```' + chr(10))}",
    "SmolLM: cut off behind the program": lambda t, a, b: f"{a}```python\n{t.right}\n\ndef another(x:",
    "OpenChat: bare among words": lambda t, a, b: f"{a}{t.right}{b if '`' not in b else ''}",
    "Vicuna: quoted": lambda t, a, b: f"{a}" + "".join(f"> {line}\n" for line in fenced(t.right).splitlines()) + b,
    "Baichuan: no-break spaces": lambda t, a, b: f"{a}{fenced(t.right.replace('    ', chr(0xA0) * 4))}{b}",
}
FURTHER: dict[str, Style] = {
    "Devstral: XML answer tags": lambda t, a, b: f"<answer>\n{t.right}</answer>",
    "Devstral: answer tag around a block": lambda t, a, b: f"<answer>\n{fenced(t.right)}</answer>",
    "Hermes: boxed fence in reasoning then answer tag": lambda t, a, b: (
        f"<reasoning>\n{fenced(t.draft)}</reasoning>\n<answer>{fenced(t.right)}</answer>"
    ),
    "Nemotron: /think with attributes": lambda t, a, b: f"<think time=3>\n{fenced(t.draft)}</think>\n{fenced(t.right)}",
    "MiniMax: think twice": lambda t, a, b: (
        f"<think>a\n{fenced(t.draft)}</think>Then\n<think>b</think>\n{fenced(t.right)}"
    ),
    "Jamba: html fence": lambda t, a, b: f'<pre class="language-python"><code>{t.right}</code></pre>',
    "Grok: py3 info": lambda t, a, b: fenced(t.right, "py3"),
    "artifact marks": lambda t, a, b: (
        f'<antArtifact identifier="x" type="application/vnd.ant.code" language="python">\n{t.right}</antArtifact>\nDone.'
    ),
    "Command R: capital language": lambda t, a, b: fenced(t.right, "Python"),
    "Nova: space before language": lambda t, a, b: fenced(t.right, " python"),
    "Reka: language with colon path": lambda t, a, b: fenced(t.right, "python:solution.py"),
    "Cursor: path info": lambda t, a, b: fenced(t.right, "src/solution.py"),
    "Aya: line numbers info": lambda t, a, b: fenced(t.right, "python {linenos=true}"),
    "Granite: filename in comment": lambda t, a, b: fenced("# solution.py\n" + t.right),
    "Phi-4: headings": lambda t, a, b: (
        f"## Approach\n\nUse a loop.\n\n## Code\n\n{fenced(t.right)}\n## Complexity\n\n- O(n)\n"
    ),
    "Tulu: examples in text block behind": lambda t, a, b: (
        f"{fenced(t.right)}\nOutput:\n{fenced('6' + chr(10), 'text')}"
    ),
    "Tulu: output untagged behind": lambda t, a, b: f"{fenced(t.right)}\nOutput:\n{fenced('6' + chr(10), '')}",
    "StableLM: usage block behind": lambda t, a, b: (
        f"{fenced(t.right)}\nUsage:\n{fenced('print(1)' + chr(10))}" if t.name else fenced(t.right)
    ),
    "Zephyr: user turn hallucinated": lambda t, a, b: (
        f"{fenced(t.right)}\n<|user|>\nNow do three\n<|assistant|>\n{fenced(t.draft)}"
    ),
    "Alpaca: instruction hallucinated": lambda t, a, b: (
        f"{t.right}\n### Instruction:\nAnother\n\n### Response:\n{t.draft}"
    ),
    "Human: turn hallucinated": lambda t, a, b: f"{fenced(t.right)}\n\nHuman: thanks\n\nAssistant: {fenced(t.draft)}",
    "bold label glued": lambda t, a, b: f"**Solution:**```python\n{t.right}```",
    "numbered list inside with tab": lambda t, a, b: (
        "1.\tCode:\n\n" + "".join("\t" + line for line in fenced(t.right).splitlines(True))
    ),
    "nested blockquote": lambda t, a, b: "".join("> > " + line for line in fenced(t.right).splitlines(True)),
    "five backticks": lambda t, a, b: fenced(t.right, "python", "`````"),
    "tildes four": lambda t, a, b: fenced(t.right, "python", "~~~~"),
    "mixed fences open tilde": lambda t, a, b: f"~~~\n{fenced(t.right)}~~~\n",
    "single backtick lines": lambda t, a, b: f"Here: `x`\n\n{fenced(t.right)}",
    "LaTeX listing": lambda t, a, b: "\\begin{lstlisting}[language=Python]\n" + t.right + "\\end{lstlisting}\n",
    "LaTeX minted": lambda t, a, b: "\\begin{minted}{python}\n" + t.right + "\\end{minted}\n",
    "LaTeX verbatim": lambda t, a, b: "\\begin{verbatim}\n" + t.right + "\\end{verbatim}\n",
    "RST code block": lambda t, a, b: (
        "Use this::\n\n" + "".join("    " + line for line in t.right.splitlines(True)) + "\nDone.\n"
    ),
    "RST directive": lambda t, a, b: (
        ".. code-block:: python\n\n" + "".join("    " + line for line in t.right.splitlines(True)) + "\nDone.\n"
    ),
    "Org": lambda t, a, b: "#+BEGIN_SRC python\n" + t.right + "#+END_SRC\n",
    "AsciiDoc": lambda t, a, b: "[source,python]\n----\n" + t.right + "----\n",
    "BBCode": lambda t, a, b: f"[code=python]\n{t.right}[/code]",
    "Jira": lambda t, a, b: "{code:python}\n" + t.right + "{code}\n",
    "diff": lambda t, a, b: "```diff\n" + "".join("+" + line for line in t.right.splitlines(True)) + "```\n",
    "numbered lines": lambda t, a, b: (
        "```python\n" + "".join(f"{i:2d} {line}" for i, line in enumerate(t.right.splitlines(True), 1)) + "```\n"
    ),
    "numbered lines with bar": lambda t, a, b: (
        "```python\n" + "".join(f"{i:3d} | {line}" for i, line in enumerate(t.right.splitlines(True), 1)) + "```\n"
    ),
    "In [1] session": lambda t, a, b: "In [1]: " + "\n   ...: ".join(t.right.splitlines()) + "\n\nOut[1]: 6\n",
    "pycon fence": lambda t, a, b: fenced(_session(t, "", ""), "pycon"),
    "notebook json": lambda t, a, b: json.dumps(
        {
            "cells": [
                {"cell_type": "markdown", "source": ["x"]},
                {"cell_type": "code", "source": t.right.splitlines(True)},
            ]
        }
    ),
    "json fence": lambda t, a, b: fenced(json.dumps({"code": t.right}) + "\n", "json"),
    "json list tool calls": lambda t, a, b: json.dumps(
        [{"name": "python", "arguments": json.dumps({"code": t.right})}]
    ),
    "tool call hermes xml params": lambda t, a, b: (
        f"<tool_call>\n<function=python>\n<parameter=code>\n{t.right}</parameter>\n</function>\n</tool_call>"
    ),
    "tool call Mistral": lambda t, a, b: (
        '[TOOL_CALLS][{"name": "python", "arguments": ' + json.dumps({"code": t.right}) + "}]"
    ),
    "tool call DeepSeek": lambda t, a, b: (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>python\n```json\n"
        + json.dumps({"code": t.right})
        + "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "Llama python_tag": lambda t, a, b: "<|python_tag|>" + t.right + "<|eom_id|>",
    "invoke XML": lambda t, a, b: (
        f'<function_calls>\n<invoke name="python">\n<parameter name="code">{t.right}</parameter>\n</invoke>\n</function_calls>'
    ),
    "smolagents": lambda t, a, b: f"Thought: do it\nCode:\n```py\n{t.right}```<end_code>\n",
    "smolagents 2": lambda t, a, b: f"Thought: do it\n<code>\n{t.right}</code>",
    "ReAct": lambda t, a, b: (
        f"Thought: x\nAction: python\nAction Input: {fenced(t.right)}Observation: ok\nFinal Answer: done"
    ),
    "escaped newlines": lambda t, a, b: json.dumps(t.right),
    "Japanese prose": lambda t, a, b: f"以下がコードです。\n\n{fenced(t.right)}\n計算量はO(n)です。",
    "Arabic prose": lambda t, a, b: f"إليك الحل:\n{fenced(t.right)}\nانتهى.",
    "Russian prose bare": lambda t, a, b: f"Вот решение:\n\n{t.right}\nСложность O(n).",
    "Chinese full-width colon bare": lambda t, a, b: f"代码如下：\n{t.right}\n以上。",
    "U+2028 between": lambda t, a, b: f"So:\u2028\n{fenced(t.right)}",
    "form feed": lambda t, a, b: f"\f{fenced(t.right)}",
    "lone CR": lambda t, a, b: fenced(t.right).replace("\n", "\r"),
    "trailing EOT": lambda t, a, b: t.right + "<|EOT|>",
    "trailing </s></s>": lambda t, a, b: fenced(t.right) + "</s></s>",
    "leading bos": lambda t, a, b: "<s>" + fenced(t.right),
    "fim tokens": lambda t, a, b: "<fim_middle>" + t.right + "<|endoftext|>",
    "file sep": lambda t, a, b: t.right + "<|file_sep|>other.py\nx = (",
    "curly quotes prose": lambda t, a, b: f"Here’s “the” code:\n{fenced(t.right)}",
    "indent 2 fence": lambda t, a, b: "".join("  " + line for line in fenced(t.right).splitlines(True)),
    "closing fence with spaces": lambda t, a, b: f"```python\n{t.right}```   \n",
    "closing fence glued to words": lambda t, a, b: f"```python\n{t.right}```This doubles.",
    "no newline at close": lambda t, a, b: f"```python\n{t.right.rstrip()}```",
    "fence python on next line": lambda t, a, b: f"```\npython\n{t.right}```\n",
    "bare language line": lambda t, a, b: f"python\n{t.right}",
    "Python: label": lambda t, a, b: f"Python:\n{t.right}",
    "main guard": lambda t, a, b: (
        fenced(t.right + "\n\nif __name__ == '__main__':\n    print('x')\n") if t.name else fenced(t.right)
    ),
    "doctest main": lambda t, a, b: (
        fenced(t.right + "\n\nimport doctest\ndoctest.testmod()\n") if t.name else fenced(t.right)
    ),
    "two equal blocks": lambda t, a, b: fenced(t.right) + "\nAgain:\n" + fenced(t.right),
    "wrong then fixed with comment": lambda t, a, b: fenced(t.draft) + "\nWait, this is wrong.\n" + fenced(t.right),
    "right then java": lambda t, a, b: fenced(t.right) + "\nIn Java:\n" + fenced("class A {}\n", "java"),
    "right then alternative cut off": lambda t, a, b: fenced(t.right) + "\nAlternatively\n```python\ndef other(",
    "test asserts in own block after, no fence end": lambda t, a, b: (
        fenced(t.right) + "\nTests:\n```python\nassert True"
    ),
    "<think> unclosed but answer tag": lambda t, a, b: (
        f"<think>\nhm\n</think>\n<|begin_of_solution|>\n{fenced(t.right)}<|end_of_solution|>"
    ),
    "Sky-T1": lambda t, a, b: (
        f"<|begin_of_thought|>\n{fenced(t.draft)}<|end_of_thought|>\n\n<|begin_of_solution|>\n{fenced(t.right)}<|end_of_solution|>"
    ),
    "GLM-4.5 box": lambda t, a, b: f"<think></think>\n<|begin_of_box|>{fenced(t.right)}<|end_of_box|>",
    "gemma4 channel": lambda t, a, b: f"<|channel>thought\n{fenced(t.draft)}<channel|>{fenced(t.right)}",
    "thinking upper": lambda t, a, b: f"<THINK>\n{fenced(t.draft)}</THINK>\n{fenced(t.right)}",
    "Kimi closing only": lambda t, a, b: f"hm {fenced(t.draft)}◁/think▷{fenced(t.right)}",
    "scratchpad": lambda t, a, b: f"<scratchpad>\n{fenced(t.draft)}</scratchpad>\n{fenced(t.right)}",
    "reflection": lambda t, a, b: (
        f"<thinking>\n{fenced(t.draft)}<reflection>no</reflection></thinking>\n<output>\n{fenced(t.right)}</output>"
    ),
    "output tag bare": lambda t, a, b: f"<output>\n{t.right}</output>",
    "details tag": lambda t, a, b: (
        f"<details><summary>Reasoning</summary>\n\n{fenced(t.draft)}\n</details>\n\n{fenced(t.right)}"
    ),
    "solution tag bare": lambda t, a, b: f"Here\n<solution>\n{t.right}</solution>\nbye",
    "type hints & decorator": lambda t, a, b: "import functools\n\n" + t.right,
    "shebang": lambda t, a, b: "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n" + t.right,
    "fence with attributes": lambda t, a, b: fenced(t.right, 'python numberLines startFrom="1"'),
    "fence ipython": lambda t, a, b: fenced(t.right, "ipython"),
    "fence jupyter-python": lambda t, a, b: fenced(t.right, "jupyter-python"),
    "fence pyodide": lambda t, a, b: fenced(t.right, "{code-cell} python"),
    "fence repl": lambda t, a, b: fenced(t.right, "repl"),
    "fence starlark?": lambda t, a, b: fenced(t.right, "python-3.11"),
}
"""Written after the rules, to see what they had not thought of: 65 of its 500 answers were wrong then, of 14 forms."""
NOTHING: dict[str, str] = {
    "QwQ: never stops thinking": "<think>\nLet me see.\n```python\ndef twice(x):\n    return 2 * x\n```\nBut wait",
    "R1: thinks again, at once": "<think>\nfirst</think>\n<think>\nand on and on",
    "gpt-oss: never answers": "analysisWe need a function that doubles. def twice(x): return 2 * x",
    "Llama: declines": "I'm sorry, but I cannot help with that request.",
    "Solar: declines": "죄송합니다. 그 요청은 도와드릴 수 없습니다.",
    "words alone": "The answer is to multiply by two.",
    "white space": " \n\n\t",
    "an empty block": "```python\n```\n",
}


def right(code: str | None, task: Task, holds: bool) -> bool:
    """Whether what was taken out is what the label says: a program that passes, or none."""
    if not holds or not code:
        return holds is bool(code)
    try:
        return bool(task.passes(code))
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a wrongly taken program raises
        return False


def labelled() -> Iterator[tuple[str, Task, str, bool]]:
    """(name, task, answer, whether it holds a right program)."""
    for (style, write), task in itertools.product(STYLES.items(), TASKS):
        plain = write(task, "", "")
        seen = {plain}
        yield f"{style} | {task.name or 'program'}", task, plain, True
        for i, (before, behind) in enumerate(zip(BEFORE[1:], BEHIND[1:], strict=True)):
            answer = write(task, before, behind)
            if answer not in seen:
                seen.add(answer)
                yield f"{style} | {task.name or 'program'} | {i}", task, answer, True
    for (style, write), task in itertools.product(FURTHER.items(), TASKS):
        yield f"{style} | {task.name or 'program'}", task, write(task, "", ""), True
    clipped = TASKS[2]
    for name, answer in {
        "a body": BODY,
        "a body, and a fence": f"{BODY}```\n",
        "a body in a block": f"The rest:\n{fenced(BODY)}",
        "a body without its indentation, in a block": fenced("return [min(x, LIMIT) for x in xs]\n"),
        "a body with a comment at the margin": BODY.replace("    return", "# so\n    return"),
        "a body, thought about": f"<think>def</think>\n{BODY}",
        "the prompt again": PROMPT + BODY,
        "the prompt again, in a block": fenced(PROMPT + BODY),
        "from the future": f"from __future__ import annotations\n{clipped.right}",
    }.items():
        yield f"behind a prompt: {name}", clipped, answer, True
    twice = TASKS[0]
    for name, answer in {
        "imports in a block of their own": "```python\nimport operator\n```\n```python\ndef twice(x):\n    return operator.mul(2, x)\n```",
        "a helper behind": "```python\ndef twice(x):\n    return half(4 * x)\n```\nwith\n```python\ndef half(x):\n    return x // 2\n```",
        "a call first": f"```python\ntwice(2)\n```\n{fenced(twice.right)}",
        "an assert last": f"{fenced(twice.right)}\n```python\nassert twice(2) == 4\n```",
        "on the fence's line": "```python def twice(x): return 2 * x```",
        "a fence behind words": f"Here: ```python\n{twice.right}```",
        "a fence at the end of the code": f"```python\n{twice.right.rstrip()}```\nDone.",
        "a lambda": "twice = lambda x: 2 * x",
        "JSON": json.dumps({"explanation": "it doubles", "code": twice.right}),
        "Markdown in Markdown": f"````markdown\n# twice\n{fenced(twice.right)}````\n",
        "start and end marks": f"[BEGIN]\n{twice.right}[DONE]\nmore",
        "an information string of another kind": f"```{{.python}}\n{twice.right}```",
        "a name in the information string": f'```python title="twice.py"\n{twice.right}```',
        "indented by four among words": "So:\n\n    def twice(x):\n        return 2 * x\n\nThat is all.",
        "a mark in a string": "```python\ndef twice(x):\n    mark = '</think>'\n    return 2 * x\n```",
        "escaped HTML": "<pre><code>def twice(x):\n    return x if x &lt; 0 and False else 2 * x\n</code></pre>",
        "a zero-width space": "```python\n\u200bdef twice(x):\n    return 2 * x\n```",
    }.items():
        yield f"oddity: {name}", twice, answer, True
    yield from blind_answers.labelled(TASKS)
    for name, answer in NOTHING.items():
        yield f"nothing: {name}", twice, answer, False
