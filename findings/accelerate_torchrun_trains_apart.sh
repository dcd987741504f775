#!/usr/bin/env bash
# accelerate: under torchrun on a machine without GPUs each of two processes calls itself the only one and trains alone on all rows.
#
# Versions: accelerate 1.15.0, torch 2.13.0 (CPU).
# Seen: `torchrun --nproc-per-node 2` sets RANK and WORLD_SIZE; Accelerator() says one process, main process, in both; a prepared loader
#   gives all eight rows to both; after one step their weights differ. With Accelerator(cpu=True): two processes, four rows each, equal weights.
# Why it matters: the usual way to try a distributed training before renting GPUs tries nothing: no gradient is averaged, files are
#   written by two "main" processes, and no line says so.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'accelerate==1.15.0' 'torch==2.13.0'
cd "$work"
export OMP_NUM_THREADS=1 HF_HOME="$work/home"
cat > train.py <<'P'
import os
import sys

import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True) if sys.argv[1] == "cpu" else Accelerator()
torch.manual_seed(0)
rows = torch.utils.data.TensorDataset(torch.arange(8.0)[:, None])
model = torch.nn.Linear(1, 1)
loader = torch.utils.data.DataLoader(rows, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(int(os.environ["RANK"])))
model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01), loader)
seen = 0
for step, (batch,) in enumerate(loader):
    seen += len(batch)
    if step == 0:
        accelerator.backward(model(batch).square().mean())
        optimizer.step()
(weight, *_) = model.parameters()
line = f"{accelerator.num_processes} {accelerator.is_main_process} {seen} {weight.item():.6f}"
open(f"{sys.argv[1]}.{os.environ['RANK']}", "w").write(line)
P
for how in plain cpu; do
    venv/bin/torchrun --nproc-per-node 2 --master-addr 127.0.0.1 --master-port 0 --standalone train.py "$how" >log.txt 2>&1 || { tail -5 log.txt; exit 1; }
done
venv/bin/python - <<'P'
import importlib.metadata
import sys

print("accelerate", importlib.metadata.version("accelerate"), "torch", importlib.metadata.version("torch"))
seen = {}
for how in ("plain", "cpu"):
    seen[how] = [open(f"{how}.{rank}").read().split() for rank in (0, 1)]
    for rank, (count, main, rows, weight) in enumerate(seen[how]):
        print(f"{how:5} RANK {rank}: processes {count}, main {main}, rows {rows}, weight {weight}")
alone = all(line[:3] == ["1", "True", "8"] for line in seen["plain"]) and seen["plain"][0][3] != seen["plain"][1][3]
together = [line[:3] for line in seen["cpu"]] == [["2", "True", "4"], ["2", "False", "4"]] and seen["cpu"][0][3] == seen["cpu"][1][3]
sys.exit(0 if alone and together else 1)
P
