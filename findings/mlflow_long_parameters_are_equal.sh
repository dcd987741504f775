#!/usr/bin/env bash
# mlflow: parameters cannot change, unless they differ behind their 6,000th character: then another value passes as the same one.
#
# Versions: mlflow-skinny 3.17.2, SQLAlchemy 2.1.9 (Python 3.11), sqlite store.
# Seen: log_batch of a value of 7,000 characters keeps 6,000 (a warning in the log at most). Logging a second value that differs in
#   the last character raises nothing, where a short value that differs raises "Changing param values is not allowed".
# Why it matters: long prompts, lists of files and nested settings are what runs differ by; here two runs' parameters compare equal, and
#   a run that goes on with another setting is not told.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'mlflow-skinny==3.17.2' 'sqlalchemy==2.1.9' 'alembic==1.20.1'
cd "$work"
MLFLOW_DISABLE_TELEMETRY=true "$work/venv/bin/python" - 2>/dev/null <<'P'
import sys

import mlflow
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

client = MlflowClient("sqlite:///runs.db")
run = client.create_run(client.create_experiment("e", artifact_location="artifacts")).info.run_id


def changed(first: str, second: str, key: str) -> str:
    client.log_batch(run, params=[Param(key, first)])
    try:
        client.log_batch(run, params=[Param(key, second)])
    except MlflowException as error:
        return f"refused: {error.message[:40]}"
    return "taken"


print("mlflow", mlflow.__version__)
short = changed("0.1", "0.2", "lr")
long = changed("x" * 6999 + "1", "x" * 6999 + "2", "prompt")
kept = len(client.get_run(run).data.params["prompt"])
print(f"0.1, then 0.2: {short}\n7,000 characters, then the last one changed: {long}; kept {kept}")
sys.exit(0 if short.startswith("refused") and long == "taken" and kept == 6000 else 1)
P
