#!/usr/bin/env bash
# transformers: whether the newline that ends a prefilled assistant turn is there depends on the model's chat template.
#
# Versions: transformers 5.23.0, tokenizers as it asks for, jinja2 3.1.6.
# Seen: apply_chat_template(continue_final_message=True) with an assistant turn "```python\n" (the usual way to ask for code): a template
#   that writes message['content'] as it is ends in "```python\n"; one that writes message['content'] | trim, as Llama 3's and others' do,
#   ends in "```python". No warning; and trailing spaces of an indented prefill go the same way.
# Why it matters: the model is asked to go on in the middle of the fence's line, or of a line without its indentation, for some models and
#   not for others; a program put together as prefill + answer has a newline that the model never saw.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'transformers==5.23.0' 'jinja2==3.1.6'
cd "$work"
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
venv/bin/python - <<'P' 2>stderr.txt || { tail -5 stderr.txt; exit 1; }
import sys

import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"x": 0}, unk_token="x")))
template = "{% for message in messages %}[{{ message['role'] }}]{{ CONTENT }}[end]{% endfor %}"
asked = {"role": "user", "content": "Add two numbers."}
ends = {}
print("transformers", transformers.__version__)
for name, content in (("as it is", "message['content']"), ("trimmed", "message['content'] | trim")):
    for prefill in ("```python\n", "def add(a, b):\n    "):
        chat = [asked, {"role": "assistant", "content": prefill}]
        text = tokenizer.apply_chat_template(
            chat, chat_template=template.replace("CONTENT", content), continue_final_message=True, tokenize=False
        )
        ends[name, prefill] = text.partition("[assistant]")[2]
        print(f"template writes content {name}: {prefill!r} becomes {ends[name, prefill]!r}")
kept = all(end == prefill for (name, prefill), end in ends.items() if name == "as it is")
lost = all(end == prefill.rstrip() for (name, prefill), end in ends.items() if name == "trimmed")
sys.exit(0 if kept and lost else 1)
P
