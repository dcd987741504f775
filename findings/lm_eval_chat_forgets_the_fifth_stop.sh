#!/usr/bin/env bash
# lm-evaluation-harness: of five stop strings a chat server gets four, and nobody cuts at the fifth; a completions server gets all five.
#
# Versions: lm_eval 0.4.13 with its [api] extra (Python 3.11).
# Seen: a task with the five `until` strings of the harness' own humaneval.yaml, asked of a server on loopback that keeps to the stop strings
#   it is sent and would write "    return 1", a new line and "print(f())". local-completions sends five, exact_match 1.0;
#   local-chat-completions sends the first four, keeps the text behind "\nprint", exact_match 0.0. samples_*.jsonl names all five in both.
# Why it matters: OpenAI's own API takes four; servers of open models take more, and the text could be cut on the client. The
#   same model behind the same server has two scores by its route, and the record of the run says that it was stopped alike.
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
echo '{"question": "def f():", "answer": "    return 1"}' > rows.jsonl
cat > tasks/own.yaml <<'Y'
task: own
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {do_sample: false, max_gen_toks: 40, until: ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]}
metric_list: [{metric: exact_match}]
Y
cat > server.py <<'P'
import http.server
import json


class Answers(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stops = asked.get("stop") or []
        with open("asked.jsonl", "a") as lines:
            lines.write(json.dumps({"path": self.path, "stops": len(stops)}) + "\n")
        text = "    return 1\nprint(f())"
        for stop in stops:
            text = text.split(stop)[0]
        said = {"message": {"role": "assistant", "content": text}} if "chat" in self.path else {"text": text}
        body = json.dumps({"object": "answer", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", **said}]}).encode()
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
base="model=m,base_url=http://127.0.0.1:$(cat port.txt)/v1"
ask() {
    venv/bin/lm_eval run --model "$1" --model_args "$2" --tasks own --include_path tasks --output_path "$1" --log_samples "${@:3}" >log.txt 2>&1 \
        || { tail -15 log.txt; exit 1; }
}
ask local-completions "$base/completions,tokenizer_backend=None,tokenized_requests=False"
ask local-chat-completions "$base/chat/completions" --apply_chat_template
cat > read.py <<'P'
import glob
import importlib.metadata
import json
import sys

sent = [json.loads(line)["stops"] for line in open("asked.jsonl")]
seen = []
print("lm_eval", importlib.metadata.version("lm_eval"))
for model, stops in zip(("local-completions", "local-chat-completions"), sent, strict=True):
    (path,) = glob.glob(f"{model}/**/samples_own_*.jsonl", recursive=True)
    (row,) = [json.loads(line) for line in open(path)]
    told = len(row["arguments"]["gen_args_0"]["arg_1"]["until"])
    seen.append((stops, told, row["exact_match"]))
    print(f"{model}: sent {stops} stop strings, samples name {told}, text {row['resps'][0][0]!r}, exact_match {row['exact_match']}")
sys.exit(0 if seen == [(5, 5, 1.0), (4, 5, 0.0)] else 1)
P
venv/bin/python read.py
