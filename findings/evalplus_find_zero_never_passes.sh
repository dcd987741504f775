#!/usr/bin/env bash
# evalplus: no program passes HumanEval/32 (find_zero); its oracle leaves the loop before the input is counted.
#
# Versions: evalplus 0.3.1, numpy 2.3.5 (Python 3.11).
# Seen: untrusted_check for find_zero with the exact root of two lines says fail, and the details of the inputs are empty. The branch of this
#   problem ends in `continue`, in front of the lines that note an input as passed; then the number of noted inputs is held against the
#   number of inputs.
# Why it matters: HumanEval and HumanEval+ scores of 0.3.1 are a 164th too low for every model that solves the problem.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" 'numpy==2.3.5' 'psutil==7.1.3'
"${pip[@]}" --no-deps 'evalplus==0.3.1'   # what it needs beside these calls models
cat > "$work/show.py" <<'P'
import sys
from importlib.metadata import version

from evalplus.eval import untrusted_check

if __name__ == "__main__":
    program = "def find_zero(xs):\n    return -xs[0] / xs[1]\n"
    given = ("humaneval", program, [[[1, 2]], [[3, 1]]], "find_zero", [-0.5, -3.0], 1e-4, [0.01, 0.01])
    verdict, details = untrusted_check(*given, fast_check=True)
    print("evalplus", version("evalplus"), "exact roots:", verdict, "inputs noted as passed:", len(details))
    sys.exit(0 if (verdict, len(details)) == ("fail", 0) else 1)
P
"$work/venv/bin/python" "$work/show.py"
