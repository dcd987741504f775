"""The run directory: whole lines, one process, and nothing of anybody else's."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wmtp
from wmtp.runs.folder import locked, write_atomically
from wmtp.runs.lines import SAMPLES, Lines
from wmtp.runs.store import EvaluatorFiles


def sample(index: int = 0, completion: str = "x = 1", problem: str = "p") -> wmtp.Sample:
    return wmtp.Sample(
        key=wmtp.SampleKey(evaluator="text-v1", problem=problem, index=index),
        completion=completion,
        code=completion,
        finish_reason="stop",
        tokens=1,
        seconds=0.0,
        prompt_sha256="0",
        generation_key="0",
    )


def lines(path: Path) -> Lines:
    return Lines(path, SAMPLES)


SAID = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.tuples(st.integers())
ADDED = st.tuples(st.integers(0, 3), st.text(max_size=50), st.dictionaries(st.text(max_size=3), SAID, max_size=2))


@given(st.lists(st.lists(ADDED, max_size=4), max_size=6), st.integers(0, 2000))
def test_what_is_kept_in_memory_is_what_the_file_holds(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Any]], keep_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    made: dict[str, Any] = {"generation": dict, "judging": dict}
    files = EvaluatorFiles(folder, "text-v1", keep_bytes=keep_bytes, **made)
    for batch in batches:
        samples = [attrs.evolve(sample(index, text), extra=extra) for index, text, extra in batch]
        files.add_samples(samples)
        files.add_verdicts([verdict(one.key, text) for one, (_, text, _) in zip(samples, batch, strict=True)])
    read = EvaluatorFiles(folder, "text-v1", **made)
    assert repr(list(files.by_problem(["p"]))) == repr(list(read.by_problem(["p"])))  # of NaN, too
    files.close()
    read.close()


def verdict(key: wmtp.SampleKey, detail: str) -> wmtp.Verdict:
    outcome = wmtp.Outcome(status="failed", detail=detail)
    return wmtp.Verdict(key=key, code_sha256="0", outcome=outcome, judge_key="0")


@given(st.lists(st.text(st.characters(), max_size=20), max_size=5), st.integers(0, 60))
def test_what_is_written_is_read_and_a_torn_tail_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], torn: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "samples.jsonl"
    file = lines(path)
    for index, text in enumerate(texts):
        file.add(sample(index, text))
    file.close()
    whole = path.read_bytes()
    last = json.dumps({"schema": 1, "completion": "it was cut of"}).encode()
    path.write_bytes(whole + last[: min(torn, len(last))])
    again = lines(path)
    assert [record for _, record in again.read()] == [sample(i, text) for i, text in enumerate(texts)]
    places = [place for place, _ in again.read()]
    assert [again.at(place) for place in reversed(places)] == [
        sample(i, t) for i, t in reversed(list(enumerate(texts)))
    ]
    again.close()
    assert path.read_bytes() == whole


def test_a_torn_line_longer_than_a_block_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    file = lines(path)
    file.add(sample())
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * 200_000)
    lines(path).close()
    assert path.read_bytes() == whole
    path.write_bytes(b"x" * 200_000)
    lines(path).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "damage", [b'{"schema": 1, "evalu\n', b"[]\n", b'{"schema": 1}\n', b"\xff\xfe\n", b"\0\0\0\n", b"\n"]
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    file = lines(path)
    for index in range(3):
        file.add(sample(index))
    file.close()
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + damage + third)
    with pytest.raises(wmtp.ConfigError) as refused:
        list(lines(path).read())
    assert f"{path}, line 2: damaged" in str(refused.value)
    assert path.read_bytes() == first + damage + third, "it is the user's to look at"
    path.write_bytes(first + second + third)
    assert len(list(lines(path).read())) == 3


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """A limit on the file's size stands for the disk: a part of the line fits, the rest does not."""
    path = tmp_path / "samples.jsonl"
    script = f"""
import resource, signal, sys
sys.path[:0] = {sys.path!r}
import wmtp
from pathlib import Path
from wmtp.runs.lines import SAMPLES, Lines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = Lines(Path({str(path)!r}), SAMPLES)
record = lambda text: wmtp.Sample(key=wmtp.SampleKey(evaluator="t", problem="p", index=0), completion=text, code=text,
    finish_reason="stop", tokens=1, seconds=0.0, prompt_sha256="0", generation_key="0")
file.add(record("short"))
size = Path({str(path)!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    file.add(record("long " * 1000))
except OSError as error:
    sys.exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == errno.EFBIG, done.stderr
    assert path.read_bytes().endswith(b"\n")
    assert [record.completion for _, record in lines(path).read()] == ["short"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "only the child's limit was set"


def files(folder: Path) -> EvaluatorFiles:
    return EvaluatorFiles(folder, "text-v1", generation=dict, judging=dict)


def test_the_last_line_of_a_sample_wins(tmp_path: Path) -> None:
    run = files(tmp_path)
    run.add_sample(sample(0, "first", "b"))
    run.add_sample(sample(1, "other", "b"))
    run.add_sample(sample(0, "alone", "a"))
    run.add_sample(sample(0, "second", "b"))
    run.add_sample(sample(0, "nobody's", "elsewhere"))
    found = [(p, [s.completion for s in samples]) for p, samples, _ in run.by_problem(["a", "b"])]
    assert found == [("a", ["alone"]), ("b", ["second", "other"])]


def test_one_process_at_a_time_and_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder, fresh=False):
        script = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from wmtp.runs.folder import locked
with locked(Path({str(folder)!r}), fresh=False):
    print("held", flush=True)
    sys.stdin.read()
"""
        command = [sys.executable, "-c", script]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, input="", check=False)
        assert "another process is working in" in refused.stderr
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(wmtp.ConfigError, match="another process"), locked(folder, fresh=False):
        pass
    holder.kill()
    holder.communicate()
    with locked(folder, fresh=False):
        pass


