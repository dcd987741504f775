"""What a reference answers is computed once, apart, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from wmtp.errors import ConfigError
from wmtp.kit import ReferenceAnswers, reference_answers


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_reference_is_run_once_and_its_answers_are_kept(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = f"print('noise')\nopen({str(marks)!r}, 'a').write('x')\ndef f(x):\n    return {{x: (x / 2, None)}}\n"
    first = reference_answers(code, "f", [[1], [2]], problem="own/1")
    assert list(first.sources) == ["{1: (0.5, None)}", "{2: (1.0, None)}"]
    assert reference_answers(code, "f", [[1], [2]], problem="own/1") == first
    assert marks.read_text() == "x"
    reference_answers(code, "f", [[1], [3]], problem="own/1")
    assert marks.read_text() == "xx", "other inputs"
    for number, damage in enumerate(("{", "[]", '{"answers": []}'), 3):
        for kept in (tmp_path / "wmtp/references").glob("*.json"):
            kept.write_text(damage, encoding="utf-8")
        assert reference_answers(code, "f", [[1], [2]], problem="own/1").sources == first.sources
        assert marks.read_text() == "x" * number, "a damaged file is made again"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(x):\n    return 1 // 0\n", "ZeroDivisionError"),
        ("def f(x):\n    return object()\n", "which is no plain data"),
        ("def g(x):\n    return 1\n", "KeyError: 'f'"),
        ("import os\nos._exit(3)\n", "ended with status 3"),
    ],
)
def test_a_reference_that_gives_no_answers_is_named(code: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"own/7: its reference gives no answers to compare with: .*{says}"):
        reference_answers(code, "f", [[1]], problem="own/7")


def test_no_inputs_make_no_tests() -> None:
    with pytest.raises(ValueError, match="no inputs, so every program would pass"):
        ReferenceAnswers(sources=(), seconds=0.0).tests([[], []], "f(*_args) == _wanted")
