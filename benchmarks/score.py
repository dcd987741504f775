"""What ``wmtp score`` costs beside judging itself.

    python benchmarks/score.py [--mbpp FILE] [--samples 10000] [--rounds 5]

The same programs, MBPP's reference solutions of the test split several times (without problem 123, which alone burns two
seconds), are judged twice in turn: by a judge that is open already and is given one after another, and by the command, from its
start to the end of its process, with a table, results.json and the report's page behind it; which comes first changes from
round to round, or a machine that grows slower would favour one of them. The median of rounds; limit: 1.15 times the judge's own
time. What the command spends beside it (CPU of its own process) is printed as well. Modules are compiled once for all rounds,
as they are where the packages are installed.
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
from typing import Any

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


def scored(samples: Path, data: Path, folder: Path, *more: str) -> tuple[float, float]:
    """Seconds of the command, and CPU seconds of its own process."""
    command = [
        sys.executable,
        "-c",
        "import sys, wmtp.cli; sys.argv[0] = 'wmtp'; wmtp.cli.main()",
        "score",
        str(samples),
    ]
    told = "import atexit, resource; atexit.register(lambda: print('CPU', sum(resource.getrusage(resource.RUSAGE_SELF)[:2])));"
    command[2] = told + command[2]
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    compiled.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--benchmark", "mbpp", "--data", str(data), "--fresh", *more],
        cwd=folder, capture_output=True, text=True, check=False, env=compiled,
    )  # fmt: skip
    spent = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert "100.0 %" in done.stdout, done.stdout
    return spent, float(done.stdout.rpartition("CPU ")[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbpp", type=Path, default=DATA)
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
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
        rounds = []
        for number in range(options.rounds):
            first = scored(samples, data, folder) if number % 2 else None
            alone = judged(rows, each)
            rounds.append((alone, *(first or scored(samples, data, folder))))
    for judge, command, cpu in rounds:
        print(f"judge {judge:.2f} s, wmtp score {command:.2f} s (own CPU {cpu:.2f} s), ratio {command / judge:.3f}")
    ratio = statistics.median(command / judge for judge, command, _ in rounds)
    ok = ratio <= LIMIT
    print(
        f"{len(rows) * each} samples: wmtp score over the judge's own time {ratio:.3f} (limit {LIMIT})",
        "" if ok else "MISSED",
    )
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
