#!/usr/bin/env bash
# openai: a page of HTML, or an error object, under status 200 raises nothing.
#
# Versions: openai 3.57.0 (Python 3.11).
# Seen: a server that answers 200 with a gateway's HTML page: client.completions.create returns a str. 200 with {"error": …}:
#   a Completion whose choices is None. Neither raises, so a program that goes on with "no text" counts an empty answer.
# Why it matters: behind a proxy, an evaluation that takes what the client returns scores a broken gateway as the model's wrong answers.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'openai==3.57.0'
"$work/venv/bin/python" - <<'P'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai

ANSWERS = [
    ("text/html", b"<html><body><h1>Bad gateway</h1></body></html>"),
    ("application/json", json.dumps({"error": {"message": "out of memory"}}).encode()),
]


class Gateway(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        kind, body = ANSWERS.pop(0)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Gateway)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", api_key="none", max_retries=0)
found = [client.completions.create(model="m", prompt="p", max_tokens=1) for _ in range(2)]
print("openai", openai.__version__)
print("HTML under 200:", type(found[0]).__name__, repr(found[0])[:60])
print("error under 200:", type(found[1]).__name__, "choices", getattr(found[1], "choices", "absent"))
same = isinstance(found[0], str) and type(found[1]).__name__ == "Completion" and found[1].choices is None
sys.exit(0 if same else 1)
P
