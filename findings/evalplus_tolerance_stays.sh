#!/usr/bin/env bash
# evalplus: the tolerance that a float answer is given stays for the problem's later answers, whole numbers too.
#
# Versions: evalplus 0.3.1, numpy 2.3.5 (Python 3.11).
# Seen: untrusted_check with atol 0 and a program whose answers are -0.5 (right) and 20000002 where 20000001 is expected says pass; with the
#   two inputs the other way round it says fail. `atol = 1e-6` for a float answer is assigned to the variable that the later answers use,
#   and numpy.allclose adds rtol 1e-7 of the expected value.
# Why it matters: of problems that answer with floats and whole numbers, wrong programs pass, depending on the order of inputs.
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

PROGRAM = "def f(x):\n    return x / 2 if x < 0 else x + 2\n"


def verdict(inputs, expected):
    return untrusted_check("mbpp", PROGRAM, inputs, "f", expected, 0, [0.01] * len(inputs), fast_check=True)[0]


if __name__ == "__main__":
    first = verdict([[-1.0], [20000000]], [-0.5, 20000001])
    last = verdict([[20000000], [-1.0]], [20000001, -0.5])
    print("evalplus", version("evalplus"), "float answer first:", first, "| last:", last)
    sys.exit(0 if (first, last) == ("pass", "fail") else 1)
P
"$work/venv/bin/python" "$work/show.py"
