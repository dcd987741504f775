"""What ``wmtp score`` costs beside judging itself.

    python benchmarks/score.py [--mbpp FILE] [--samples 10000] [--rounds 9]

The same programs, MBPP's reference solutions of the test split several times (without problem 123, which alone burns two
seconds), are judged in turn: by a judge that is open already and is given one after another, and by the command, from its start
until its table stands there, with results.json and report.md on disk. The judge comes before and behind every round of the
command, which is compared with the mean of both: the speed of a shared machine changes by a sixth within a minute. The median
of rounds; limit: 1.15 times the judge's own time. How long it takes until its process has ended, with the report's page
written, and the CPU of its own process are printed as well. Modules are compiled once for all rounds, as they are where the
packages are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import attrs

from wmtp.contracts.judging import CallTests
from wmtp.judging import open_judge

DATA = Path(os.environ.get("WMTP_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data/mbpp/mbpp.jsonl"
LIMIT = 1.15
TEST_SPLIT = range(11, 511)
SLOW = 123


def judged(rows: list[dict[str, Any]], each: int) -> float:
    """Seconds of the judge, from the first program to the last verdict."""
    with open_judge() as judge:
        started = time.perf_counter()
        futures = []
        for row in rows:
            tests = CallTests(tests=tuple(row["test_list"]), setup=row["test_setup_code"], reference=row["code"])
            futures += [judge.submit(f"{row['code']}\n# {i}\n", tests) for i in range(each)]
        passed = sum(future.result().passed for future in futures)
        spent = time.perf_counter() - started
    assert passed == len(futures), f"{passed} of {len(futures)} passed"
    return spent


@attrs.frozen
class Scored:
    """One run of the command: seconds until its table, until its end, and of CPU in its own process."""

    table: float
    end: float
    cpu: float


def scored(samples: Path, data: Path, folder: Path, *more: str) -> Scored:
    """Run the command."""
    told = "import atexit, resource; atexit.register(lambda: print('CPU', sum(resource.getrusage(resource.RUSAGE_SELF)[:2])));"
    code = f"{told} import sys, wmtp.cli; sys.argv[0] = 'wmtp'; wmtp.cli.main()"
    asked = ["score", str(samples), "--benchmark", "mbpp", "--data", str(data), "--fresh", *more]
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    compiled.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code, *asked], cwd=folder, stdout=PIPE, stderr=PIPE, env=compiled
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        lines = []
        for line in run.stdout:
            lines.append(line.decode())
            if "report.md" in lines[-1]:  # the line below the table
                table = time.perf_counter() - started
        said = run.stderr.read().decode()
    end = time.perf_counter() - started
    assert run.returncode == 0, said
    assert any("100.0 %" in line for line in lines), lines
    return Scored(table, end, float(lines[-1].removeprefix("CPU ")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbpp", type=Path, default=DATA)
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    every = [json.loads(line) for line in options.mbpp.read_text(encoding="utf-8").splitlines()]
    every = [row for row in every if row["task_id"] != SLOW]
    rows = [row for row in every if row["task_id"] in TEST_SPLIT]
    each = max(1, options.samples // len(rows))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, samples = folder / "mbpp.jsonl", folder / "samples.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in every), encoding="utf-8")
        with samples.open("w", encoding="utf-8") as file:
            for row in rows:
                for i in range(each):
                    text = f"{row['code']}\n# {i}\n"
                    file.write(json.dumps({"problem": str(row["task_id"]), "index": i, "completion": text}) + "\n")
        scored(samples, data, folder, "--set", "eval.limit=1")  # compiles
        sys.pycache_prefix, sys.dont_write_bytecode = str(folder / "compiled"), False  # of the judge alone as well
        rounds, before = [], judged(rows, each)
        for _ in range(options.rounds):
            run = scored(samples, data, folder)
            behind = judged(rows, each)
            rounds.append(((before + behind) / 2, run))
            before = behind
    for judge, run in rounds:
        print(
            f"judge {judge:.2f} s, wmtp score: table {run.table:.2f} s, end {run.end:.2f} s (own CPU {run.cpu:.2f} s), "
            f"ratio {run.table / judge:.3f}, {run.end / judge:.3f}"
        )
    ratio = statistics.median(run.table / judge for judge, run in rounds)
    whole = statistics.median(run.end / judge for judge, run in rounds)
    ok = ratio <= LIMIT
    print(
        f"{len(rows) * each} samples: wmtp score, start to table, over the judge's own time {ratio:.3f} (limit {LIMIT}); "
        f"to the end of its process {whole:.3f}",
        "" if ok else "MISSED",
    )
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
