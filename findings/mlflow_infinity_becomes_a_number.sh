#!/usr/bin/env bash
# mlflow: an infinite metric is kept as the largest finite float, and reads as an ordinary number from then on.
#
# Versions: mlflow-skinny 3.17.2, SQLAlchemy 2.1.9 (Python 3.11), sqlite store.
# Seen: log_metric(inf) is taken without a word; get_run and get_metric_history give 1.7976931348623157e+308, -inf its negative.
#   NaN in the same batch comes back as NaN.
# Why it matters: a training whose loss overflowed looks finite in every query (isfinite is true, a mean over runs overflows), while
#   a NaN is seen; whoever filters on "not finite" misses half of the failures.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'mlflow-skinny==3.17.2' 'sqlalchemy==2.1.9' 'alembic==1.20.1'
cd "$work"
MLFLOW_DISABLE_TELEMETRY=true "$work/venv/bin/python" - 2>/dev/null <<'P'
import math
import sys

import mlflow
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

client = MlflowClient("sqlite:///runs.db")
run = client.create_run(client.create_experiment("e", artifact_location="artifacts")).info.run_id
logged = {"up": math.inf, "down": -math.inf, "nan": math.nan}
client.log_batch(run, metrics=[Metric(key, value, 1, 0) for key, value in logged.items()])
shown = client.get_run(run).data.metrics
print("mlflow", mlflow.__version__)
for key, value in logged.items():
    print(f"logged {value!r:>5}, read {shown[key]!r}")
same = shown["up"] == sys.float_info.max and shown["down"] == -sys.float_info.max and math.isnan(shown["nan"])
sys.exit(0 if same else 1)
P
