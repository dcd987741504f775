#!/usr/bin/env bash
# openai: a client that is given a transport no longer knows the environment's proxies.
#
# Versions: openai 3.57.0 (Python 3.11).
# Seen: with HTTP_PROXY set, OpenAI() asks through the proxy. With http_client=DefaultHttpxClient(transport=HTTPTransport(retries=2)),
#   which looks like a setting of retries, the proxy gets nothing and the request goes straight to the server's name; with
#   DefaultHttpxClient(timeout=5) it goes through the proxy. No warning, and trust_env is true in all three.
# Why it matters: an evaluation inside a company's network asks hosted models through a proxy. A change of the transport (retries,
#   a pool, a local address) ends in "Connection error." there and works everywhere else.
# Exit status: 0 while it behaves so, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'openai==3.57.0'
env -u NO_PROXY -u no_proxy -u ALL_PROXY -u all_proxy -u HTTP_PROXY "$work/venv/bin/python" - <<'P'
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import openai

ANSWER = json.dumps(
    {
        "id": "1", "object": "text_completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "text": " by the proxy", "finish_reason": "stop", "logprobs": None}],
    }
).encode()


class Proxy(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["http_proxy"] = f"http://127.0.0.1:{server.server_address[1]}"


def asked(http_client):
    client = openai.OpenAI(
        base_url="http://model.invalid/v1", api_key="none", max_retries=0, http_client=http_client
    )
    try:
        return client.completions.create(model="m", prompt="p", max_tokens=1).choices[0].text
    except openai.APIConnectionError as error:
        return f"{type(error).__name__}: {error.__cause__}"


print("openai", openai.__version__, "httpx2", httpx2.__version__)
found = {
    "as it is": asked(None),
    "with a timeout": asked(openai.DefaultHttpxClient(timeout=5)),
    "with a transport": asked(openai.DefaultHttpxClient(transport=httpx2.HTTPTransport(retries=2))),
}
for name, text in found.items():
    print(f"{name}: {text}")
through = [name for name, text in found.items() if text == " by the proxy"]
sys.exit(0 if through == ["as it is", "with a timeout"] else 1)
P
