#!/usr/bin/env bash
# transformers: one SentencePiece file gives three different id sequences, by the names that stand beside it.
#
# Versions: transformers 5.23.0, tokenizers as it pins, sentencepiece 0.2.1 (Python 3.11).
# Seen: a tokenizer.model trained here (BPE, identity normaliser, byte fallback), alone in a folder with config.json. AutoTokenizer
#   gives SentencePiece's own ids under tokenizer_class LlamaTokenizer, other ids where model_type says llama or mistral and no
#   class is named, and others again under qwen2; none of them puts <s> in front, and LlamaTokenizer loses one of two leading
#   spaces in decode(encode(text)). The same folder with a tokenizer.json: under model_type qwen2 the file's pre_tokenizer is
#   replaced, so ids differ from those of the file.
# Why it matters: nothing warns. A model evaluated from such a folder is asked other prompts than those it was trained on.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  'transformers==5.23.0' 'sentencepiece==0.2.1' 'protobuf==6.33.1'
cd "$work"
venv/bin/python - <<'P' 2>/dev/null
import json
import pathlib
import sys

import sentencepiece
import tokenizers
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

LINES = ["def add(left, right):", "    return left + right", "for n in range(10): print(n, end=' ')"] * 40
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(LINES), model_prefix="own", model_type="bpe", vocab_size=320, byte_fallback=True,
    normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
)
own = sentencepiece.SentencePieceProcessor(model_file="own.model")
TEXT = "def add(x):\n    return  x"


def load(kind, named, file, data):
    folder = pathlib.Path(f"{kind}-{named}-{file}")
    folder.mkdir()
    (folder / file).write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    if named:
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named}))
    return transformers.AutoTokenizer.from_pretrained(str(folder))


print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)
print("SentencePiece itself        ", own.encode(TEXT)[:8])
pieces = pathlib.Path("own.model").read_bytes()
found = {}
for kind, named in (("llama", "LlamaTokenizer"), ("llama", None), ("mistral", None), ("qwen2", None)):
    tokenizer = load(kind, named, "tokenizer.model", pieces)
    found[kind, named] = tokenizer(TEXT)["input_ids"]
    lead = tokenizer.decode(tokenizer("  x")["input_ids"], skip_special_tokens=True)
    print(f"{kind:8} {named or '':18} {found[kind, named][:8]} first {own.bos_id() == found[kind, named][0]} {lead!r}")
    if named:
        lost = lead == " x"

byte = Tokenizer(models.BPE())
byte.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
byte.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
byte.save("byte.json")
other = load("qwen2", None, "tokenizer.json", pathlib.Path("byte.json").read_bytes())(LINES[2])["input_ids"]
print("tokenizer.json itself", byte.encode(LINES[2]).ids[:12], "under qwen2", other[:12])
same = (
    found["llama", "LlamaTokenizer"] == own.encode(TEXT)
    and len({tuple(ids) for ids in found.values()}) == 3
    and lost
    and other != byte.encode(LINES[2]).ids
)
sys.exit(0 if same else 1)
P
