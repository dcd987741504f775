"""Runs the benchmarks and keeps what they say: ``python scripts/bench.py [NAME …] [-- ARGUMENTS]``.

Each benchmark's lines that state a ratio or a limit go to benchmarks/history.jsonl, with the commit and the kind of machine,
so that a figure can be followed over time. Exit status 1 if any benchmark missed a limit.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ROOT / "benchmarks/history.jsonl"
FIGURE = re.compile(r"ratio|limit|\bMISSED\b|\bFAILS\b")


def machine() -> dict[str, str | int]:
    """The kind of machine: processor, cores and memory in GiB. No host name, no path."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
    }


def commit() -> str:
    """The commit, with ``+`` where the working tree differs from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def run(benchmark: Path, arguments: list[str]) -> tuple[int, list[str]]:
    """Runs one benchmark, shows what it prints as it comes, and returns its exit status and its figures."""
    figures = []
    command = [sys.executable, str(benchmark), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if FIGURE.search(line):
                figures.append(" ".join(line.split()))
    return process.returncode, figures


def main() -> int:
    """Runs what was named, or every benchmark."""
    wanted, _, arguments = (list(part) for part in _split(sys.argv[1:]))
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    known = {p.stem: p for p in scripts if "\nif __name__ == " in p.read_text(encoding="utf-8")}
    if unknown := [name for name in wanted if name not in known]:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    worst = 0
    for name in wanted or known:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        status, figures = run(known[name], arguments)
        worst = worst or int(status != 0)
        line = {
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "machine": machine(),
            "benchmark": name,
            "arguments": arguments,
            "status": status,
            "seconds": round(time.monotonic() - started, 1),
            "figures": figures,
        }
        with HISTORY.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return worst


def _split(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