def test_fresh_empties_a_run_directory_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder, fresh=False):
        (folder / "samples").mkdir()
        (folder / "samples" / "text-v1.jsonl").write_text("{}\n")
        write_atomically(folder / "keys.json", "{}")
        (folder / "photo.jpg").write_text("dear to somebody")
    with locked(folder, fresh=True):
        assert sorted(os.listdir(folder)) == [".lock", "photo.jpg"]
    with pytest.raises(wmtp.ConfigError, match="is no run directory"), locked(folder, fresh=True):
        pass
    assert (folder / "photo.jpg").exists()


def test_a_temporary_file_left_by_a_kill_is_no_strangers(tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.tmp").write_text("half")
    with locked(tmp_path, fresh=False):
        write_atomically(tmp_path / "config.yaml", "whole")
    assert (tmp_path / "config.yaml").read_text() == "whole"
    assert not (tmp_path / ".config.yaml.tmp").exists()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(wmtp.ConfigError, match="is in the way"), locked(tmp_path / "run", fresh=False):
        pass


def test_what_was_made_with_is_told_apart(tmp_path: Path) -> None:
    run: Any = files(tmp_path)
    key = run.generation_key({"style": "plain"})
    run.add_sample(sample())
    assert run.generation_key({"style": "plain"}) == key
    with pytest.raises(wmtp.ConfigError) as refused:
        run.generation_key({"style": "plain", "shots": 3})
    assert "shots: absent → 3" in str(refused.value)
    assert run.judge_key({"limit": 1}) != run.judge_key({"limit": 2}), "nothing has been judged yet"


@pytest.mark.parametrize(("model", "told"), [("org/model", True), ("reference:", True), ("samples:", False)])
def test_a_changed_judge_leads_to_wmtp_score_unless_samples_are_replayed_already(
    tmp_path: Path, model: str, told: bool
) -> None:
    run: Any = EvaluatorFiles(tmp_path, "text-v1", generation=lambda: {"model id": model}, judging=dict)
    outcome = wmtp.Outcome(status="passed", tests_passed=1, tests=1)
    run.add_sample(sample())
    run.generation_key({})
    run.judge_key({"limit": 1})
    run.add_verdict(wmtp.Verdict(key=sample().key, code_sha256="0", outcome=outcome, judge_key="0"))
    with pytest.raises(wmtp.ConfigError) as refused:
        run.judge_key({"limit": 2})
    assert "limit: 1 → 2" in str(refused.value)
    assert ("wmtp score" in str(refused.value)) is told
    with pytest.raises(wmtp.ConfigError) as other:
        run.generation_key({"shots": 1})
    assert "wmtp score" not in str(other.value), "samples are made anew, and there is nothing to score"
    run.close()
    assert sorted(p.parent.name for p in tmp_path.glob("*/text-v1.jsonl")) == ["samples", "verdicts"]
