#!/usr/bin/env bash
# ray: a task that calls sys.exit(0) is run four times and then reported as a worker that crashed.
#
# Versions: ray 2.60.0 (Python 3.11).
# Seen: a remote function writes a line and calls sys.exit(0). The file has four lines; ray.get raises WorkerCrashedError. A function
#   that raises ValueError in its place has run once.
# Why it matters: tasks that wrap somebody's command line (an evaluator, a converter) end with sys.exit(0) when all went well. What they
#   did is done four times, and the caller is told of a crash.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
cat > tasks.py <<'P'
import pathlib
import sys

import ray

ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)


@ray.remote
def ends(path, how):
    with open(path, "a") as lines:
        lines.write("ran\n")
    if how == "exit":
        sys.exit(0)
    raise ValueError(how)


seen = {}
for how in ("exit", "error"):
    file = pathlib.Path(how).absolute()
    try:
        ray.get(ends.remote(str(file), how), timeout=120)
    except Exception as error:
        seen[how] = (file.read_text().count("ran"), type(error).__name__)
    print(how, *seen[how])
print("ray", ray.__version__)
ray.shutdown()
sys.exit(0 if seen["exit"] == (4, "WorkerCrashedError") and seen["error"][0] == 1 else 1)
P
venv/bin/python tasks.py 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
