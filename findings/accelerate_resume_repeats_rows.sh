#!/usr/bin/env bash
# accelerate: save_state in the middle of an epoch, load_state and skip_first_batches, as its guide shows, trains on some rows twice and
# on others never.
#
# Versions: accelerate 1.15.0, torch 2.13.0 (CPU, one process).
# Seen: forty rows, shuffled, batches of two, state saved after ten batches. A new process' objects, load_state, skip_first_batches(10):
#   the rows of the second half are drawn from another permutation than those of the first.
# Why it matters: nothing fails and losses look alike; a resumed training is not the training that was interrupted, and its last epoch is
#   no epoch.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'accelerate==1.15.0' 'torch==2.13.0'
cd "$work"
export OMP_NUM_THREADS=1 HF_HOME="$work/home"
cat > train.py <<'P'
import sys

import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import set_seed

resume = sys.argv[1] == "resume"
set_seed(7)
accelerator = Accelerator(cpu=True)
rows = torch.utils.data.TensorDataset(torch.arange(40))
loader = torch.utils.data.DataLoader(rows, batch_size=2, shuffle=True)
model = torch.nn.Linear(1, 1)
model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), loader)
if resume:
    accelerator.load_state("state")
    loader = skip_first_batches(loader, 10)
for step, (batch,) in enumerate(loader):
    print(*batch.tolist())
    if not resume and step == 9:
        accelerator.save_state("state")
        break
P
venv/bin/python train.py begin > first.txt 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
venv/bin/python train.py resume > second.txt 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
venv/bin/python - <<'P'
import importlib.metadata
import sys

first, second = (open(name).read().split() for name in ("first.txt", "second.txt"))
twice, never = len({*first} & {*second}), 40 - len({*first} | {*second})
print("accelerate", importlib.metadata.version("accelerate"), "torch", importlib.metadata.version("torch"))
print(f"{len(first)} rows before, {len(second)} behind; {twice} seen twice, {never} never")
sys.exit(0 if len(first) == len(second) == 20 and twice == never > 3 else 1)
P
