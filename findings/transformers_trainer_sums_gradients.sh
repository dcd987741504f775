#!/usr/bin/env bash
# transformers: Trainer divides the loss by the accumulation steps, or does not, by whether the model's forward has **kwargs.
#
# Versions: transformers 5.23.0, accelerate 1.15.0, torch 2.13.0 (CPU).
# Seen: one model, its loss a mean over the rows of a batch; once its forward takes (x, labels), once (x, labels, **kwargs) that it drops.
#   One step of plain SGD over the same four micro-batches moves the second's weights four times as far, and the training loss that
#   Trainer reports is four times the first's. No warning: `**kwargs` is read as "this model divides by num_items_in_batch".
# Why it matters: a model with losses of its own (extra heads, token weights) that passes keywords on trains at the learning rate times the
#   accumulation steps, and looks like one whose loss is high. `accepts_loss_kwargs = False` on the model says what is meant.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'transformers==5.23.0' 'accelerate==1.15.0' 'torch==2.13.0'
cd "$work"
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
venv/bin/python - <<'P' 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
import sys

import torch
import transformers
from transformers import Trainer, TrainingArguments


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4))

    def forward(self, x, labels):
        return {"loss": ((x @ self.weight - labels) ** 2).mean()}


class Passing(Plain):
    def forward(self, x, labels, **kwargs):
        return super().forward(x, labels)


class Saying(Passing):
    accepts_loss_kwargs = False


torch.manual_seed(0)
rows = [{"x": torch.randn(4), "labels": torch.randn(())} for _ in range(8)]
options = TrainingArguments(
    output_dir="out", per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=1, optim="sgd", learning_rate=0.1,
    lr_scheduler_type="constant", max_grad_norm=0, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
)  # fmt: skip
moved, losses = [], []
for kind in (Plain, Passing, Saying):
    model = kind()
    losses.append(Trainer(model=model, args=options, train_dataset=rows).train().training_loss)
    moved.append(model.weight.detach().clone())
print("transformers", transformers.__version__, "torch", torch.__version__, "| accumulation steps: 4")
print("moved, with **kwargs over without:", (moved[1] / moved[0]).round(decimals=3).tolist())
print("loss reported: without", round(losses[0], 4), "with", round(losses[1], 4), "with and accepts_loss_kwargs = False", round(losses[2], 4))
same = torch.allclose(moved[1], 4 * moved[0], rtol=1e-4) and torch.allclose(moved[2], moved[0], rtol=1e-4)
sys.exit(0 if same and abs(losses[1] / losses[0] - 4) < 1e-3 else 1)
P
