#!/usr/bin/env bash
# inspect_ai: an .eval log is a ZIP that zipfile of Python 3.11 lists and cannot read: its members are Zstandard, method 93.
#
# Versions: inspect_ai 0.3.285 (Python 3.11 to 3.13, whose zipfile knows methods 0, 8, 12 and 14).
# Seen: an evaluation of two samples in two epochs, by the mock model. namelist() gives header.json and
#   samples/<id>_epoch_<n>.json; reading any of them raises NotImplementedError. `inspect log dump` reads the file.
# Why it matters: "it is a ZIP of JSON" is nearly true. A reader of logs needs a Zstandard library or Python 3.14, and a test that only
#   lists names does not find out.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'inspect_ai==0.3.285'
cd "$work"
export INSPECT_DISPLAY=none HOME="$work"
cat > task.py <<'P'
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes


@task
def sums():
    samples = [Sample(id=f"sum-{n}", input=f"{n} + {n}", target=str(2 * n)) for n in (1, 2)]
    return Task(dataset=samples, scorer=includes(), epochs=Epochs(2, "mean"))
P
venv/bin/inspect eval task.py --model mockllm/model --log-dir logs --log-format eval >/dev/null 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
cat > read.py <<'P'
import glob
import importlib.metadata
import json
import subprocess
import sys
import zipfile

(path,) = glob.glob("logs/*.eval")
archive = zipfile.ZipFile(path)
names = sorted(name for name in archive.namelist() if name.startswith("samples/"))
methods = {info.compress_type for info in archive.infolist()}
try:
    archive.read(names[0])
    told = "read"
except NotImplementedError as error:
    told = f"NotImplementedError: {error}"
dumped = json.loads(subprocess.run(["venv/bin/inspect", "log", "dump", path], capture_output=True, check=True).stdout)
print("inspect_ai", importlib.metadata.version("inspect_ai"), "| Python", sys.version.split()[0])
print(names, "methods", methods, "|", told, "| dumped samples:", len(dumped["samples"]))
sys.exit(0 if len(names) == 4 and 93 in methods and told.startswith("NotImplementedError") and len(dumped["samples"]) == 4 else 1)
P
venv/bin/python read.py
