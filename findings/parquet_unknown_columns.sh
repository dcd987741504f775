#!/usr/bin/env bash
# pyarrow: ParquetFile drops a column that is asked for and not there without a word; read_table raises for the same request.
#
# Versions: pyarrow 26.0.0 (Python 3.11).
# Seen: ParquetFile.iter_batches(columns=["task_id", "test_lst"]) on a file with task_id and test_list yields batches of task_id alone, no
#   error and no warning; so does ParquetFile.read. read_table, which goes through pyarrow.dataset, raises ArrowInvalid.
# Why it matters: a benchmark's file whose column was renamed reads as rows without tests, and every program passes those.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pyarrow==26.0.0'
"$work/venv/bin/python" - "$work/rows.parquet" <<'P'
import sys
import warnings

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

path = sys.argv[1]
pq.write_table(pa.table({"task_id": [1, 2], "test_list": [["assert f(1)"], ["assert f(2)"]]}), path)
wanted = ["task_id", "test_lst"]
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    batches = [batch.schema.names for batch in pq.ParquetFile(path).iter_batches(columns=wanted)]
    whole = pq.ParquetFile(path).read(columns=wanted).schema.names
try:
    table = str(pq.read_table(path, columns=wanted).schema.names)
except pa.ArrowInvalid as error:
    table = type(error).__name__
print("pyarrow", pa.__version__, "asked for", wanted)
print("iter_batches:", batches, "read:", whole, "read_table:", table, "warnings:", len(said))
same = batches == [["task_id"]] and whole == ["task_id"] and table == "ArrowInvalid" and not said
sys.exit(0 if same else 1)
P
