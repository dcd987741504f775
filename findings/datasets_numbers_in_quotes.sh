#!/usr/bin/env bash
# datasets: a test input "5" of a JSON Lines file is read as the number 5, and "-" as 0, once another value of the column is a number.
#
# Versions: datasets 5.2.0, pyarrow 26.0.0, pandas 2.3.3 (Python 3.11).
# Seen: five rows whose lists `inputs` hold "5", "-", "true", "null" and "five". With strings alone, load_dataset("json") gives the file's values.
#   With a row behind them whose list holds the number 5: 5, 0, True and None; "five", which is no JSON, stays a string. The column has
#   become Json(), into which a string that reads as JSON goes as it is and not in quotes, and pandas' reader takes "-" for 0.
# Why it matters: inputs and expected answers of code benchmarks are just such columns (strings for one problem, numbers for the next).
#   Programs are called with other arguments than the file's, right ones fail, and which rows are harmed depends on their neighbours.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'datasets==5.2.0' 'pyarrow==26.0.0' 'pandas==2.3.3'
cd "$work"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME="$work/home"
venv/bin/python - 2>stderr.txt <<'P' || { tail -5 stderr.txt; exit 1; }
import json
import sys

import datasets

texts = [["5"], ["-"], ["true"], ["null"], ["five"]]


def read(name, values):
    with open(name, "w") as file:
        file.writelines(json.dumps({"task": str(number), "inputs": value}) + "\n" for number, value in enumerate(values))
    rows = datasets.load_dataset("json", data_files=name, split="train")
    return rows.features["inputs"], [rows[number]["inputs"] for number in range(len(values))]


alone_type, alone = read("texts.jsonl", texts)
mixed_type, mixed = read("mixed.jsonl", [*texts, [5]])
print("datasets", datasets.__version__)
print("file:                ", texts)
print("read, strings alone: ", alone, alone_type)
print("read, [5] behind them:", mixed[:-1], mixed_type)
sys.exit(0 if alone == texts and repr(mixed) == repr([[5], [0], [True], [None], ["five"], [5]]) else 1)
P
