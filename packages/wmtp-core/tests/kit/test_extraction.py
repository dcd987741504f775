"""Programs out of answers: a labelled set in the manner of model families, and what must hold of any text."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import answers
from answers import right

from wmtp.kit import Wanted, extract, parse, split_thinking
from wmtp.kit.extraction import PLAIN, extract_plainly

LABELLED: list[tuple[str, Any, str, bool]] = list(answers.labelled())


def test_the_labels_are_right() -> None:
    """The right program of every task passes its check, and the draft does not: otherwise nothing below could fail."""
    for task in answers.TASKS:
        assert task.passes(task.wanted.prompt + task.right)
        assert not right(task.wanted.prompt + task.draft, task, True)
    families = {name.split(":")[0] for name, *_ in LABELLED}
    assert len(families) >= 12
    assert len({text for _, _, text, _ in LABELLED}) >= 500


def test_of_the_labelled_answers_all_but_one_in_two_hundred_are_right() -> None:
    wrong = [name for name, task, text, holds in LABELLED if not right(extract(text, task.wanted).code, task, holds)]
    assert len(wrong) <= 0.005 * len(LABELLED), wrong


def _lm_eval_instruct(text: str, task: Any) -> str:
    """lm-eval's rule for instructed MBPP and HumanEval, said again: the first block, of a text that a fence opened."""
    found = re.findall(r"```(?:\w+)?\n?(.*?)\n?```", text if "```" in text else f"```{text}```", re.DOTALL)
    code = found[0] if found else text
    return task.wanted.prompt + code if task.wanted.continues else code


@pytest.mark.parametrize("choose", ["first-block", "last-block"])
def test_no_plainer_rule_is_right_as_often(choose: Any) -> None:
    def count(codes: list[str | None]) -> int:
        return sum(right(code, t, holds) for code, (_, t, _, holds) in zip(codes, LABELLED, strict=True))

    ours = count([extract(text, task.wanted).code for _, task, text, _ in LABELLED])
    plain = count([extract(text, task.wanted, choose=choose).code for _, task, text, _ in LABELLED])
    theirs = count([_lm_eval_instruct(text, task) for _, task, text, _ in LABELLED])
    assert ours > plain
    assert ours > theirs


def test_evalplus_own_rule_is_not_right_as_often() -> None:
    sanitize = pytest.importorskip("evalplus.sanitize").sanitize
    ours = theirs = 0
    for _, task, text, holds in LABELLED:
        if not task.name:
            continue
        ours += right(extract(text, task.wanted).code, task, holds)
        found = sanitize(text if not task.wanted.continues else task.wanted.prompt + text, task.name)
        theirs += right(found or None, task, holds)
    assert ours > theirs


RULES = {
    "def f(x):\n    return 1\n": "whole",
    "```python\ndef f(x):\n    return 1\n```": "block",
    "def f(x):\n    return 1\n```\nSo.": "before the fence",
    "[PYTHON]\ndef f(x):\n    return 1\n[/PYTHON]": "wrapper",
    "Here it is:\n\ndef f(x):\n    return 1\n\nIt gives one.": "among words",
    "def f(x):\n    return 1\n\nIt gives one.": "longest prefix",
    "def f(x:\n": "as it stands",
    "One could use a loop.": "no program",
    "I'm sorry, I can't do that.": "refused",
    " \n": "empty",
    "<think>hm": "unclosed thinking",
}


@pytest.mark.parametrize("text", RULES)
def test_an_extraction_names_its_rule(text: str) -> None:
    assert extract(text, Wanted(names={"f"})).rule == RULES[text]


def test_a_prompt_that_opened_thinking_makes_an_answer_without_marks_a_thought() -> None:
    text = "```python\ndef f(x):\n    return 1\n```"
    assert extract(text, Wanted(names={"f"}), thinking_opened=True).rule == "unclosed thinking"
    assert extract(f"hm</think>{text}", Wanted(names={"f"}), thinking_opened=True).rule == "block"


def test_a_mark_in_a_string_of_a_program_ends_no_thinking() -> None:
    text = "Use this:\n```python\ndef f(x):\n    return x.split('</think>')[-1]\n```"
    assert split_thinking(text).thinking == ""
    assert "split" in (extract(text, Wanted(names={"f"})).code or "")


PIECES = ["```", "```python", "~~~", "def f(x):", "    return 1", '"""', "'''", "<think>", "</think>", "words", "", "> ",
          "[DONE]",
          "print(1)", "\x00", "{", '{"code": "x"}', "<code>", "</s>", ">>> f(1)", "return", "\u00a0x = 1"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=20), st.booleans())
def test_any_answer_ends_in_a_rule_and_the_same_one_each_time(pieces: list[str], program: bool) -> None:
    wanted = Wanted() if program else Wanted(names={"f"}, prompt='def f(x):\n    """One."""\n', continues=True)
    text = "\n".join(pieces)
    found = extract(text, wanted)
    assert (found.code is None) == (found.rule in {"no program", "refused", "empty", "unclosed thinking"})
    assert extract(text, wanted) == found


