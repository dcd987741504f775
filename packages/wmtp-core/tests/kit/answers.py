# ruff: noqa: E501 - answers are shown as they were written
"""Answers to programming questions, written in the manner of model families, each with what a right extraction does.

All of it is ours: the programs, the prose and the wrappers. `labelled()` yields every answer with its label.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from wmtp.kit import Wanted


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
    for name, answer in NOTHING.items():
        yield f"nothing: {name}", twice, answer, False
