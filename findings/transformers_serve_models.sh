#!/usr/bin/env bash
# What: `transformers serve MODEL` answers GET /v1/models with what lies in the hub's cache, and not with the model that it serves. Where
#       there is no cache folder yet, it answers 500. A completion of the served model is answered all the same.
# With: transformers 5.23.0, huggingface_hub 2.4.0, torch 2.13.0 (CPU), fastapi 0.165.0, uvicorn 0.54.0.
# Seen: /v1/models 500 without a cache folder, 200 with an empty list with one; /v1/completions 200.
# Why it matters: a client that asks which models there are, as all of them do, takes a server that works for a broken one. WMTP knows
#       the server by its routes and wants the model's name.
set -euo pipefail
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 torch==2.13.0 fastapi==0.165.0 uvicorn==0.54.0 \
    accelerate==1.15.0 openai==3.57.0
cd "$folder"
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home" OMP_NUM_THREADS=1
cat > model.py <<'PY'
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = {piece: i for i, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"</s>": 256}
backend = Tokenizer(models.BPE(words, []))
backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>").save_pretrained("model")
sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
LlamaForCausalLM(LlamaConfig(vocab_size=257, eos_token_id=256, **sizes)).save_pretrained("model")
PY
venv/bin/python model.py 2>/dev/null
port=$(venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/transformers serve "$folder/model" --port "$port" --host 127.0.0.1 --device cpu > log 2>&1 &
server=$!
cat > ask.py <<'PY'
import json, os, sys, time, urllib.error, urllib.request

root, model = sys.argv[1:]

def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(root + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None

for _ in range(240):
    try:
        ask("/health")
        break
    except OSError:
        time.sleep(0.5)
before = ask("/v1/models")
os.makedirs(os.path.join(os.environ["HF_HOME"], "hub"), exist_ok=True)
after = ask("/v1/models")
status, body = ask("/v1/completions", {"model": model, "prompt": "a", "max_tokens": 2})
print("models without a cache folder:", before[0], "| with an empty one:", *after, "| completion:", status)
sys.exit(not (before[0] == 500 and after == (200, {"object": "list", "data": []}) and status == 200))
PY
venv/bin/pip list 2>/dev/null | grep -iE '^(transformers|huggingface.hub) '
venv/bin/python ask.py "http://127.0.0.1:$port" "$folder/model"
