#!/usr/bin/env bash
# statsmodels: among p-values corrected by Benjamini-Hochberg, one that is NaN makes every corrected one NaN.
#
# Versions: statsmodels 0.14.6, scipy 1.16.3 (Python 3.11).
# Seen: multipletests([1e-9, 1e-6, 0.2, NaN], method="fdr_bh") corrects to four NaN; without the NaN to 3e-9, 1.5e-6 and 0.2. Its other answer,
#   which hypotheses are rejected, is as it was (the first two), so the two answers contradict each other. Bonferroni leaves a NaN to
#   itself, and counts it among the tests. No exception, no warning.
# Why it matters: a table compares two models on several benchmarks; on one of them no problem differs, and its test has no p-value.
#   Whoever holds the corrected values against 0.05, or shows them, has no benchmark left that differs.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'statsmodels==0.14.6' 'scipy==1.16.3'
cd "$work"
cat > look.py <<'P'
import math
import warnings

import statsmodels
from statsmodels.stats.multitest import multipletests

warnings.simplefilter("error")
known = [1e-9, 1e-6, 0.2]
found = {}
for method in ("fdr_bh", "bonferroni"):
    for name, values in (("without", known), ("with a NaN", [*known, math.nan])):
        rejected, corrected, *_ = multipletests(values, method=method)
        found[method, name] = [bool(one) for one in rejected], [float(one) for one in corrected]
        print(statsmodels.__version__, method, name, *found[method, name])
assert found["fdr_bh", "without"][0] == [True, True, False]
assert found["fdr_bh", "with a NaN"][0] == [True, True, False, False]
assert found["fdr_bh", "without"][1][2] == 0.2
assert all(map(math.isnan, found["fdr_bh", "with a NaN"][1]))
assert found["bonferroni", "with a NaN"][0][:3] == [True, True, False]
P
venv/bin/python look.py
