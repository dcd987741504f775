"""A stand-in for vLLM, SGLang and a plain server: their answers field by field, and faults to switch on."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["Handler", dict[str, Any]], None]


class StandIn(ThreadingHTTPServer):
    """Answers each request with a text that is a function of prompt, seed and temperature.

    Attributes:
        faults: one is taken from the front and done to each request of a completion, instead of the answer.
        answered: bodies of requests that got a whole answer; seen: all.
        write: body → text. Replace it to have another model.
        scores: (body, place) → scores of words that may stand there beside the one written, where logprobs are given; a word's
            token is it with the space before.
        root, size: path and bytes of the weights, as vLLM and SGLang tell the one and llama.cpp's server the other.
        template: body → what turns end in, as a prompt.
        proxied: addresses that it was asked for as a proxy is. It answers for whoever they name.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, kind: str = "vllm", model: str = "our/model", port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.kind, self.model = kind, model
        self.root, self.size = model, 500_000
        self.faults: list[Fault] = []
        self.seen: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.write: Callable[[dict[str, Any]], str] = drawn
        self.shape: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] = lambda body, answer: answer
        self.scores: Callable[[dict[str, Any], int], dict[str, float]] | None = None
        self.template: Callable[[dict[str, Any]], str] = lambda body: "<assistant>"
        self.key: str | None = None
        self.delay_s = 0.0
        self.proxied: list[str] = []
        self.most_at_once = 0
        self._active = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def started(self) -> StandIn:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""

    def asked_again(self) -> Counter[tuple[str, int]]:
        """Requests that were sent again after they had been answered: (prompt, seed) → how often."""
        times = Counter((json.dumps(b.get("prompt") or b.get("messages")), b.get("seed", -1)) for b in self.answered)
        return Counter({k: n for k, n in times.items() if n > 1 and k[1] != -1})


