"""The engine for servers beside a bare client on the same library.

    python benchmarks/servers.py [--requests 2000] [--rounds 3] [--memory 20000] [--through eval] [--answer 0.05]

A stand-in in a process of its own answers every completion after 50 ms. Both sides send the same requests, 64 at once, through
the `openai` client: the engine of wmtp-openai, and a loop of tasks that does nothing else. In turns; the median of rounds.

* **requests/s** of the engine, as a ratio of the bare client's (limit at least 0.97);
* **CPU seconds a request**, as a ratio (limit at most 1.3);
* **memory** of the process from request 2,000 to the last of --memory (limit 8 MiB more). With ``--through eval`` what it is at
  the end of the run, when all samples have been put into a page, is told as well.

With ``--through eval`` a whole run stands in the engine's place: 500 problems in MBPP's form, samples and verdicts on disk,
every program judged. Its requests/s are counted at the stand-in, from the first to the last; its CPU is the command's own,
without the processes of the judge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai

import wmtp
from wmtp.config import load_configuration
from wmtp.evaluation.driver import evaluate
from wmtp_openai.engine import open_engine
from wmtp_openai.settings import OpenAISettings

AT_ONCE, ANSWER_S, MODEL, PROBLEMS = 64, 0.05, "our/model", 500
LEAST_SPEED, MOST_CPU, MOST_MIB = 0.97, 1.3, 8.0


def serve(ready: Any, answer_s: float) -> None:
    """The stand-in: keeps connections open and answers in the order of time."""

    asked: list[float] = []

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().lower().split("\r\n")
                length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
                sent = await reader.readexactly(length)
                post = lines[0].startswith("post")
                if b'"seed"' in sent:  # and not the bare client's, nor the draws that are compared first
                    asked.append(time.monotonic())
                if post:
                    await asyncio.sleep(answer_s)
                answer = ANSWER if post else MODELS if "/v1/models" in lines[0] else None
                if "/asked" in lines[0]:  # since the last time: how many, and from the first to the last
                    answer = json.dumps([len(asked), asked[-1] - asked[0] if asked else 0.0]).encode()
                    asked.clear()
                elif "/count" in lines[0]:
                    answer = str(len(asked)).encode()
                status = "200 OK" if answer else "404 Not Found"
                body = (answer or b"{}").replace(b"NUMBER", b"%06d" % (time.monotonic_ns() % 10**6))
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=256)
        ready.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


TEXT = "def f(x):\n    return x  # NUMBER\n" + "# as it was asked for\n" * 8
CHOICE = {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}
USAGE = {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160}
ANSWER = json.dumps(
    {"id": "x", "object": "text_completion", "created": 0, "model": MODEL, "choices": [CHOICE], "usage": USAGE}
).encode()
MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "someone"}]}).encode()


def requests(count: int) -> Iterator[wmtp.GenerationRequest]:
    prompt = "def f(x):\n" * 40
    for i in range(count):
        key = wmtp.SampleKey(evaluator="e", problem=str(i // 4), index=i % 4)
        yield wmtp.GenerationRequest(key=key, prompt=prompt, max_new_tokens=256, stop=("\ndef ",))


def engine(url: str, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of the engine."""
    opened = open_engine(f"openai:{url}", OpenAISettings(concurrency=AT_ONCE))
    started, used = time.perf_counter(), time.process_time()
    answered = sum(c.finish_reason == "stop" for c in opened.generate(requests(count), wmtp.Sampling()))
    spent = time.perf_counter() - started, time.process_time() - used
    opened.close()
    assert answered == count
    return spent


def whole_run(url: str, count: int) -> tuple[float, float]:
    """Seconds from the first request to the last, and CPU seconds of ``wmtp eval`` in this process."""
    plugins = wmtp.create_plugin_manager()
    told(url)
    with tempfile.TemporaryDirectory() as name:
        files = run_files(Path(name), url, count)
        configuration = load_configuration(*files, plugins=plugins)
        used = time.process_time()
        result = evaluate(*configuration, plugins=plugins, runs=Path(name) / "runs")
        used = time.process_time() - used
        assert result.complete
        assert result.metrics["mbpp_pass@1"].value == 1.0
    asked, wall = told(url)
    assert asked == count
    return wall, used


