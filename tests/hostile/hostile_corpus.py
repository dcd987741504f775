"""The hostile corpus as data: reads ``corpus/*.toml``, one file a family.

Of each case, passing means that the candidate won. Fields of a ``[[case]]``:

program   the source. MARK, PORT and SYSV in it are replaced by a word and numbers of this run, to recognise what it leaves.
use       snippets of the same file to put before the program.
kind      ``call`` (default) or ``stdio``.
wins      true: the program says ``won`` itself when its trick works. Else the tests expect what it cannot know.
tests     call tests of its own. second: a program judged afterwards with the same tests, which must not pass either.
process   at level process the same as at strict (``holds``, the default), or what that level does not promise:
          ``open`` (the trick works there), ``depends`` (on kernel and user), ``not run`` (it could harm the host).
promise   the row of the table in docs/judging.md for a case that is not ``holds``.
heavy     takes seconds: left to ``-m slow`` but for the run at strict as the user we are.
peers     why the case is not shown to other judges (`benchmarks/hostile.py`), if it is not.

Standard library only.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "corpus"
FAMILIES = (
    "leaving", "forging", "reading", "state", "exhausting", "reaching", "escaping", "channels", "limits", "answers", "sources",
)  # fmt: skip
_DEFAULTS = {
    "kind": "call", "use": [], "wins": False, "tests": None, "second": "", "process": "holds", "promise": "",
    "heavy": False, "peers": "",
}  # fmt: skip
_LEVELS = {"holds", "open", "depends", "not run"}

# What no program can know; none of these words is in any program.
CALLS = ["assert f(3) == [9, 'ka7']", "assert f(4) == [16, 'kb2']", "assert f(5) == [25, 'kc4']"]
LINES = [["3\n", "9 ka7\n"], ["4\n", "16 kb2\n"], ["5\n", "25 kc4\n"]]
WON = {"call": ["assert f() == 'won'"], "stdio": [["3\n", "won\n"]]}


def _case(family: str, snippets: dict[str, str], row: dict[str, Any]) -> dict[str, Any]:
    case = _DEFAULTS | row | {"family": family, "id": f"{family}: {row['name']}"}
    unknown = row.keys() - _DEFAULTS.keys() - {"name", "program"}
    if unknown or case["process"] not in _LEVELS or (case["process"] == "holds") != (not case["promise"]):
        raise ValueError(f"{case['id']}: {sorted(unknown)} {case['process']!r} {case['promise']!r}")
    case["program"] = "\n".join([*(snippets[name] for name in case.pop("use")), case["program"]])
    default = WON[case["kind"]] if case["wins"] else CALLS if case["kind"] == "call" else LINES
    case["tests"] = case["tests"] or default
    return case


def load() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    for family in FAMILIES:
        body = tomllib.loads((FOLDER / f"{family}.toml").read_text(encoding="utf-8"))
        cases += [_case(family, body.get("snippets", {}), row) for row in body["case"]]
    return cases


def table(cases: list[dict[str, Any]]) -> str:
    """The rows of docs/judging.md that say what level process does not promise, case by case."""
    rows: dict[str, list[str]] = {}
    for case in cases:
        if case["promise"]:
            how = {"open": "", "depends": " (depends)", "not run": " (not run)"}[case["process"]]
            rows.setdefault(case["promise"], []).append(f"{case['name']}{how}")
    lines = ["| not promised at `process` | shown by |", "|---|---|"]
    lines += [f"| {promise} | {'; '.join(names)} |" for promise, names in sorted(rows.items())]
    return "\n".join(lines)
