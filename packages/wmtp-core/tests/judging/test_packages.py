"""``judging.packages``: distributions that programs may import. numpy is there, since torch needs it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.errors import JudgeError
from wmtp.judging import open_judge
from wmtp.judging.host.packages import find

LEVELS = pytest.mark.parametrize("level", ["strict", "process"])
PROGRAM = """
import numpy as np
def mean(x): return np.mean(np.array(x))
def dot(x): return np.array(x) @ np.array(x)
def ordered(x): return np.sort(x)
def positive(x): return np.bool_(x > 0)
def long(x): return np.longdouble(x)
"""


@LEVELS
def test_programs_use_numpy_and_its_scalars_are_numbers(level: str) -> None:
    tests = (
        "assert mean([1, 2, 3]) == 2.0", "assert mean([1, 2]) != 1", "assert dot([1, 2]) == 5",
        "assert list(ordered([3, 1, 2])) == [1, 2, 3]", "assert ordered([2, 1]).tolist() == [1, 2]",
        "assert positive(3) == True", "assert positive(-3) == False", "assert float(mean([1])) < 2",
    )  # fmt: skip
    with open_judge(level=level, workers=1, packages=["numpy"]) as judge:  # type: ignore[arg-type]
        passed = judge.submit(PROGRAM, CallTests(tests=tests)).result()
        wrong = judge.submit(PROGRAM, CallTests(tests=("assert mean([1, 2]) == 1.0",))).result()
        # A plain assert would say yes; the exact value has no counterpart outside numpy, and is not rounded to one.
        long = judge.submit(PROGRAM, CallTests(tests=("assert long(1) == 1",))).result()
        cases = [StdioCase(input="3\n", expected="1.5\n"), StdioCase(input="200\n", expected="100.0\n")]
        script = "import numpy as np\nprint(np.linalg.inv(np.eye(int(input())) * 2).sum())\n"
        printed = judge.submit(script, StdioTests(cases=cases)).result()
    assert passed.passed, passed
    assert wrong.status == "failed"
    assert long.status == "failed"
    assert printed.passed, printed


@LEVELS
def test_nothing_but_the_named_is_in_reach(level: str) -> None:
    with open_judge(level=level, workers=1, packages=["numpy"]) as judge:  # type: ignore[arg-type]
        outcome = judge.submit("import attrs\ndef f(): return 1\n", CallTests(tests=("assert f() == 1",))).result()
    assert outcome.status == "error"
    assert "No module named 'attrs'" in outcome.detail


def test_the_packages_cannot_be_written_to() -> None:
    program = "import numpy\ndef f():\n    open(numpy.__file__, 'a').write('#')\n    return 1\n"
    with open_judge(level="strict", workers=1, packages=["numpy"]) as judge:
        outcome = judge.submit(program, CallTests(tests=("assert f() == 1",))).result()
    assert not outcome.passed
    assert "denied" in outcome.detail or "Read-only" in outcome.detail


def test_a_verdict_depends_on_the_version() -> None:
    with (
        open_judge(level="process", workers=1) as plain,
        open_judge(level="process", workers=1, packages=["numpy"]) as other,
    ):
        assert "packages" not in plain.identity
        assert other.identity["packages"] == f"numpy {importlib.metadata.version('numpy')}"


def test_a_missing_one_is_named_with_its_pip_line() -> None:
    with pytest.raises(JudgeError, match=r"judging.packages: 'no-such-thing' .*pip install no-such-thing"):
        open_judge(level="process", packages=["no-such-thing"])


def test_an_editable_one_is_refused() -> None:
    with pytest.raises(JudgeError, match="editable"):
        find(["wmtp-core"])


@LEVELS
def test_one_that_lacks_what_it_needs_is_told_at_the_start(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy.py").write_text("import what_needy_needs\n", encoding="utf-8")
    info = tmp_path / "needy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: needy\nVersion: 1.0\n", encoding="utf-8")
    (info / "RECORD").write_text("needy.py,,\nneedy-1.0.dist-info/METADATA,,\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(JudgeError, match=r"cannot import needy: .*what_needy_needs"):
        open_judge(level=level, workers=1, packages=["needy"])  # type: ignore[arg-type]
