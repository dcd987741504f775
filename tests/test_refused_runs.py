"""What a refusal leaves behind, and what the Python API says to what it cannot take."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

import wmtp

Files = Callable[..., None]
Evaluate = Callable[..., wmtp.Results]


@pytest.mark.parametrize(
    "overrides",
    [["eval.evaluators.mbpp-v1.split=nowhere"], ["model.base_id=./no-such-folder"], ["eval.against=config.yaml"]],
)
def test_a_refused_run_leaves_no_folder(
    tmp_path: Path, evaluate: Evaluate, write_files: Files, overrides: list[str]
) -> None:
    write_files()
    with pytest.raises(wmtp.WmtpError):
        evaluate(*overrides)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("there", [False, True], ids=["a new folder", "a run that is there"])
def test_a_place_where_nobody_may_write_is_the_users_to_mend(
    tmp_path: Path, evaluate: Evaluate, write_files: Files, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Whoever runs the tests as root may write everywhere: the refusal is the system's own, made here."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    write_files()
    if there:
        (tmp_path / "runs" / "run").mkdir(parents=True)
    monkeypatch.setattr(filelock.FileLock if there else Path, "acquire" if there else "mkdir", refuse)
    with pytest.raises(wmtp.ConfigError, match=r"run: a run cannot be made there: Read-only file system\. .*--runs$"):
        evaluate()


def test_a_refusal_takes_nothing_away_that_it_did_not_make(
    tmp_path: Path, evaluate: Evaluate, write_files: Files
) -> None:
    write_files()
    (tmp_path / "runs" / "run").mkdir(parents=True)
    with pytest.raises(wmtp.WmtpError):
        evaluate("eval.evaluators.mbpp-v1.split=nowhere")
    assert (tmp_path / "runs" / "run").is_dir()
    evaluate()
    before = {path: path.read_bytes() for path in (tmp_path / "runs" / "run").glob("*/*.jsonl")}
    with pytest.raises(wmtp.WmtpError):
        evaluate("eval.evaluators.mbpp-v1.split=nowhere")
    assert {path: path.read_bytes() for path in (tmp_path / "runs" / "run").glob("*/*.jsonl")} == before


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"schema": 1}', "[" * 100_000, ""])
def test_a_damaged_results_file_is_put_aside_and_made_anew(
    tmp_path: Path, evaluate: Evaluate, write_files: Files, results: Any, damage: str
) -> None:
    write_files(problems=2)
    evaluate()
    before = results()
    path = tmp_path / "runs" / "run" / "results.json"
    path.write_text(damage)
    assert evaluate().complete
    assert results()["metrics"] == before["metrics"]
    assert path.with_name("results.json.damaged").read_text() == damage
    evaluate(fresh=True)
    assert not path.with_name("results.json.damaged").exists()


def test_evaluate_takes_files_and_compare_takes_runs(
    tmp_path: Path, write_files: Files, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(problems=2)
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    first = wmtp.evaluate("config.yaml", Path("recipe.yaml"), runs=runs)
    second = evaluate("run.name=other")
    for pair in ([first, second], [wmtp.open_run(first.folder), str(second.folder)], (first.folder, second)):
        assert wmtp.compare(pair).comparisons[0].found.difference == 0
    for wrong in (3, wmtp.load_config(None, plugins=wmtp.create_plugin_manager())):
        with pytest.raises(wmtp.ConfigError, match=f"recipe is a {type(wrong).__name__}; .* the path of its file"):
            wmtp.evaluate("config.yaml", wrong, runs=runs)  # type: ignore[arg-type]
    for alone in ("runs/run", runs / "run", wmtp.open_run(first.folder)):
        with pytest.raises(wmtp.ConfigError, match="two runs or more, in a list"):
            wmtp.compare(alone)  # type: ignore[arg-type]
    with pytest.raises(wmtp.ConfigError, match=r"runs\[1\] is a int"):
        wmtp.compare([first, 3])  # type: ignore[list-item]
