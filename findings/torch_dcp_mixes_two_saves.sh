#!/usr/bin/env bash
# torch.distributed.checkpoint: a folder that holds one rank's file of one save and another rank's of another loads without a word.
#
# Versions: torch 2.13.0 (CPU, gloo, two processes).
# Seen: a sharded tensor saved as ones at step 1 and as twos at step 2, into two folders; rank 0's file of the second copied over that of
#   the first. load() returns half ones and half twos and step 1, no error and no warning: neither .metadata nor the ranks' files say
#   which save they belong to.
# Why it matters: it is what a save over an older checkpoint leaves behind when it is stopped between two ranks' files, and what a copy
#   that was made while a save went on holds. A training that goes on from it goes on from no model that ever was; only a new folder for
#   each save, published when it is whole, tells them apart.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' 'numpy==2.3.5'
cd "$work"
cat > show.py <<'P'
import os
import shutil
import sys
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor


def state(value, mesh):
    return {"weight": distribute_tensor(torch.full((4, 2), value), mesh, [Shard(0)]), "step": int(value)}


dist.init_process_group("gloo")
first = dist.get_rank() == 0
mesh = init_device_mesh("cpu", (2,))
for step in (1.0, 2.0):
    dcp.save(state(step, mesh), checkpoint_id=f"step{int(step)}")
dist.barrier()
if first:
    shutil.copytree("step1", "mixed")
    shutil.copy("step2/__0_0.distcp", "mixed/__0_0.distcp")
dist.barrier()
loaded = state(0.0, mesh)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    dcp.load(loaded, checkpoint_id="mixed")
rows = loaded["weight"].full_tensor()[:, 0].tolist()
told = [str(one.message) for one in said if "mix" in str(one.message) or "differ" in str(one.message)]
if first:
    print("torch", torch.__version__, "| files:", *sorted(os.listdir("mixed")))
    print("loaded rows:", rows, "step:", loaded["step"], "warnings of a mixture:", len(told))
dist.destroy_process_group()
sys.exit(0 if rows == [2.0, 2.0, 1.0, 1.0] and loaded["step"] == 1 and not told else 1)
P
OMP_NUM_THREADS=1 venv/bin/python -m torch.distributed.run --standalone --nproc-per-node 2 show.py 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
