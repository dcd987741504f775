"""Hostile things that are no programs: answers, data sets, run folders and checkpoints that come from elsewhere.

Faults 14, 18, 20 and 21 of the red team, as families. Data rows (5) are in the judge's test_checker_walls.py, a checkpoint's
own code (15) in test_remote_code.py and test_bad_models.py.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wmtp import WmtpError
from wmtp.judging.sandbox import libraries, lockdown
from wmtp.kit import Wanted, extract

CODE = "def f(x):\n    return x\n"
# Answers that take a parser long, or make it give up without naming a line.
ANSWERS = {
    "decorators of nothing": "@a\n" * 3000,
    "a chain of elif": "if a:\n    pass\n" + "elif a:\n    pass\n" * 5000,
    "open brackets": "(" * 30_000,
    "open brackets, a line each": "(\n" * 8000,
    "nested functions": "".join(" " * n + "def f():\n" for n in range(90)) * 20,
    "nested lambdas": "lambda: " * 8000,
    "strings without end": "'''\n" * 3001,
    "f-strings in f-strings": "f'{" * 3000,
    "continued lines": "\\\n" * 20_000,
    "unary minus": "-" * 40_000 + "1",
    "fences": "```\n" * 8000,
    "fences of Python": "```python\ndef f(:\n```\n" * 1500,
    "a good start, then nonsense": CODE + "x = (\n" * 4000,
    "nonsense, then a good end": "x = (\n" * 4000 + CODE,
    "thinking without end": "<think>\n" * 5000 + CODE,
    "classes of classes": "class A:\n" * 5000,
    "one long line": "x = " + "a + " * 20_000,
    "null bytes": "\0" * 20_000 + CODE,
    "tabs and spaces": "if x:\n\ty\n        z\n" * 2000,
    "statements that no parser takes": "match x:\n" * 5000,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_parsed_a_bounded_number_of_times(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    parse = ast.parse

    def counted(source: Any, *args: Any, **kwargs: Any) -> Any:
        parsed.append(len(source) if isinstance(source, (str, bytes)) else 0)
        return parse(source, *args, **kwargs)

    monkeypatch.setattr(ast, "parse", counted)
    extract(answer, Wanted(names={"f"}))
    assert sum(parsed) <= 300 * max(len(answer), 1000), (len(parsed), sum(parsed) / len(answer))


IDS = {
    "a heading and a picture": "x\n\n# PASSED <img src=x onerror=alert(1)>",
    "a script": "</script><script>alert(1)</script>",
    "a table's cell": "a | b | PASSED\n|---|",
    "colours of a terminal": "\x1b[31mred\x1b[0m",
    "a link": "[x](javascript:alert(1))",
    "written from right to left": "\u202eabc",
    "a path": "../../../../tmp/x",
    "a long one": "x" * 5000,
}


def _row(task_id: str) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "canonical_solution": "    return x\n",
        "test": "def check(candidate):\n    assert candidate(3) == 3\n",
    }


@pytest.fixture
def judged(tmp_path: Path, evaluate: Callable[..., Any], write_files: Callable[..., None]) -> Callable[..., Path]:
    """``judged(text of a data file)``: the run folder of its reference solutions."""

    def run(text: str, **options: Any) -> Path:
        write_files(
            config={"paths": {"datasets": {"humaneval_local": "rows.jsonl"}}, "judging": {"level": "process"}},
            eval={"metrics": ["humaneval_pass@1"]},
        )
        (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
        evaluate(**options)
        return tmp_path / "runs/run"

    return run


def test_an_id_of_a_data_row_stays_text_in_every_report(judged: Callable[..., Path]) -> None:
    # A wrong one each: report.md shows problems that nobody has solved.
    rows = [_row(name) | {"canonical_solution": "    return 4\n"} for name in IDS.values()]
    folder = judged("".join(json.dumps(row) + "\n" for row in rows))
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    unescaped = re.findall(
        r"(?<!\\)(?:<img|<script|</script|\]\(javascript|\| PASSED)|\x1b|\u202e|^# PASSED", text, re.M
    )
    assert unescaped == []


DEEP = "[" * 100_000


def test_a_data_row_nested_without_end_is_named(judged: Callable[..., Path]) -> None:
    with pytest.raises(WmtpError, match=r"rows\.jsonl, line 2"):
        judged(json.dumps(_row("a")) + "\n" + DEEP + "\n")


@pytest.mark.parametrize("file", ["keys.json", "samples/humaneval-v1.jsonl", "verdicts/humaneval-v1.jsonl"])
def test_a_record_of_a_run_nested_without_end_is_named(
    file: str, judged: Callable[..., Path], evaluate: Callable[..., Any]
) -> None:
    folder = judged(json.dumps(_row("a")) + "\n")
    good = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(DEEP + "\n" + good, encoding="utf-8")  # not the last line, which may be cut off
    with pytest.raises(WmtpError, match=Path(file).name):
        evaluate()


@pytest.mark.parametrize("kind", ["samples.jsonl", "generations.json"])
def test_a_file_of_samples_nested_without_end_is_named(
    kind: str, tmp_path: Path, wmtp: Callable[..., Any], write_problems: Callable[..., Path]
) -> None:
    write_problems(1)
    (tmp_path / kind).write_text(DEEP, encoding="utf-8")
    done = wmtp("score", kind, "--benchmark", "mbpp-v1", "--data", "problems.jsonl")
    assert done.returncode == 2, done.stderr
    assert kind in done.stderr
    assert "fault of ours" not in done.stderr


def test_links_in_the_place_of_a_runs_files_are_not_followed(
    tmp_path: Path, judged: Callable[..., Path], evaluate: Callable[..., Any]
) -> None:
    text = json.dumps(_row("a")) + "\n"
    folder = judged(text)
    away = tmp_path / "away"
    away.mkdir()
    (away / "kept").write_text("kept", encoding="utf-8")
    shutil.rmtree(folder / "samples")
    (folder / "samples").symlink_to(away)
    with contextlib.suppress(WmtpError):
        evaluate(fresh=True)
    assert (away / "kept").read_text(encoding="utf-8") == "kept"
    (folder / "log.txt").unlink(missing_ok=True)
    (folder / "log.txt").symlink_to(away / "kept")
    with contextlib.suppress(WmtpError):
        evaluate(fresh=True)
    assert (away / "kept").read_text(encoding="utf-8") == "kept"


PARAMS = {
    "layers without end": {"n_layers": 200_000},
    "heads without end": {"n_heads": 10**9},
    "a vocabulary without end": {"vocab_size": 10**12},
    "a width without end": {"dim": 10**12},
    "future tokens without end": {"n_future_tokens": 10**6},
    "fewer than nothing": {"n_layers": -1},
    "a division by nothing": {"n_heads": 0},
    "a multiple of nothing": {"multiple_of": 0},
    "text": {"n_layers": "three"},
    "infinity": {"norm_eps": float("inf"), "n_layers": 10**30},
}


@pytest.mark.parametrize("name", PARAMS)
def test_a_checkpoint_of_impossible_size_is_refused_before_it_is_built(name: str, shared: Path, tmp_path: Path) -> None:
    from wmtp.models import load_model

    folder = tmp_path / "model"
    folder.mkdir()
    for path in (shared / "data/meta-mtp-tiny/7B_1T_4").iterdir():
        shutil.copyfile(path, folder / path.name)
    params = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    (folder / "params.json").write_text(json.dumps(params | PARAMS[name]), encoding="utf-8")
    with pytest.raises(WmtpError, match=r"params\.json"):
        load_model(folder)


def test_an_interpreter_where_programs_have_their_files_is_named() -> None:
    for path in ("/tmp/python/lib/python3.11", "/proc/x", "/box/lib", "/tmp"):
        found = libraries.Libraries((path,), (), ())
        with pytest.raises(OSError, match="install it elsewhere"):
            lockdown.check_places(found)
    lockdown.check_places(libraries.Libraries(("/usr/lib/python3.11", "/tmpfs/lib"), (), ("/usr/lib/x.so",)))
