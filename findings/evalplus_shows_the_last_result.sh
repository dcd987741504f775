#!/usr/bin/env bash
# evalplus: evaluating a samples file whose contents changed prints the pass@1 of what it held before.
#
# Versions: evalplus 0.3.1 (Python 3.11).
# Seen: one problem of ours by HUMANEVAL_OVERRIDE_PATH, a samples file with a wrong program: pass@1 0.000. The same file written again with
#   a right one, the same command: pass@1 0.000 again, after the line "Load from previous results from …_eval_results.json". With that
#   file removed: 1.000. Nothing compares the results with the samples, nor the options (--base-only, time limits, mini) with those of then.
# Why it matters: the usual loop (generate to samples.jsonl, evaluate, mend, generate again) shows the first score for ever; files of
#   results that are handed on may be of other samples than those beside them.
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
cat > make.py <<'P'
import json
import sys

prompt = 'def twice(x):\n    """Twice x."""\n'
row = {
    "task_id": "HumanEval/0", "prompt": prompt, "entry_point": "twice", "canonical_solution": "    return 2 * x\n", "test": "",
    "contract": "", "base_input": [[1], [4]], "plus_input": [[-3]], "atol": 0,
}  # fmt: skip
with open("rows.jsonl", "w") as rows:
    rows.write(json.dumps(row) + "\n")
with open("samples.jsonl", "w") as samples:
    samples.write(json.dumps({"task_id": "HumanEval/0", "solution": prompt + f"    return {sys.argv[1]}\n"}) + "\n")
P
export HUMANEVAL_OVERRIDE_PATH="$work/rows.jsonl" HOME="$work" XDG_CACHE_HOME="$work/cache"
scores() { venv/bin/python -m evalplus.evaluate --dataset humaneval --samples samples.jsonl --parallel 1 2>stderr.txt | grep -o 'pass@1:.*\|Load from previous' | tr -s '\t\n' '  ' || tail -5 stderr.txt; }
venv/bin/python make.py 'x'
wrong=$(scores)
venv/bin/python make.py '2 * x'
again=$(scores)
rm samples_eval_results.json
fresh=$(scores)
echo "evalplus $(venv/bin/python -c 'from importlib.metadata import version; print(version("evalplus"))')"
echo "wrong program: $wrong"; echo "right program: $again"; echo "right program, results removed: $fresh"
[[ $wrong == *"pass@1: 0.000"* && $again == "Load from previous"*"pass@1: 0.000"* && $fresh == *"pass@1: 1.000"* ]]
