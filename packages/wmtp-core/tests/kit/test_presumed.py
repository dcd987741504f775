"""What is presumed of an answer that nobody has parsed is what is found in it, wherever it passes its tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from answers import labelled, right

from wmtp.kit import Wanted, extract
from wmtp.kit.presumed import presumed

LABELLED: list[tuple[str, Any, str, bool]] = list(labelled())


def test_of_the_labelled_answers_those_that_pass_are_found_to_be_the_same() -> None:
    taken = [(name, presumed(text, task.wanted), task, text) for name, task, text, _ in LABELLED]
    passing = [(name, found, extract(text, task.wanted)) for name, found, task, text in taken
               if found and right(found.code, task, True)]  # fmt: skip
    assert {found.rule for _, found, _ in passing} == {"whole", "continuation"}
    assert [name for name, found, read in passing if found != read] == []
    by_rule = [name for name, task, text, _ in LABELLED if extract(text, task.wanted).rule in ("whole", "continuation")]
    assert len(passing) > len(by_rule) / 4  # or nothing would be spared
    wrong = [name for name, found, task, _ in taken if found and not right(found.code, task, True)]
    assert len(wrong) < len(LABELLED) / 100  # each of them is judged twice


LINES = [
    "def f(x):", "    return 1", "    return f(x - 1) if x else 1", "f = abs", "import math", "x: int", "print", "END", "f(2)",
    "f(2) + 1", "[f]", "'''", "Note: f", "for x in []:", "    pass", "# words", "", "### Instruction", "\nAnswer:", "  ",
    "\nQ: what\n\nA: f", "<think>", "</think>", "[DONE]", "[BEGIN]", "```", "py", "\ufeff", "def g(): pass", "pi",
    "from math import *", "from __future__ import annotations", "y = 2; pi", "y = 1; Note: Done", "END, 'a=b'", "f(0); END",
    "    def f (x):", "    return f(x)", "def f (x): return 1", "exec('def f(x): return 2*x')", "y = 3\fEND",
    "exec('''\ndef f(x): return 2*x\n''')",
]  # fmt: skip
HEADER = 'from math import *\n\ndef f(x):\n    """One."""\n'


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=7), st.sampled_from([False, True]), st.booleans())
def test_whatever_runs_and_has_no_unbound_names_is_found_to_be_the_same(
    lines: list[str], continues: bool, named: bool
) -> None:
    wanted = Wanted(
        names={"f"} if named else (),
        prompt=HEADER if continues else "",
        continues=continues,
        begin="[BEGIN]",
        end="[DONE]",
    )
    text = "\n".join(lines) + "\n"
    found = presumed(text, wanted)
    if found is None:
        return
    assert found.code is not None
    names: dict[str, Any] = {}
    try:
        exec(found.code, names)  # of lines that do nothing
        passed = names["f"](0) is not None
    except Exception:  # noqa: BLE001 - such an answer is parsed
        return
    if passed:
        assert extract(text, wanted) == found


WHOLE = "def f(x):\n    return 1\n"
OTHERWISE = {
    "words behind it": f"{WHOLE}\nIt gives one.\n",
    "words before it": f"Here it is:\n\n{WHOLE}",
    "a fence": f"```python\n{WHOLE}```\n",
    "a thought": f"<think>one</think>\n{WHOLE}",
    "another's end token": f"{WHOLE}<|endoftext|>",
    "another name": "def g(x):\n    return 1\n",
    "a call of it": "f(3)\n",
    "nothing": "",
    "a line": "\n",
    "a body that nobody asked for": "    return 1\n",
    "a session": ">>> f(1)\n",
    "a definition in a string": "exec('def f(x): return 2')\n",
    "a definition in a string of its own lines": "exec('''\ndef f(x): return 2\n''')\n",
    "words behind a statement": f"{WHOLE}y = 1; END\n",
    "words behind a form feed": f"{WHOLE}y = 1\n\x0cEND\n",
    "names from elsewhere": f"from math import *\n{WHOLE}",
    "annotations that nobody reads": f"from __future__ import annotations\n{WHOLE}",
    "a list that looks like an assignment": f"{WHOLE}END, 'a=b'\n",
}


@pytest.mark.parametrize("why", OTHERWISE)
def test_what_looks_otherwise_is_parsed(why: str) -> None:
    assert presumed(OTHERWISE[why], Wanted(names={"f"})) is None


@pytest.mark.parametrize("text", [WHOLE.replace("\n", "\r\n"), WHOLE.replace("f(", "f ("), f"import math\n\n\n{WHOLE}"])
def test_lines_may_end_as_windows_ends_them_and_a_name_stand_alone(text: str) -> None:
    """As many of MBPP's references have it: they would all be parsed otherwise."""
    wanted = Wanted(names={"f"})
    assert presumed(text, wanted) == extract(text, wanted)


def test_a_whole_program_behind_a_prompt_is_parsed_and_a_body_is_not() -> None:
    wanted = Wanted(names={"f"}, prompt=HEADER, continues=True)
    assert presumed(WHOLE, wanted) is None  # what the prompt lends it hangs on what it imports
    body = presumed("    return sqrt(x)\n", wanted)
    assert body is not None
    assert (body.code, body.rule) == (f"{HEADER}    return sqrt(x)\n", "continuation")
    for space in (" ", "\t", "  "):
        assert presumed(f"    def{space}f (x):\n        return 1\n    return f(x)\n", wanted) is None


@pytest.mark.parametrize(
    "line", ["a", "a.", "a = ", "x, ", "def f(x): ", "f(\n", "=\n", "def f(:\n", "    ", ") ", "'" * 3]
)
def test_a_large_answer_takes_no_more_than_its_share_of_time(line: str) -> None:
    wanted = Wanted(names={"f"})

    def seconds(size: int) -> float:
        started = time.process_time()
        presumed(line * (size // len(line)), wanted)
        return time.process_time() - started

    assert seconds(2**19) < 64 * max(seconds(2**15), 0.0005) + 0.5
