"""Real servers: llama.cpp's with Gemma 3 270M, and ``transformers serve`` with a tiny model."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import LlamaServer
from transformers_serve import transformers_server

import wmtp
from wmtp_openai.engine import open_engine
from wmtp_openai.settings import OpenAISettings

SAMPLES = Path("runs/run/samples/mbpp-v1.jsonl")


@pytest.fixture(scope="module")
def served(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_server(tiny_llama, tmp_path_factory.mktemp("serve") / "log.txt") as url:
        yield f"{url}#{tiny_llama}"


class Campaign:
    """One recipe in a folder, whose command is killed and started again."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder, self._env = folder, env
        self._command = [sys.executable, "-m", "wmtp", "eval", "config.yaml", "recipe.yaml"]

    def stored(self) -> list[tuple[str, int]]:
        """The samples on disk; a line that is being written is none yet."""
        file = self._folder / SAMPLES
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        rows = [json.loads(line) for line in lines]
        return [(row["problem"], row["index"]) for row in rows]

    def start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "stderr.txt").open("ab") as log:
            return subprocess.Popen(self._command, cwd=self._folder, env=self._env, stdout=log, stderr=log)

    def until(self, process: subprocess.Popen[bytes], count: int) -> bool:
        """Waits for `count` samples; false where the command ended before."""
        while process.poll() is None:
            if len(self.stored()) >= count:
                return True
            time.sleep(0.05)
        return False

    def run(self, wanted: int, kills: int, restarts: int, server: LlamaServer) -> None:
        """To the end, with this many SIGKILLs of the command and of the server, spread over the run."""
        events = sorted([*(wanted * (i + 1) // (kills + 2) for i in range(kills))], reverse=True)
        deaths = [wanted * (2 * i + 1) // (2 * restarts + 1) for i in range(restarts)][::-1]
        process = self.start()
        while events or deaths:
            due = min(events[-1:] + deaths[-1:])
            assert self.until(process, due), (self._folder / "stderr.txt").read_text()[-3000:]
            if deaths and due == deaths[-1]:
                deaths.pop()
                server.kill()
                time.sleep(0.5)
                server.start()
            else:
                events.pop()
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = self.start()
        assert process.wait() == 0, (self._folder / "stderr.txt").read_text()[-3000:]


def verdicts(folder: Path) -> dict[tuple[str, int], str]:
    rows = [json.loads(line) for line in (folder / "verdicts/mbpp-v1.jsonl").read_text().splitlines()]
    return {(row["problem"], row["index"]): row["status"] for row in rows}


def check(campaign: Campaign, wanted: int, server: LlamaServer, command: Callable[..., Any], tmp_path: Path) -> None:
    """All samples, once each and whole; the verdicts of `wmtp score`; nothing asked by a second run."""
    stored = campaign.stored()
    assert len(stored) == len(set(stored)) == wanted
    rows = [json.loads(line) for line in (tmp_path / SAMPLES).read_text().splitlines()]
    assert all(row["finish_reason"] in ("stop", "length") and row["tokens"] for row in rows)
    assert not [row for row in rows if not row["completion"] and row["finish_reason"] == "length"], "an empty stand-in"
    server.kill()
    again = command("eval", "config.yaml", "recipe.yaml")
    assert again.returncode == 0, again.stderr
    assert campaign.stored() == stored
    scored = command(
        "score", str(SAMPLES), "--benchmark", "mbpp-v1", "--config", "config.yaml", "--set", "eval.limit=100",
        "--runs", "scored",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    (folder,) = (tmp_path / "scored").iterdir()
    assert verdicts(folder) == verdicts(tmp_path / "runs/run")
    assert len(verdicts(folder)) == wanted


def recipe(server: LlamaServer, limit: int, n: int, tokens: int) -> dict[str, Any]:
    return {
        "model": {"base_id": f"openai:{server.url}", "loaders": {"openai": {"concurrency": 4, "patience_s": 300}}},
        "eval": {
            "metrics": ["mbpp_pass@1"],
            "limit": limit,
            "sampling": {"temperature": 0.8, "n": n, "max_new_tokens": tokens},
            "evaluators": {"mbpp-v1": {"shots": 0}},
        },
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_llama_cpp_server_and_client_killed(
    llama: LlamaServer,
    wmtp: Callable[..., Any],
    wmtp_env: dict[str, str],
    write_files: Callable[..., None],
    tmp_path: Path,
) -> None:
    write_files(problems=5, **recipe(llama, 5, 3, 6))
    campaign = Campaign(tmp_path, wmtp_env)
    try:
        campaign.run(15, kills=1, restarts=1, server=llama)
        check(campaign, 15, llama, wmtp, tmp_path)
    finally:
        llama.kill()
        llama.start()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_mbpp_on_llama_cpp_killed_five_times_and_restarted_twice(
    llama: LlamaServer, wmtp: Callable[..., Any], wmtp_env: dict[str, str], write_files: Callable[..., None], tmp_path: Path,
    shared: Path,
) -> None:  # fmt: skip
    write_files(**recipe(llama, 100, 5, 12))
    shutil.copy(shared / "data/mbpp/mbpp.jsonl", tmp_path / "problems.jsonl")
    campaign = Campaign(tmp_path, wmtp_env)
    try:
        campaign.run(500, kills=5, restarts=2, server=llama)
        check(campaign, 500, llama, wmtp, tmp_path)
    finally:
        llama.kill()
        llama.start()


def requests(count: int = 6, **fields: Any) -> list[Any]:
    return [
        wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem=str(i), index=0),
            **({"prompt": f"def add_{i}(x):\n", "max_new_tokens": 16} | fields),
        )
        for i in range(count)
    ]


def local_engine(folder: Path) -> Any:
    """Our own engine on the same folder."""
    plugins = wmtp.create_plugin_manager()
    config = wmtp.load_config({"devices": {"device": "cpu", "dtype": "float32"}}, plugins=plugins)
    recipe = wmtp.load_recipe({"model": {"base_id": str(folder)}}, plugins=plugins)
    return wmtp.create_model_loader(config, recipe, plugins=plugins).load()


@pytest.mark.timeout(600)
def test_transformers_serve_writes_what_our_own_engine_writes(served: str, tiny_llama: Path) -> None:
    """Greedy, float32, prompts as text: the server tokenizes as the engine does, so the texts are equal."""
    engine = open_engine(f"openai:{served}", OpenAISettings(timeout_s=120))
    wanted = {c.key: (c.text, c.finish_reason) for c in local_engine(tiny_llama).generate(requests(), wmtp.Sampling())}
    found = {c.key: (c.text, c.finish_reason) for c in engine.generate(requests(), wmtp.Sampling())}
    engine.close()
    assert found == wanted


@pytest.mark.timeout(600)
def test_transformers_serve_takes_no_token_ids_and_the_samples_are_missing(served: str, tiny_llama: Path) -> None:
    engine = open_engine(f"openai:{served}", OpenAISettings(timeout_s=120, tokenizer=str(tiny_llama)))
    (found,) = engine.generate(requests(1), wmtp.Sampling())
    engine.close()
    assert found.finish_reason == "error"
    assert "(400)" in found.error


@pytest.mark.timeout(600)
def test_sampling_on_transformers_serve_is_refused_where_it_would_be_greedy(served: str) -> None:
    engine = open_engine(f"openai:{served}", OpenAISettings(timeout_s=120))
    with pytest.raises(wmtp.GenerationError, match="does not draw"):
        list(engine.generate(requests(1), wmtp.Sampling(temperature=0.8)))
    engine.close()


@pytest.mark.timeout(600)
def test_what_transformers_serve_says_of_itself(served: str) -> None:
    engine = open_engine(f"openai:{served}", OpenAISettings(timeout_s=120))
    engine.close()
    assert engine.identity["server"] == "transformers"
    with pytest.raises(wmtp.ConfigError, match="name the model behind a '#'"):
        open_engine(f"openai:{served.partition('#')[0]}", OpenAISettings(timeout_s=120))


def test_token_prompts_on_llama_cpp_are_the_ids_that_were_sent(llama: LlamaServer) -> None:
    """The server's own ids of a text, sent as ids, bring the text's greedy answer."""
    body = json.dumps({"content": "def add(x):\n", "add_special": True}).encode()
    root = llama.url.removesuffix("/v1")
    asked = urllib.request.Request(f"{root}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        ids = json.loads(answer.read())["tokens"]

    def greedy(prompt: Any) -> str:
        body = {"prompt": prompt, "max_tokens": 6, "temperature": 0, "cache_prompt": False}
        asked = urllib.request.Request(
            f"{llama.url}/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return str(json.loads(answer.read())["choices"][0]["text"])

    assert greedy(ids) == greedy("def add(x):\n")
