"""What the tests that cross packages share: the command as a subprocess, small data, a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from wmtp import Plugins, Results, create_plugin_manager

sys.path.insert(0, str(Path(__file__).parent / "servers"))

from server_fixtures import hub, moto, online, proxy, rclone, rclone_folder, swift
from warm_start import WarmStart

__all__ = ["hub", "moto", "online", "proxy", "rclone", "rclone_folder", "swift"]
ROOT = Path(__file__).resolve().parent.parent
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """All that is installed."""
    return create_plugin_manager()


def _clean_environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WMTP_")}
    ours = {p.parent.name for p in ROOT.glob("packages/*/pyproject.toml")}
    installed = {point.dist.name for point in metadata.entry_points(group="wmtp") if point.dist}
    clean["WMTP_PLUGINS"] = ",".join(sorted(ours & installed))
    return {**clean, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TERM": "dumb", "COLUMNS": "120"}


@pytest.fixture
def wmtp_env(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a subprocess: one thread for torch, no network, and of plugins those of this repository: whoever runs
    the tests may have installed some of their own."""
    return _clean_environment()


@pytest.fixture(scope="session")
def warm_start() -> Iterator[WarmStart]:
    started = WarmStart(_clean_environment())
    yield started
    started.close()


@pytest.fixture
def wmtp(tmp_path: Path, wmtp_env: dict[str, str], warm_start: WarmStart) -> Command:
    """Runs ``wmtp ARGUMENTS`` in tmp_path, as a user would: ``wmtp("eval", "config.yaml", "recipe.yaml")``."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {**wmtp_env, **env}
        if warm_start.serves(environment):
            return warm_start.run(arguments, tmp_path, environment, timeout=300)
        return subprocess.run(
            [sys.executable, "-m", "wmtp", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def problem(task_id: int, name: str = "", body: str = "return x + {id}") -> dict[str, Any]:
    name = name or f"add_{task_id}"
    return {
        "task_id": task_id,
        "text": f"Write a function to add {task_id} to a number.",
        "code": f"def {name}(x):\n    {body.format(id=task_id)}\n",
        "test_list": [f"assert {name}({x}) == {x + task_id}" for x in (0, 1, 5)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }


@pytest.fixture
def write_problems(tmp_path: Path) -> Callable[..., Path]:
    """Writes problems of our own in MBPP's format: the prompt's examples 2, 3, 4, and `count` of the test split."""

    def write(count: int = 6, path: str = "problems.jsonl", extra: Sequence[Mapping[str, Any]] = ()) -> Path:
        rows = [problem(i) for i in (2, 3, 4, *range(11, 11 + count))]
        file = tmp_path / path
        file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *extra]), encoding="utf-8")
        return file

    return write


@pytest.fixture
def write_files(tmp_path: Path, write_problems: Callable[..., Path]) -> Callable[..., None]:
    """Writes config.yaml and recipe.yaml into tmp_path; what is given replaces whole sections of the defaults."""

    def write(config: Mapping[str, Any] | None = None, problems: int = 6, **recipe: Any) -> None:
        write_problems(problems)
        environment = {"paths": {"datasets": {"mbpp_local": "problems.jsonl"}}, "judging": {"level": "process"}}
        body = {
            "run": {"name": "run"},
            "model": {"base_id": "reference:"},
            "eval": {"metrics": ["mbpp_exact", "mbpp_pass@1"], "evaluators": {"mbpp-v1": {"shots": 0}}},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({**environment, **(config or {})}), encoding="utf-8")
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**body, **recipe}), encoding="utf-8")

    return write


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results]:
    """Runs config.yaml and recipe.yaml of tmp_path in this process: ``evaluate("eval.limit=3")``. Saves the imports."""

    def run(*overrides: str, **options: Any) -> Results:
        from wmtp.config import load_configuration
        from wmtp.evaluation.driver import evaluate as evaluate_run

        monkeypatch.chdir(tmp_path)
        plugins = options.pop("plugins", None) or create_plugin_manager()
        files = load_configuration("config.yaml", "recipe.yaml", plugins=plugins, overrides=overrides)
        return evaluate_run(*files, plugins=plugins, runs=tmp_path / "runs", **options)

    return run


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The object of ``runs/<name>/results.json``."""

    def read(name: str = "run") -> dict[str, Any]:
        body: dict[str, Any] = json.loads((tmp_path / "runs" / name / "results.json").read_text(encoding="utf-8"))
        return body

    return read


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in transformers format: a random Llama in float32 over bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {piece: i for i, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary |= {"<s>": 256, "</s>": 257}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("tiny-llama")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=258,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=256,
        eos_token_id=257,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def same_as_reference(shared: Path) -> Callable[[Path, str], None]:
    """Asserts that a folder in Meta's layout is the shared checkpoint: weights, ids, logits of all heads."""
    import torch
    from safetensors.torch import load_file

    from wmtp.models import load_model

    def check(folder: Path, variant: str) -> None:
        source = shared / "data/meta-mtp-tiny"
        wanted = load_file(source / variant / "reference.safetensors")
        here, direct = (load_model(path, variant=variant, device="cpu", dtype="float32") for path in (folder, source))
        assert here.identity == direct.identity
        one, other = here.model.state_dict(), direct.model.state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        with torch.inference_mode():
            logits = here.model(wanted["input_ids"], return_all_heads=True).logits
        assert (logits - wanted["logits"]).abs().max().item() <= 2e-5
        ids = here.tokenizer("def f(x):")["input_ids"]
        assert ids == direct.tokenizer("def f(x):")["input_ids"]

    return check


@pytest.fixture
def kill() -> Callable[..., None]:
    """Starts a run and kills it `linger` seconds after its samples have so many lines."""

    def run(command: list[str], cwd: Path, env: dict[str, str], file: Path, already: int, linger: float = 0) -> None:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=cwd, env=env, text=True, **pipes)
        deadline = time.monotonic() + 120
        while (file.read_bytes().count(b"\n") if file.exists() else 0) < already and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.002)
        time.sleep(linger)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    return run
