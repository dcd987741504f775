#!/usr/bin/env bash
# evalplus: `sanitize` throws away every function and class with a decorator, and the call of sys.setrecursionlimit, so right programs fail.
#
# Versions: evalplus 0.3.1, tree-sitter-python 0.25.0 (Python 3.11).
# Seen: one problem of ours by HUMANEVAL_OVERRIDE_PATH and a right program whose helper stands under @lru_cache: pass@1 1.000. What
#   evalplus.sanitize leaves of it is the imports and the function asked for, which calls a helper that is gone: pass@1 0.000. Of the top
#   level only imports, plain functions with a return, plain classes and plain assignments stay.
# Why it matters: evalplus.codegen sanitizes each answer before it is written to the file that is scored. A model that
#   memoises its helpers or writes a @dataclass loses points by it. The -raw file beside it still has the program.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" 'numpy==2.3.5' 'psutil==7.1.3' 'appdirs==1.4.4' 'tempdir==0.7.1' 'termcolor==3.1.0' 'tqdm==4.67.1' 'wget==3.2' 'multipledispatch==1.0.0' \
  'rich==14.2.0' 'fire==0.7.1' 'tree-sitter==0.25.2' 'tree-sitter-python==0.25.0' 'datasets==5.2.0'
"${pip[@]}" --no-deps 'evalplus==0.3.1'   # what it needs beside these calls models
cd "$work"
cat > answer.py <<'P'
import sys
from functools import lru_cache

sys.setrecursionlimit(10000)


@lru_cache(maxsize=None)
def ways(n):
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)


def climb(n):
    return ways(n)
P
cat > make.py <<'P'
import json

row = {
    "task_id": "HumanEval/0", "prompt": 'def climb(n):\n    """Ways to climb n stairs by ones and twos."""\n', "entry_point": "climb", "test": "",
    "canonical_solution": "    a = b = 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n", "contract": "", "base_input": [[1], [4]],
    "plus_input": [[7]], "atol": 0,
}  # fmt: skip
with open("rows.jsonl", "w") as rows:
    rows.write(json.dumps(row) + "\n")
with open("samples.jsonl", "w") as samples:
    samples.write(json.dumps({"task_id": "HumanEval/0", "solution": open("answer.py").read()}) + "\n")
P
venv/bin/python make.py
cat > sanitize.py <<'P'
import json

from evalplus.sanitize import sanitize

(row,) = [json.loads(line) for line in open("samples.jsonl")]
row["solution"] = sanitize(row["solution"], entrypoint="climb")
open("sanitized.jsonl", "w").write(json.dumps(row) + "\n")
print(row["solution"])
P
export HUMANEVAL_OVERRIDE_PATH="$work/rows.jsonl" HOME="$work" XDG_CACHE_HOME="$work/cache"
score() { venv/bin/python -m evalplus.evaluate --dataset humaneval --samples "$1" --parallel 1 2>stderr.txt | grep -o 'pass@1:.*' | tr -s '\t\n' '  ' || tail -5 stderr.txt; }
kept=$(venv/bin/python sanitize.py)
raw=$(score samples.jsonl)
clean=$(score sanitized.jsonl)
echo "evalplus $(venv/bin/python -c 'from importlib.metadata import version; print(version("evalplus"))')"
echo "what sanitize leaves:"; sed 's/^/    /' <<<"$kept"
echo "as written: $raw| sanitized: $clean"
[[ $raw == *"pass@1: 1.000"* && $clean == *"pass@1: 0.000"* && $kept != *"def ways"* && $kept != *setrecursionlimit* && $kept == *"return ways(n)"* ]]
