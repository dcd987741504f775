#!/usr/bin/env bash
# torch: going over a DataLoader that neither shuffles nor has workers draws from the global generator.
#
# Versions: torch 2.13.0 (CPU).
# Seen: after manual_seed(0), torch.rand(1) is another number once a loader with shuffle=False and num_workers=0 has been gone over, or only iter()
#   has been called on it; each time moves it on by one draw. With a generator of its own (generator=torch.Generator()) nothing moves.
# Why it matters: a run that is evaluated half-way trains on with other dropout and other samples than one that is not, and so does
#   one that is evaluated twice as often: "the same seed" tells two runs apart that differ in nothing but how often they were looked at.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'torch==2.13.0'
cd "$work"
venv/bin/python - 2>stderr.txt <<'P' || { tail -5 stderr.txt; exit 1; }
import torch
from torch.utils.data import DataLoader


def next_number(looks, **options):
    loader = DataLoader(range(8), batch_size=4, shuffle=False, num_workers=0, **options)
    torch.manual_seed(0)
    for _ in range(looks):
        for _ in loader:
            pass
    return torch.rand(1).item()


def by_iter_alone():
    loader = DataLoader(range(8))
    torch.manual_seed(0)
    iter(loader)
    return torch.rand(1).item()


numbers = [next_number(looks) for looks in (0, 1, 2)]
apart = next_number(2, generator=torch.Generator())
print("torch", torch.__version__)
print("not looked", numbers[0], "| once", numbers[1], "| twice", numbers[2], "| iter() alone", by_iter_alone())
print("twice, with a generator of its own", apart)
assert len(set(numbers)) == 3
assert by_iter_alone() == numbers[1]
assert apart == numbers[0]
P
