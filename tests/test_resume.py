"""A run is the same run however often it is killed, whatever the batch size; and asking for more adds only that."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)

PROBLEMS, N = 5, 3
METRICS = ["mbpp_exact", "mbpp_pass@1", "mbpp_pass@3"]


def _sampling(n: int = N) -> dict[str, Any]:
    return {"temperature": 0.8, "top_p": 0.95, "n": n, "max_new_tokens": 48, "seed": 11}


def _section(metrics: list[str], *, n: int = N, batch_size: int | str = 3, **more: Any) -> dict[str, Any]:
    return {
        "metrics": metrics,
        "sampling": _sampling(n),
        "batch_size": batch_size,
        "evaluators": {"mbpp-v1": {"shots": 0}},
        **more,
    }


def _lines(folder: Path, kind: str, drop: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / kind / "mbpp-v1.jsonl").read_text(encoding="utf-8").splitlines()]
    keyed = sorted(rows, key=lambda row: (row["problem"], row["index"]))
    return [{k: v for k, v in row.items() if k not in drop} for row in keyed]


def samples(folder: Path) -> list[dict[str, Any]]:
    """Every field but the times and who drafted which token, in the order of (problem, index)."""
    return _lines(folder, "samples", ("seconds", "extra"))


def verdicts(folder: Path) -> list[dict[str, Any]]:
    return _lines(folder, "verdicts", ("cpu_seconds", "wall_seconds", "peak_mib"))


def test_same_samples_for_any_batch_size_and_after_kills(
    tmp_path: Path,
    tiny_llama: Path,
    wmtp: Any,
    kill: Callable[..., None],
    evaluate: Callable[..., Any],
    wmtp_env: dict[str, str],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
) -> None:
    write_files(problems=PROBLEMS, model={"base_id": str(tiny_llama)}, eval=_section(METRICS))

    def run(name: str, *more: str) -> Path:
        assert evaluate(f"run.name={name}", *more).complete
        return tmp_path / "runs" / name

    first = run("first")
    assert len(samples(first)) == PROBLEMS * N
    assert len({s["completion"] for s in samples(first)}) > PROBLEMS, "samples of a problem should differ"
    again = run("again")
    one = run("one-row", "eval.batch_size=1")
    # The same command, killed five times. Two kills come before there is anything, the others in mid-run.
    dice = random.Random(5)
    command = [sys.executable, "-m", "wmtp", "eval", "config.yaml", "recipe.yaml", "--set", "run.name=killed"]
    file = tmp_path / "runs" / "killed" / "samples" / "mbpp-v1.jsonl"
    for already in (0, 0, 2, 6, 10):
        linger = dice.uniform(0, 0.02) if already else dice.uniform(0, 2)
        kill(command, tmp_path, wmtp_env, file, already, linger)
    done = wmtp(*command[3:])
    assert done.returncode == 0, done.stderr
    killed = file.parents[1]

    expected = samples(first)
    for other in (again, one, killed):
        assert samples(other) == expected
        assert verdicts(other) == verdicts(first)
        assert results(other.name)["metrics"] == results("first")["metrics"]
    assert len(file.read_text(encoding="utf-8").splitlines()) == PROBLEMS * N, "nothing was generated twice"


def test_a_killed_run_that_drafts_writes_what_plain_decoding_writes(
    tmp_path: Path,
    wmtp: Any,
    kill: Callable[..., None],
    evaluate: Callable[..., Any],
    wmtp_env: dict[str, str],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
) -> None:
    """The demo's model has four heads. More samples than slots, killed in mid-run, the same command again."""
    model = {"base_id": str(Path(__file__).parents[1] / "examples/demo-model")}
    write_files(problems=PROBLEMS, model=model, eval=_section(METRICS, batch_size=2))
    plain = ("run.name=plain", "model.mtp.speculative=off", "eval.batch_size=5")
    assert evaluate(*plain).complete
    command = [sys.executable, "-m", "wmtp", "eval", "config.yaml", "recipe.yaml", "--set", "run.name=killed"]
    file = tmp_path / "runs" / "killed" / "samples" / "mbpp-v1.jsonl"
    for already in (1, 5):
        kill(command, tmp_path, wmtp_env, file, already)
    done = wmtp(*command[3:])
    assert done.returncode == 0, done.stderr
    assert samples(file.parents[1]) == samples(tmp_path / "runs" / "plain")
    assert len(file.read_text(encoding="utf-8").splitlines()) == PROBLEMS * N, "nothing was generated twice"
    drafted, none = results("killed")["generation"], results("plain")["generation"]
    assert len(drafted["acceptance"]) == 3
    assert drafted["tokens_per_forward"] > none["tokens_per_forward"]


