#!/usr/bin/env bash
# lm-evaluation-harness: `repeats: 4` at temperature 1 asks a completions server four times with one and the same seed.
#
# Versions: lm_eval 0.4.13 with its [api] extra (Python 3.11).
# Seen: a task with `repeats: 4`, `do_sample: true`, `temperature: 1.0`, run by model local-completions against a server on loopback
#   that draws its answer from the request's seed, as vLLM and llama.cpp do. All four requests carry seed 1234, so samples_*.jsonl holds
#   four copies of one text.
# Why it matters: pass@k of such a file is pass@1 under another name, and its interval is too narrow. A server without seeds hides it.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'lm_eval[api]==0.4.13'
cd "$work"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME="$work/home" OPENAI_API_KEY=none
mkdir tasks
echo '{"question": "say a number", "answer": "7"}' > rows.jsonl
cat > tasks/own.yaml <<'Y'
task: own
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
repeats: 4
generation_kwargs: {do_sample: true, temperature: 1.0, max_gen_toks: 8, until: ["\n"]}
metric_list: [{metric: exact_match}]
Y
cat > server.py <<'P'
import http.server
import json
import random
import sys


class Answers(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("asked.jsonl", "a") as lines:
            lines.write(json.dumps({"seed": asked.get("seed"), "temperature": asked.get("temperature")}) + "\n")
        prompts = asked["prompt"] if isinstance(asked["prompt"], list) else [asked["prompt"]]
        text = str(random.Random(asked.get("seed")).randrange(10**6))
        choices = [{"index": i, "text": text, "finish_reason": "stop"} for i in range(len(prompts))]
        body = json.dumps({"object": "text_completion", "model": "m", "choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


bound = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
print(bound.server_address[1], flush=True)
bound.serve_forever()
P
venv/bin/python server.py > port.txt &
server=$!
until test -s port.txt; do sleep 0.1; done
arguments="model=m,base_url=http://127.0.0.1:$(cat port.txt)/v1/completions,tokenizer_backend=None,tokenized_requests=False"
venv/bin/lm_eval run --model local-completions --model_args "$arguments" --tasks own --include_path tasks --output_path out --log_samples \
    >log.txt 2>&1 || { tail -15 log.txt; exit 1; }
cat > read.py <<'P'
import glob
import importlib.metadata
import json
import sys

asked = [json.loads(line) for line in open("asked.jsonl")]
(path,) = glob.glob("out/**/samples_own_*.jsonl", recursive=True)
(row,) = [json.loads(line) for line in open(path)]
texts = row["resps"][0]
print("lm_eval", importlib.metadata.version("lm_eval"), "| requests:", asked, "| texts:", texts)
sys.exit(0 if len(asked) == 4 == len(texts) and {a["seed"] for a in asked} == {1234} and len(set(texts)) == 1 else 1)
P
venv/bin/python read.py
