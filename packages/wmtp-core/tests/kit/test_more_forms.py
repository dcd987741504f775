"""Forms of answers and of tests' sources that came later, each of a kind that the labelled set names."""

from __future__ import annotations

import gc

import pytest

import wmtp
from wmtp import kit

RIGHT = "def double(x):\n    return 2 * x\n"


def added(text: str) -> str:
    return "".join(f"+{line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    "answer",
    [
        f"```python filename=a.py\n{RIGHT}```",
        f'```py name="a" copy\n{RIGHT}```',
        f"```python copy\n{RIGHT}```",
        "```python def double(x):\n    return 2 * x\n```",
        "```python\ndef double(x):\n    return 2 * x if x &lt; 5 or x &gt;= 5 else 0\n```",
        "```python\ndef double(x):\n    # <think> of both\n    return 2 * x\n```",
        "```python\n" + RIGHT.replace("return", "re\u00adturn") + "```",
        "\u200f```python\n" + RIGHT.replace("(x)", "\u200f(x)") + "```",
        f"```bash\ncat > a.py <<'EOF'\n{RIGHT}EOF\npython a.py\n```",
        f"*** Begin Patch\n*** Add File: a.py\n{added(RIGHT)}*** End Patch\n",
        f"@@ -0,0 +1,2 @@\n{added(RIGHT)}",
        "code: |\n  def double(x):\n      return 2 * x\nexplanation: doubles\n",
    ],
    ids=[
        "file name behind the language", "attributes", "a word of the page's", "code behind the language", "entities",
        "a mark in a comment", "soft hyphens", "marks of direction", "a here-document", "a patch", "a bare difference", "yaml",
    ],
)  # fmt: skip
def test_the_program_is_found(answer: str) -> None:
    found = kit.extract(f"Here:\n\n{answer}" if "@@ -" in answer else answer, kit.Wanted(names={"double"}))
    assert found.code is not None, found
    space: dict[str, object] = {}
    exec(found.code, space)
    double = space["double"]
    assert callable(double)
    assert double(4) == 8


@pytest.mark.parametrize("running", [True, False])
def test_the_collector_is_as_it_was_behind_an_extraction(running: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if running else gc.disable)()
        kit.extract(f"```python\n{RIGHT}```", kit.Wanted(names={"double"}))
        assert gc.isenabled() is running
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.parametrize(
    ("test", "can"),
    [
        ("assert double(2) == 4", True),
        ("if double(2) != 4: raise ValueError", True),
        ("check_it(double(2))", True),
        ("np.testing.assert_allclose(double(2), 4)", True),
        ("assert (", True),
        ("assert False", True),
        ("# assert double(2) == 4", False),
        ("pass", False),
        ("'double'", False),
        ("assert True", False),
        ("assert (double(2) == 4, 'wrong')", False),
        ("print(double(2))", False),
        ("double(2) == 4", False),
    ],
)
def test_which_tests_a_program_can_fail(test: str, can: bool) -> None:
    assert kit.can_fail([test], RIGHT) is can


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [(None, None), (2, 2.0), ("2.5s", 2.5), ({"seconds": "1", "nanos": 5e8}, 1.5), ({"nanos": 0}, 0.0)],
)
def test_forms_of_a_limit_of_time(limit: object, seconds: float | None) -> None:
    assert kit.seconds_of(limit) == seconds


@pytest.mark.parametrize("limit", ["soon", [2], -1, float("nan"), float("inf"), {"seconds": [1]}])
def test_what_is_no_limit_of_time_is_told(limit: object) -> None:
    with pytest.raises(ValueError, match=r"limit of time|could not convert"):
        kit.seconds_of(limit)


@pytest.mark.parametrize("day", ["20240801", "2024-W31-4", "2024-8-1", "August"])
def test_a_day_of_a_window_is_written_one_way(day: str) -> None:
    """Days are compared as text."""
    with pytest.raises(wmtp.ConfigError, match="expected a day like 2024-08-01"):
        kit.DateWindow(start_date=day)
