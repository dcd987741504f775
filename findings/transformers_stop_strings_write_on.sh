#!/usr/bin/env bash
# transformers: in a batch, `stop_strings` without an end token lets a row that has stopped write on until the slowest row stops.
#
# Versions: transformers 5.23.0, torch 2.13.0 (CPU).
# Seen: two prompts, one stop string that occurs early in the first text. Alone, the first row ends at the stop. In the batch it goes on:
#   the returned row holds the stop and what the model wrote behind it, as long as the other row runs. With an `eos_token_id` the same row
#   is padded behind the stop.
# Why it matters: the text of a sample depends on its neighbours. A harness that takes "behind the prompt" for the answer judges text
#   that the model was told not to write; tokenizers without an end token (byte tokenizers, some base models) are enough.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'transformers==5.23.0' 'torch==2.13.0'
cd "$work"
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
venv/bin/python - <<'P' 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
import sys

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

torch.manual_seed(0)
letters = {piece: i for i, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
backend = Tokenizer(models.BPE(letters, []))
backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
model = LlamaForCausalLM(LlamaConfig(vocab_size=256, **sizes)).eval()
for weight in model.parameters():
    weight.data.mul_(8 if weight.dim() > 1 else 1)
with torch.no_grad():
    model.lm_head.weight[[i for piece, i in letters.items() if not (len(piece) == 1 and piece.isascii() and piece.isalnum())]] = 0
ids = tokenizer(["ab", "cd"], return_tensors="pt")["input_ids"]
asked = dict(max_new_tokens=40, do_sample=False, pad_token_id=0)
texts = [tokenizer.decode(row[2:]) for row in model.generate(ids, eos_token_id=None, **asked)]
stop = next(texts[0][i : i + 2] for i in range(4, 30) if texts[0][i : i + 2] not in texts[1] and texts[0].find(texts[0][i : i + 2]) == i)
asked |= dict(stop_strings=[stop], tokenizer=tokenizer)
alone = tokenizer.decode(model.generate(ids[:1], eos_token_id=None, **asked)[0, 2:])
beside = tokenizer.decode(model.generate(ids, eos_token_id=None, **asked)[0, 2:])
ended = model.generate(ids, eos_token_id=letters["~"], **asked)[0, 2:].tolist()
print("transformers", transformers.__version__, "torch", torch.__version__)
print("stop", repr(stop), "| alone", repr(alone), "| in a batch", repr(beside))
print("padding behind the stop with an end token:", ended.count(0))
sys.exit(0 if alone.endswith(stop) and beside.startswith(alone) and len(beside) == 40 and ended[len(alone) :] == [0] * (40 - len(alone)) else 1)
P