def test_more_metrics_and_more_samples_add_only_what_is_missing(
    tmp_path: Path,
    tiny_llama: Path,
    evaluate: Callable[..., Any],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
) -> None:
    folder = tmp_path / "runs" / "run"
    model = {"base_id": str(tiny_llama)}

    def run(metrics: list[str], n: int, **more: Any) -> dict[str, bytes]:
        write_files(problems=PROBLEMS, model=model, eval=_section(metrics, n=n, **more))
        assert evaluate().complete
        return {kind: (folder / kind / "mbpp-v1.jsonl").read_bytes() for kind in ("samples", "verdicts")}

    small = run(["mbpp_pass@1"], 2, limit=3)
    opened = (folder / "engine.json").stat().st_mtime_ns
    same = run(["mbpp_pass@1", "mbpp_pass@2", "mbpp_exact"], 2, limit=3)
    assert same == small
    assert (folder / "engine.json").stat().st_mtime_ns == opened, "a new metric opens no model"
    counted = results()["generation"]
    assert counted["tokens_per_forward"] == 1.0, "what an earlier session counted is kept"
    assert counted["batch_invariant"] is True

    more = run(["mbpp_pass@1", "mbpp_pass@3"], 3, limit=3)
    assert all(more[kind].startswith(small[kind]) for kind in more)
    assert more["samples"].count(b"\n") == 9
    wider = run(["mbpp_pass@1", "mbpp_pass@3"], 3)
    assert all(wider[kind].startswith(more[kind]) for kind in wider)
    assert wider["samples"].count(b"\n") == PROBLEMS * 3
    assert results()["metrics"]["mbpp_pass@3"]["samples"] == PROBLEMS * 3

    # And what was added is what a run that asked for all of it at once would have made.
    write_files(problems=PROBLEMS, model=model, run={"name": "whole"}, eval=_section(["mbpp_pass@3"], n=3))
    assert evaluate().complete
    assert samples(tmp_path / "runs" / "whole") == samples(folder)


def test_where_drafting_was_given_up_results_and_report_say_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluate: Callable[..., Any],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
) -> None:
    """Acceptance stands beside it, as if drafting had gone on; a later session adds its own line, unless it is the same."""
    import wmtp.generation.decoder as decoder

    monkeypatch.setattr(decoder, "DRAFTING_MAX_COST", 0.0)
    monkeypatch.setattr(decoder, "DRAFTING_CHECK_AFTER", 1)
    demo = Path(__file__).parents[1] / "examples/demo-model"
    write_files(problems=PROBLEMS, model={"base_id": str(demo)}, eval=_section(["mbpp_pass@1"], n=1))
    for limit in (1, 2):
        assert evaluate(f"eval.limit={limit}").complete
        notes = results()["generation"]["notes"]
        assert 1 <= len(notes) <= limit
        assert {note.split(" after ")[0] for note in notes} == {"Drafting was given up"}
        assert all(note in (tmp_path / "runs/run/report.md").read_text(encoding="utf-8") for note in notes)


@pytest.mark.parametrize("moment", ["sample", "verdict"])
def test_a_torn_last_line_is_done_again(
    tmp_path: Path,
    evaluate: Callable[..., Any],
    write_files: Callable[..., None],
    results: Callable[..., dict[str, Any]],
    moment: str,
) -> None:
    write_files()
    assert evaluate().complete
    file = tmp_path / "runs" / "run" / f"{moment}s" / "mbpp-v1.jsonl"
    whole = file.read_bytes()
    os.truncate(file, len(whole) - 20)
    assert evaluate().complete
    assert file.read_bytes().count(b"\n") == whole.count(b"\n")
    assert results()["metrics"]["mbpp_pass@1"]["value"] == 1.0


def test_a_run_that_was_begun_with_digests_of_whole_files_goes_on(
    evaluate: Callable[..., Any],
    write_files: Callable[..., None],
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wmtp import digests

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "notes"))
    sampling = {"n": 1, "max_new_tokens": 4, "temperature": 0.8}
    section = {"metrics": ["mbpp_pass@1"], "sampling": sampling, "evaluators": {"mbpp-v1": {"shots": 0}}}
    write_files(problems=1, model={"base_id": str(tiny_llama)}, eval=section)
    before = evaluate().record.provenance.model["weights_sha256"]
    kept = tmp_path / "runs" / "run" / "engine.json"
    body = json.loads(kept.read_text(encoding="utf-8"))
    assert body.pop("digests") == "pieces"
    kept.write_text(json.dumps(body), encoding="utf-8")  # as 2838e0a wrote it
    monkeypatch.setattr(digests, "PIECE_BYTES", 1000)
    assert evaluate("eval.sampling.n=2").record.provenance.model["weights_sha256"] == before
    assert json.loads(kept.read_text(encoding="utf-8"))["digests"] == "whole files"
    assert evaluate("run.name=new").record.provenance.model["weights_sha256"] != before