LARGE = {
    "fences": "```\n",
    "opened fences": "```python\nx = 1\n",
    "fences on one line": "``` ",
    "docstrings with fences": '```python\n"""\n```\n"""\n```\n',
    "open strings": '```\n"""\n```\n',
    "words": "some words that are no code, and a stop.\n",
    "quotes": "> ",
    "spaces": " ",
    "definitions that do not parse": "def f(:\n",
    "open brackets": "f(\n",
    "thinking": "<think>",
    "tags": "<code>",
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_answer_takes_no_more_than_its_share_of_time(name: str) -> None:
    """Sixteen times the text may take some thirty times as long, and not two hundred and fifty-six times."""
    wanted = Wanted(names={"f"})

    def seconds(size: int) -> float:
        text = LARGE[name] * (size // len(LARGE[name]))
        started = time.process_time()
        extract(text, wanted)
        return time.process_time() - started

    small = max(seconds(2**15), 0.0005)  # once: what was parsed before is remembered
    assert seconds(2**19) < 64 * small + 0.5


def test_what_a_server_took_out_as_reasoning_is_thinking_and_never_the_program() -> None:
    wanted = Wanted(names=["double"])
    code = "def double(x):\n    return 2 * x\n"
    found = extract(f"```python\n{code}```", wanted, reasoning="```python\nwrong()\n```")
    assert (found.code, found.thinking) == (code, "closed")
    assert extract("", wanted, reasoning=code).rule == "unclosed thinking"
    assert extract("  ", wanted, reasoning=code).thinking == "unclosed"


LENT = """\
import sys
from math import sqrt, pow, gcd
from operator import pow, add
from typing import List, Dict
sys.setrecursionlimit(9)
"""


@pytest.mark.parametrize(
    ("answer", "front"),
    [
        (
            "def f(xs: List[int]):\n    return sqrt(gcd(*xs))\n",
            "import sys\nfrom math import sqrt, gcd\nfrom typing import List\n",
        ),
        ("import sys\ndef f(n):\n    return sys.maxsize\n", "import sys\n"),
        ("from operator import add\ndef f(n):\n    return add(n, 1)\n", "import sys\n"),
        ("def f(a, sqrt):\n    return sqrt(a)\n", "import sys\n"),
    ],
)
def test_of_a_prompt_that_defines_nothing_a_program_gets_the_imports_that_it_lacks(answer: str, front: str) -> None:
    found = extract(answer, Wanted(names={"f"}, prompt=LENT))
    assert found.code == f"{front}sys.setrecursionlimit(9)\n{answer}"


def test_imports_of_a_prompt_come_behind_those_from_the_future() -> None:
    answer = "from __future__ import annotations\ndef f(xs: List):\n    return 1\n"
    code = extract(answer, Wanted(names={"f"}, prompt="from typing import List\n")).code
    assert code == "from __future__ import annotations\nfrom typing import List\n\ndef f(xs: List):\n    return 1\n"


FIRST_LINES = (
    "match x:\n    case _:\n        pass\n", "type = 3\n", "x if x else y\n", "x in y\n", "lambda x: x\n", "not x\n",
    "x is not y\n", "", "\n\nasync def f():\n    pass\n", "Here it is:\n", "<think>\n", "```\n", "  x = 1\n", "print x\n",
    "x\ny\n", "f 'x'\n", "a or b\n", "await x\n", "None is x\n", "case = 1\n", "_ = 1\n", "match (x):\n  case 1: pass\n",
)  # fmt: skip


@pytest.mark.parametrize("source", FIRST_LINES)
def test_what_is_refused_before_it_is_parsed_would_not_parse(source: str) -> None:
    try:
        plain: Any = ast.dump(ast.parse(source))
    except SyntaxError:
        plain = None
    found = parse(source)
    assert (None if found is None else ast.dump(found)) == plain


PARTS = (
    "def f(x):\n    return x\n", "    return 1\n", "import os\n", "```python\n", "```\n", "~~~\n", "`", "{code}", "\r\n", "\n",
    "<think>", "</think>", "<|im_end|>", "[BEGIN]", "[DONE]", "some words\n",
)  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.booleans(), st.sampled_from(["", "thought"]))
@example("def f(x):\n    return x\n[BEGIN]", False, "")
def test_both_plain_rules_at_once_take_out_what_each_does(text: str, opened: bool, reasoning: str) -> None:
    for wanted in (
        Wanted(names={"f"}, begin="[BEGIN]", end="[DONE]"),
        Wanted(names={"f"}, prompt="def f(x):\n", continues=True),
    ):
        told: Any = {"thinking_opened": opened, "reasoning": reasoning}
        ours = extract(text, wanted, **told)
        each = {choice: extract(text, wanted, choose=choice, **told).code for choice in PLAIN}
        assert extract_plainly(text, wanted, whole=ours.code if ours.rule == "whole" else None, **told) == each


def test_an_answer_that_python_warns_of_is_no_error_where_warnings_are() -> None:
    """And nobody else's warning is kept back. In a process of its own: filters are the whole process's."""
    program = """
import warnings
from wmtp import kit
kit.extract("import re", kit.Wanted())
warnings.simplefilter("error")  # comes before ours
for text in (r'x = "\\d"', "x = 1if True else 2", "assert (x, 'always')"):
    for _ in range(2):
        assert kit.extract(text, kit.Wanted()).rule == "whole", text
before = len(warnings.filters)
for n in range(50):
    warnings.simplefilter("error")
    kit.extract(f"y = {n}", kit.Wanted())
assert len(warnings.filters) == before, "filters pile up"
try:
    compile(r'x = "\\d"', "<other>", "exec")
except SyntaxError:
    print("told")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
