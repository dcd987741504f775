"""Stdout is for a command's data alone, and who stops reading it changes no exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from wmtp.cli.options import Finite
from wmtp.cli.show import told
from wmtp.runs.reader import open_run

Files = Callable[..., None]


@pytest.mark.parametrize("command", [["metrics"], ["--help"]])
def test_a_reader_that_leaves_is_no_failure(command: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wmtp", *command], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_printed_while_a_run_goes_is_not_among_its_data(
    as_json: bool,
    tmp_path: Path,
    write_files: Files,
    evaluate: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Announcer:
        def handle(self, event: Any) -> None:
            print("announced")

        def close(self) -> None: ...

    write_files(problems=2)
    with told(as_json=as_json) as shown:
        evaluate(listeners=[Announcer()], finished=shown.finished)
        print("behind its end")
    out, err = capsys.readouterr()
    assert "announced" in err
    assert "behind its end" in err
    assert "announced" not in out
    if as_json:
        assert json.loads(out)["run"]["name"] == "run"
    else:
        assert out.splitlines()[-1].endswith("report.md")
        assert "mbpp_pass@1" in out
    assert open_run(tmp_path / "runs" / "run").record is not None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "x"])
def test_numbers_of_options_are_finite(value: str) -> None:
    with pytest.raises(click.BadParameter):
        Finite(min=0).convert(value, None, None)
    assert Finite(min=0).convert("0.5", None, None) == 0.5
