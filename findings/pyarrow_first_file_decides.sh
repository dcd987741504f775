#!/usr/bin/env bash
# pyarrow: two files of one split are read, or refused, by which of them comes first, where one file's lists are all empty.
#
# Versions: pyarrow 26.0.0 (Python 3.11).
# Seen: a table made from Python rows whose lists are all empty is typed list<null>; beside a file of list<string>, pyarrow.dataset and
#   read_table over both raise ArrowNotImplementedError ("cast from string to null") when the file of empty lists is first, and read all
#   rows when it is second: the schema is the first file's. concat_tables(promote_options="default") takes them in either order.
# Why it matters: benchmark rows come in parts that are written one by one; the part in which no problem has, say, private tests makes the
#   split unreadable by its place in the alphabet alone, and a sample of files that was tried in another order said it was fine.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pyarrow==26.0.0'
cd "$work"
venv/bin/python - <<'P'
import sys

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

parts = {"empty.parquet": [{"task": "a", "tests": []}], "filled.parquet": [{"task": "b", "tests": ["assert f()"]}]}
for path, rows in parts.items():
    pq.write_table(pa.Table.from_pylist(rows), path)


def tried(read, paths):
    try:
        return f"{read(paths).num_rows} rows"
    except pa.ArrowNotImplementedError as error:
        return type(error).__name__


readers = {
    "pyarrow.dataset": lambda paths: ds.dataset(paths).to_table(),
    "read_table": pq.read_table,
    "concat_tables, promoted": lambda paths: pa.concat_tables([pq.read_table(path) for path in paths], promote_options="default"),
}
print("pyarrow", pa.__version__, "types:", *(pq.read_schema(path).field("tests").type for path in parts))
seen = {}
for name, read in readers.items():
    seen[name] = (tried(read, list(parts)), tried(read, list(parts)[::-1]))
    print(f"{name}: empty first {seen[name][0]}; empty last {seen[name][1]}")
one_way = ("ArrowNotImplementedError", "2 rows")
expected = {"pyarrow.dataset": one_way, "read_table": one_way, "concat_tables, promoted": ("2 rows", "2 rows")}
sys.exit(0 if seen == expected else 1)
P