def drawn(body: dict[str, Any]) -> str:
    """A text of words; greedy at temperature 0, and a function of the seed above it. Without a seed every call differs."""
    asked = json.dumps(body.get("prompt") or body.get("messages"))
    seed = body.get("seed", time.monotonic_ns()) if body["temperature"] else "greedy"
    return f" w{hashlib.sha256(f'{asked} {seed}'.encode()).hexdigest()[:12]} END rest"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def log_message(self, format: str, *args: Any) -> None:
        return

    def parse_request(self) -> bool:
        whole = super().parse_request()
        if whole and self.path.startswith("http://"):
            self.server.proxied.append(self.path)
            self.path = "/" + self.path.split("/", 3)[3]
        return whole

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, status: int, body: Any, **headers: str) -> None:
        self.send(status, json.dumps(body).encode(), **headers)

    def reset(self) -> None:
        """The connection ends with a reset, as when a server is killed."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def do_GET(self) -> None:
        kind, model = self.server.kind, self.server.model
        if self.path == "/v1/models":
            if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
                self.json(401, {"error": {"message": "invalid key"}})
                return
            row: dict[str, Any] = {"id": model, "object": "model", "owned_by": kind}
            if kind == "vllm":
                row |= {"max_model_len": 4096, "root": self.server.root, "parent": None}
            elif kind == "llama.cpp":
                row["meta"] = {"n_vocab": 99, "n_params": 1000, "size": self.server.size}
            self.json(200, {"object": "list", "data": [row]})
        elif self.path == "/version" and kind == "vllm":
            self.json(200, {"version": "0.33.0"})
        elif self.path == "/get_server_info" and kind == "sglang":
            self.json(
                200,
                {
                    "version": "0.5.23",
                    "model_path": self.server.root,
                    "speculative_algorithm": "NEXTN",
                    "enable_deterministic_inference": False,
                },
            )
        elif self.path == "/props" and kind == "llama.cpp":
            self.json(200, {"build_info": "b11549", "total_slots": 4, "default_generation_settings": {"n_ctx": 4096}})
        elif self.path == "/metrics" and kind == "vllm":
            drafts = len(self.server.answered)
            text = f'vllm:spec_decode_num_drafts_total{{engine="0"}} {drafts}.0\n' + "".join(
                f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="{i}"}} {drafts // (i + 1)}.0\n'
                for i in range(2)
            )
            self.send(200, text.encode(), "text/plain")
        elif self.path == "/login":
            self.send(200, b"<html>Who are you?</html>", "text/html")
        else:
            self.json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if self.path in ("/tokenize", "/detokenize", "/apply-template"):
            self.beside(body)
            return
        with server.lock:
            server.seen.append(body)
            fault = server.faults.pop(0) if server.faults else None
            server._active += 1
            server.most_at_once = max(server.most_at_once, server._active)
        try:
            if server.delay_s:
                time.sleep(server.delay_s)
            if self.path not in ("/v1/completions", "/v1/chat/completions"):
                self.json(404, {"detail": "Not Found"})
            elif body["model"] != server.model:
                self.json(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            elif fault:
                fault(self, body)
            else:
                answer = self.answer(body)
                with server.lock:
                    server.answered.append(body)
                self.json(200, answer)
        finally:
            with server.lock:
                server._active -= 1

    def beside(self, body: dict[str, Any]) -> None:
        """What vLLM and llama.cpp's server tell of their chat template."""
        if self.server.kind == "llama.cpp" and self.path == "/apply-template":
            self.json(200, {"prompt": self.server.template(body)})
        elif self.server.kind == "vllm" and self.path == "/tokenize":
            self.json(200, {"tokens": list(self.server.template(body).encode())})
        elif self.server.kind == "vllm" and self.path == "/detokenize":
            self.json(200, {"prompt": bytes(body["tokens"]).decode()})
        else:
            self.json(404, {"detail": "Not Found"})

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        text, finish = self.server.write(body), "length"
        for stop in body.get("stop", ()):
            if stop in text:
                text, finish = text[: text.index(stop)], "stop"
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
        if self.path.endswith("/chat/completions"):
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        if self.server.scores and body.get("logprobs"):
            choice["logprobs"] = self.logprobs(body, text)
        whole = {
            "id": "x", "object": "text_completion", "created": 0, "model": body["model"], "choices": [choice],
            "usage": {"prompt_tokens": self.length(body), "completion_tokens": len(text.split()), "total_tokens": 9},
        }  # fmt: skip
        return self.server.shape(body, whole)

    def length(self, body: dict[str, Any]) -> int:
        prompt = body.get("prompt")
        return len(prompt) if isinstance(prompt, list) else 3

    def logprobs(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        """Scores of a text of words, in the form that completions or chats have."""
        assert self.server.scores is not None
        words = [f" {word}" for word in text.split()]
        likely = [{word: -0.5} | self.server.scores(body, i) for i, word in enumerate(words)]
        if "messages" not in body:
            return {
                "tokens": words, "token_logprobs": [s[w] for s, w in zip(likely, words, strict=True)], "top_logprobs": likely,
                "text_offset": [],
            }  # fmt: skip
        rows = [[{"token": w, "logprob": v, "bytes": list(w.encode())} for w, v in scores.items()] for scores in likely]
        return {"content": [row[0] | {"top_logprobs": row} for row in rows]}


def _status(status: int, body: Any = None, **headers: str) -> Fault:
    return lambda h, b: h.json(status, body or {"error": {"message": f"fault {status}"}}, **headers)


def _page(status: int) -> Fault:
    return lambda h, b: h.send(status, b"<html><body>502 Bad Gateway</body></html>", "text/html")


def _changed(change: Callable[[dict[str, Any]], Any]) -> Fault:
    return lambda h, b: h.json(200, change(h.answer(b)))


def _choice(**fields: Any) -> Fault:
    def change(answer: dict[str, Any]) -> dict[str, Any]:
        answer["choices"][0] |= fields
        return answer

    return _changed(change)


def _half(h: Handler, body: dict[str, Any]) -> None:
    data = json.dumps(h.answer(body)).encode()
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.send_header("Content-Length", str(len(data)))
    h.end_headers()
    h.wfile.write(data[: len(data) // 2])
    h.wfile.flush()
    h.reset()


def _short(h: Handler, body: dict[str, Any]) -> None:
    data = json.dumps(h.answer(body)).encode()
    h.send(200, data[: len(data) // 2])


def _late(h: Handler, body: dict[str, Any]) -> None:
    time.sleep(1.5)
    h.json(200, h.answer(body))


def _slow(h: Handler, body: dict[str, Any]) -> None:
    """A byte now and then: no single wait is long."""
    data = json.dumps(h.answer(body)).encode()
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.send_header("Content-Length", str(len(data)))
    h.end_headers()
    try:
        for i in range(min(len(data), 25)):
            h.wfile.write(data[i : i + 1])
            h.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass
    h.reset()


def _endless(h: Handler, body: dict[str, Any]) -> None:
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.end_headers()
    try:
        for _ in range(80):
            h.wfile.write(b" " * 2**20)
    except OSError:
        pass
    h.reset()


def _closed(h: Handler, body: dict[str, Any]) -> None:
    """The connection ends without an answer, as one that was kept open for too long."""
    h.close_connection = True
    h.connection.shutdown(socket.SHUT_RDWR)


def _short_length(h: Handler, body: dict[str, Any]) -> None:
    """More is promised than comes."""
    data = json.dumps(h.answer(body)).encode()
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.send_header("Content-Length", str(len(data) + 100))
    h.end_headers()
    h.wfile.write(data)
    h.wfile.flush()
    _closed(h, body)


def _events(h: Handler, body: dict[str, Any]) -> None:
    h.send(200, b'data: {"error": {"message": "out of memory"}}\n\ndata: [DONE]\n\n', "text/event-stream")


def _raw(change: Callable[[bytes], bytes], **headers: str) -> Fault:
    return lambda h, b: h.send(200, change(json.dumps(h.answer(b)).encode()), **headers)


def _page_at(status: int, location: str) -> Fault:
    return lambda h, b: h.send(status, b"", "text/html", Location=location)


def _twice(h: Handler, body: dict[str, Any]) -> None:
    """A second answer that nobody asked for comes behind the first, on a connection that stays open."""
    for text in ("lost", "stray"):
        answer = h.answer(body)
        answer["choices"][0] |= {
            "text": text,
            "message": {"content": text},
            "finish_reason": None if text == "lost" else "stop",
        }
        h.json(200, answer)


def _cut_gzip(h: Handler, body: dict[str, Any]) -> None:
    data = gzip.compress(json.dumps(h.answer(body)).encode())
    h.send(200, data[: len(data) // 2], Content_Encoding="gzip")


def _spoilt_gzip(h: Handler, body: dict[str, Any]) -> None:
    data = bytearray(gzip.compress(json.dumps(h.answer(body)).encode()))
    data[len(data) // 2] ^= 0xFF
    h.send(200, bytes(data), Content_Encoding="gzip")


def _chunks(end: Callable[[Handler, dict[str, Any]], None], share: int) -> Fault:
    def fault(h: Handler, body: dict[str, Any]) -> None:
        """The answer, or a part of it, in a chunk that no last one follows."""
        data = json.dumps(h.answer(body)).encode()
        data = data[: len(data) * share // 2]
        h.send_response(200)
        h.send_header("Content-Type", "application/json")
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        h.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
        h.wfile.flush()
        end(h, body)

    return fault


def _headers_for_ever(h: Handler, body: dict[str, Any]) -> None:
    """A line of a header now and then, and no end of them."""
    h.send_response(200)
    try:
        for i in range(25):
            h.wfile.write(f"X-{i}: y\r\n".encode())
            h.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass
    h.reset()


def _no_http(h: Handler, body: dict[str, Any]) -> None:
    h.wfile.write(b"* OK IMAP4 ready\r\n")
    h.wfile.flush()
    _closed(h, body)


def _bytes(make: Callable[[bytes], bytes], *, ends: bool = False) -> Fault:
    """What comes in place of an answer, made of the answer's body; ends: the connection does, too."""

    def fault(h: Handler, body: dict[str, Any]) -> None:
        h.wfile.write(make(json.dumps(h.answer(body)).encode()))
        h.wfile.flush()
        if ends:
            _closed(h, body)

    return fault


_LINE = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _LINE + b"Transfer-Encoding: chunked\r\n\r\n"


FAULTS: dict[str, Fault] = {
    "429 with Retry-After": _status(429, None, Retry_After="0.2"),
    "429 with a date": _status(429, None, Retry_After="Sat, 01 Jan 2022 00:00:00 GMT"),
    "429 without": _status(429),
    "500": _status(500),
    "500 with text": lambda h, b: h.send(500, b"Internal Server Error", "text/plain"),
    "502 page": _page(502),
    "503": _status(503),
    "504 page": _page(504),
    "529": _status(529),
    "408": _status(408),
    "409": _status(409),
    "200 page": _page(200),
    "200 empty": lambda h, b: h.send(200, b""),
    "200 null": lambda h, b: h.json(200, None),
    "200 list": lambda h, b: h.json(200, []),
    "200 text": lambda h, b: h.json(200, "ok"),
    "200 error inside": lambda h, b: h.json(200, {"error": {"message": "out of memory"}}),
    "no choices": _changed(lambda a: a | {"choices": []}),
    "choices null": _changed(lambda a: a | {"choices": None}),
    "choices no list": _changed(lambda a: a | {"choices": {}}),
    "choices of text": _changed(lambda a: a | {"choices": ["x"]}),
    "two choices": _changed(lambda a: a | {"choices": a["choices"] * 2}),
    "text null": _choice(text=None, message=None),
    "text a number": _choice(text=3, message={"content": 3}),
    "no finish reason": _choice(finish_reason=None),
    "finish reason empty": _choice(finish_reason=""),
    "finish reason error": _choice(finish_reason="error"),
    "finish reason abort": _choice(finish_reason="abort"),
    "half and reset": _half,
    "half JSON": _short,
    "reset before": lambda h, b: h.reset(),
    "late": _late,
    "429 until the end of time": _status(429, None, Retry_After="inf"),
    "429 in words": _status(429, None, Retry_After="soon"),
    "503 with a date of nonsense": _status(503, None, Retry_After="Sat, 99 Foo 2022 99:00:00 GMT"),
    "425": _status(425),
    "204": lambda h, b: h.send(204, b""),
    "redirect to a page": _page_at(302, "/login"),
    "events": _events,
    "byte by byte": _slow,
    "endless": _endless,
    "closed": _closed,
    "fewer bytes than promised": _short_length,
    "no UTF-8": _raw(lambda data: data.replace(b"w", b"\xff", 1)),
    "no gzip": _raw(lambda data: data, Content_Encoding="gzip"),
    "deep": lambda h, b: h.send(200, b"[" * 200_000),
    "two objects": _raw(lambda data: data + data),
    "another's choice": _choice(index=1),
    "index a text": _choice(index="0"),
    "choices nested": _changed(lambda a: a | {"choices": [a["choices"]]}),
    "choices by name": _changed(lambda a: a | {"choices": {"0": a["choices"][0]}}),
    "text a list": _choice(text=["x"], message={"content": ["x"]}),
    "text an object": _choice(text={"value": "x"}, message={"content": {"value": "x"}}),
    "no text": _changed(lambda a: a | {"choices": [{"index": 0, "finish_reason": "stop"}]}),
    "finish reason a number": _choice(finish_reason=1),
    "finish reason unknown": _choice(finish_reason="because"),
    "detail inside": lambda h, b: h.json(200, {"detail": "Internal error"}),
    "error a text": _changed(lambda a: a | {"error": "CUDA error"}),
    "522 page": _page(522),
    "507": _status(507),
    "error in the choice": _choice(error={"code": 502, "message": "provider away"}),
    "empty at its length": lambda h, b: h.json(
        200,
        h.answer(b)
        | {"choices": [{"index": 0, "text": "", "finish_reason": "length"}], "usage": {"completion_tokens": 0}},
    ),
    "choices out of order": _changed(lambda a: a | {"choices": [a["choices"][0] | {"index": i} for i in (1, 0)]}),
    "a piece of a stream": _changed(
        lambda a: a | {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    ),
    "a stream": lambda h, b: h.send(
        200, b"data: " + json.dumps(h.answer(b)).encode() + b"\n\ndata: [DONE]\n\n", "text/event-stream"
    ),
    "refusal of another kind": _choice(text=None, message={"content": None, "refusal": None}),
    "a second answer behind it": _twice,
    "half gzip": _cut_gzip,
    "spoilt gzip": _spoilt_gzip,
    "half in a chunk and reset": _chunks(lambda h, b: h.reset(), 1),
    "a chunk and no end": _chunks(_closed, 2),
    "headers for ever": _headers_for_ever,
    "no HTTP": _no_http,
    "half a character": _raw(lambda data: data[: data.index(b"w")] + b"\xe4\xb8"),
    "UTF-16 cut": _raw(lambda data: data.decode().encode("utf-16")[:-9]),
    "a chunk that is cut": _bytes(lambda d: _CHUNKED + b"%x\r\n" % len(d) + d[: len(d) // 2], ends=True),
    "a chunk longer than it says": _bytes(
        lambda d: _CHUNKED + b"%x\r\n" % (len(d) - 9) + d + b"\r\n0\r\n\r\n", ends=True
    ),
    "chunks of no length": _bytes(lambda d: _CHUNKED + b"zz\r\n" + d + b"\r\n0\r\n\r\n", ends=True),
    "more bytes than promised": _bytes(lambda d: _LINE + b"Content-Length: %d\r\n\r\n" % (len(d) - 9) + d),
    "two lengths": _bytes(lambda d: _LINE + b"Content-Length: 5\r\nContent-Length: %d\r\n\r\n" % len(d) + d, ends=True),
    "a length below nothing": _bytes(lambda d: _LINE + b"Content-Length: -1\r\n\r\n" + d, ends=True),
    "goes on and ends": _bytes(lambda d: b"HTTP/1.1 100 Continue\r\n\r\n", ends=True),
    "another protocol from now on": _bytes(
        lambda d: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + d, ends=True
    ),
    "304": lambda h, b: h.send(304, b""),
    "redirect to nowhere": lambda h, b: h.send(302, b""),
    "redirect to a file": _page_at(302, "file:///etc/passwd"),
    "429 with no time": _status(429, None, Retry_After="0"),
    "429 with less than no time": _status(429, None, Retry_After="-5"),
    "a text twice": lambda h, b: h.send(
        200, json.dumps(h.answer(b)).replace('"text": "', '"text": "another", "text": "').encode()
    ),
    "choices twice": _raw(
        lambda data: data[:-1] + b', "choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}'
    ),
    "a call that is none": _choice(text="", finish_reason="tool_calls"),
    "compressed twice": lambda h, b: h.send(
        200, gzip.compress(gzip.compress(json.dumps(h.answer(b)).encode())), Content_Encoding="gzip, gzip"
    ),
    "numbers that are none": _raw(lambda data: data.replace(b'"index": 0', b'"index": NaN1')),
}
