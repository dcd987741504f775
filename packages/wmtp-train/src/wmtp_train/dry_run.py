"""``wmtp train --dry-run``: everything but the steps."""

from __future__ import annotations

import torch

from wmtp.weighting import weight_histogram
from wmtp_train import order
from wmtp_train.folder import TrainingFolder
from wmtp_train.loop import latest
from wmtp_train.plan import TrainingRequest, make_plan, memory_gib
from wmtp_train.processes import Processes
from wmtp_train.step import Stepper


def lines(request: TrainingRequest, processes: int) -> list[str]:
    """What a training would be, with the weights of its first micro-batch."""
    plan = make_plan(request, world=processes)
    folder = TrainingFolder(request.folder)
    checkpoint = latest(folder, plan.key)
    rows, train = plan.rows, plan.sections.train
    trained = sum(rows.counts(row, 1)[0] for row in range(len(rows)))
    cut = sum(one.cut for one in rows.documents)
    found = [
        f"{request.folder}: {plan.steps} steps of {train.batch_size} rows, {plan.heads} heads, algo {train.algo}",
        f"data: {len(rows.documents)} examples in {len(rows)} rows, {rows.tokens} tokens, {trained} trained; {cut} were cut",
        f"memory a process: {memory_gib(plan.model, processes):.2f} GiB of weights, gradients and AdamW's moments",
        f"it goes on from step {checkpoint.step}" if checkpoint else "it begins at step 0",
        f"key {plan.key}",
    ]
    first = order.rows_of_step(0, rows=len(rows), batch_size=train.batch_size, seed=plan.seed, end=plan.end)
    batch = rows.batch(first[: train.micro_batch_size], request.device)
    with torch.no_grad():
        weights = Stepper(plan, Processes(device=request.device)).weights(batch)
    edges, counts = weight_histogram(weights, batch.trained, bins=10, low=0.0, high=3.0)
    found.append("weights of the first micro-batch:")
    found += [f"  {low:.1f}–{high:.1f}  {count}" for low, high, count in zip(edges, edges[1:], counts, strict=False)]
    return found