def run_files(folder: Path, url: str, count: int) -> tuple[Path, Path]:
    """Problems in MBPP's form that every answer solves, config.yaml and recipe.yaml."""
    row = {
        "text": "Give back what is given. " * 16, "code": "def f(x):\n    return x\n", "test_setup_code": "",
        "test_list": ["assert f(1) == 1", "assert f('a') == 'a'"], "challenge_test_list": [],
    }  # fmt: skip
    rows = [row | {"task_id": i} for i in (2, 3, 4, *range(11, 11 + PROBLEMS))]
    files = {
        "problems.jsonl": rows,
        "config.yaml": [{"paths": {"datasets": {"mbpp_local": str(folder / "problems.jsonl")}}}],
        "recipe.yaml": [
            {
                "run": {"name": "run"},
                "model": {"base_id": f"openai:{url}", "loaders": {"openai": {"concurrency": AT_ONCE}}},
                "eval": {
                    "metrics": ["mbpp_pass@1"],
                    "evaluators": {"mbpp-v1": {"shots": 0}},
                    "sampling": {"temperature": 0.8, "n": max(1, count // PROBLEMS)},
                },
            }
        ],
    }
    for name, lines in files.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "config.yaml", folder / "recipe.yaml"


def told(url: str) -> tuple[int, float]:
    """Requests since the last time, and seconds from the first to the last."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/asked") as answer:
        count, seconds = json.loads(answer.read())
    return count, seconds


def bare(url: str, count: int) -> tuple[float, float]:
    """The same of a client that does nothing else."""
    bodies = iter(
        [{"model": MODEL, "prompt": r.prompt, "max_tokens": 256, "stop": list(r.stop)} for r in requests(count)]
    )

    async def main() -> int:
        client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=600)
        answered = 0

        async def worker() -> None:
            nonlocal answered
            for body in bodies:
                raw = await client.post("/completions", cast_to=httpx2.Response, body=body)
                answered += json.loads(raw.content)["choices"][0]["finish_reason"] == "stop"

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        await client.close()
        return answered

    started, used = time.perf_counter(), time.process_time()
    answered = asyncio.run(main())
    spent = time.perf_counter() - started, time.process_time() - used
    assert answered == count
    told(url)
    return spent


def resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def memory_of_a_run(url: str, count: int) -> float:
    """MiB more at the last request than after the first 2,000, of ``wmtp eval``. What its end adds (verdicts, tally and the
    page with every sample in it) is told, and is not what requests cost."""
    seen: list[tuple[int, float]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            with urllib.request.urlopen(f"{url.removesuffix('/v1')}/count") as answer:
                seen.append((json.loads(answer.read()), resident_mib()))

    thread = threading.Thread(target=watch)
    thread.start()
    whole_run(url, count)
    ended.set()
    thread.join()
    first = next(mib for asked, mib in seen if asked >= 2000)
    last = next(mib for asked, mib in seen if asked >= count)
    print(f"memory at the end of the run: {resident_mib() - first:+.1f} MiB")
    return last - first


def memory(url: str, count: int) -> float:
    """MiB more at the end than after the first 2,000 requests."""
    opened = open_engine(f"openai:{url}", OpenAISettings(concurrency=AT_ONCE))
    first = 0.0
    for i, _ in enumerate(opened.generate(requests(count), wmtp.Sampling())):
        if i == 2000:
            first = resident_mib()
    grown = resident_mib() - first
    opened.close()
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=20000)
    parser.add_argument("--answer", type=float, default=ANSWER_S, metavar="S", help="seconds that an answer takes")
    parser.add_argument("--through", choices=["engine", "eval"], default="engine")
    options = parser.parse_args()
    side, grows = (engine, memory) if options.through == "engine" else (whole_run, memory_of_a_run)
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    server = context.Process(target=serve, args=(ready, options.answer), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ready.get()}/v1"
    rounds = [(side(url, options.requests), bare(url, options.requests)) for _ in range(options.rounds)]
    speed = statistics.median(b[0] / e[0] for e, b in rounds)
    cpu = statistics.median(e[1] / b[1] for e, b in rounds)
    ours, theirs = (statistics.median(options.requests / r[which][0] for r in rounds) for which in (0, 1))
    print(f"{ours:.0f} requests/s, the bare client {theirs:.0f}")
    missed = 0
    for text, ok in (
        (f"speed, ratio {speed:.3f} (limit {LEAST_SPEED})", speed >= LEAST_SPEED),
        (f"CPU a request, ratio {cpu:.2f} (limit {MOST_CPU})", cpu <= MOST_CPU),
    ):
        print(text, "" if ok else "MISSED")
        missed += not ok
    if options.memory:
        grown = grows(url, options.memory)
        print(
            f"memory over {options.memory} requests: {grown:+.1f} MiB (limit {MOST_MIB})",
            "" if grown <= MOST_MIB else "MISSED",
        )
        missed += grown > MOST_MIB
    server.terminate()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
