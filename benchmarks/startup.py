"""How long `wmtp --help` takes, beside a bare interpreter that imports the four libraries core is built on.

    python benchmarks/startup.py [--rounds 25]

Both run in turn, so that a busy machine slows both; medians and their ratio are printed. What must hold: the ratio is at
most 1.5, else a module of ours does work at import.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import click, attrs, cattrs, pluggy": [sys.executable, "-c", "import click, attrs, cattrs, pluggy"],
    "wmtp --help": [sys.executable, "-m", "wmtp", "--help"],
    "wmtp plugins list": [sys.executable, "-m", "wmtp", "plugins", "list"],
}
LIMIT = 1.5
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As users have it: where byte code is not kept, every start compiles what nobody else compiles twice."""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():  # byte code and disk cache
        seconds(command)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    base = statistics.median(times["import click, attrs, cattrs, pluggy"])
    print(f"{'':<38} {'median':>9} {'ratio':>7}   ({rounds} interleaved rounds)")
    for name, samples in times.items():
        median = statistics.median(samples)
        print(f"{name:<38} {median * 1000:>6.0f} ms {median / base:>7.2f}")
    ratio = statistics.median(times["wmtp --help"]) / base
    print(f"wmtp --help: {ratio:.2f} of the bare imports, limit {LIMIT}: {'holds' if ratio <= LIMIT else 'FAILS'}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
