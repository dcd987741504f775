#!/usr/bin/env bash
# torch: an optimizer's state goes to parameters by their position, whatever their names are, also where it holds the names.
#
# Versions: torch 2.13.0 (CPU).
# Seen: AdamW is given named parameters of two layers of one shape, a and b; its state dict says param_names ["a", "b"]. Loaded into an AdamW of the
#   same layers in the order b, a, layer a has the moments of b and b those of a. No exception, no warning; afterwards the new optimizer
#   says that its parameters are a and b, which it was given as b and a.
# Why it matters: heads of a multi-token model are equal in shape. Whoever resumes with heads in another order (a head added in
#   front, a frozen trunk, a dict that was sorted) trains on with each other's moments, and the loss only looks restless for a while.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'torch==2.13.0'
cd "$work"
venv/bin/python - 2>stderr.txt <<'P' || { tail -5 stderr.txt; exit 1; }
import warnings

import torch

heads = {name: torch.nn.Parameter(torch.zeros(2)) for name in "ab"}
before = torch.optim.AdamW([(name, heads[name]) for name in "ab"])
(heads["a"].sum() * 1 + heads["b"].sum() * 10).backward()
before.step()
saved = before.state_dict()
after = torch.optim.AdamW([(name, heads[name]) for name in "ba"])
with warnings.catch_warnings():
    warnings.simplefilter("error")
    after.load_state_dict(saved)
print("torch", torch.__version__)
print("saved names", saved["param_groups"][0]["param_names"], "| names of the other", after.param_groups[0]["param_names"])
moments = {}
for kind, optimizer in (("before", before), ("after", after)):
    for name in "ab":
        moments[kind, name] = round(optimizer.state[heads[name]]["exp_avg"][0].item(), 4)
        print(kind, name, moments[kind, name])
assert saved["param_groups"][0]["param_names"] == after.param_groups[0]["param_names"] == ["a", "b"]
assert moments["before", "a"] == moments["after", "b"] == 0.1
assert moments["before", "b"] == moments["after", "a"] == 1.0
P
