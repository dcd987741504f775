"""`wmtp audit --against` beside real servers: a checkpoint and a server, two servers, with scores and without."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import LlamaServer, llama_server
from s3_servers import ROOT
from transformers_serve import transformers_server

PROBLEMS = 12
Audits = Callable[..., tuple[int, dict[str, Any]]]
TO_FOLDER = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
file, out = Path(sys.argv[1]), sys.argv[2]
model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
model.hf_quantizer, model.is_quantized = None, False
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(out)
"""


@pytest.fixture
def audits(wmtp: Callable[..., Any], write_files: Callable[..., None]) -> Audits:
    def run(base: str, against: str, tokens: int = 16, problems: int = PROBLEMS) -> tuple[int, dict[str, Any]]:
        write_files(
            problems=problems,
            config={"devices": {"device": "cpu", "dtype": "float32", "threads": 1}},
            model={"base_id": base, "loaders": {"openai": {"concurrency": 4, "timeout_s": 300}}},
            eval={
                "metrics": ["mbpp_pass@1"], "evaluators": {"mbpp-v1": {"shots": 0}}, "sampling": {"max_new_tokens": tokens},
            },
        )  # fmt: skip
        done = wmtp("audit", "config.yaml", "recipe.yaml", "--against", against, "--json", "--fresh")
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def gemma(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's model as a checkpoint: its weights, no longer quantised."""
    pytest.importorskip("gguf", reason="reads what llama.cpp's server has")
    out = tmp_path_factory.mktemp("gemma")
    subprocess.run([sys.executable, "-c", TO_FOLDER, llama.model, out], check=True)
    return out


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    with llama_server(ROOT / ".venv-servers/bin/python", tmp_path_factory.mktemp("second")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_servers_of_llama_cpp_differ_by_near_ties_alone(
    llama: LlamaServer, second: LlamaServer, audits: Audits
) -> None:
    """Requests are computed beside others, which moves scores: what differs is within that, by the scores of both."""
    status, found = audits(f"openai:{llama.url}", f"openai:{second.url}", 48)
    assert (status, found["faults"], found["unexplained"], found["samples"]) == (0, 0, 0, PROBLEMS)
    assert not found["notes"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_checkpoint_against_the_server_of_its_quantised_weights(
    llama: LlamaServer, gemma: Path, audits: Audits
) -> None:
    """Where they part is known of both sides, whichever way it is decided: llama.cpp rounds activations to eight bits.

    How many texts are equal is chance: of six, one run had none and the next two, since the server's scores move with what it
    served before. That they are one model is seen in the margins.
    """
    _, found = audits(str(gemma), f"openai:{llama.url}", 12, 6)
    assert found["unexplained"] == 0
    assert found["samples"] == 6
    for difference in found["differences"]:
        assert (difference["a"]["asked"], difference["b"]["asked"]) == ("b", "a")
        # Asked once more, the server may write the checkpoint's text, its own of before, or a third.
        assert max(difference[side]["margin"] for side in "ab") < 1.5, "no more than eight bits explain"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_checkpoint_against_transformers_serve(tiny_llama: Path, audits: Audits, tmp_path: Path) -> None:
    with transformers_server(tiny_llama, tmp_path / "log.txt") as url:
        status, found = audits(str(tiny_llama), f"openai:{url}#{tiny_llama}")
    assert (status, found["equal"], found["passed"]) == (0, PROBLEMS, True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_server_without_scores_in_another_format_is_not_called_wrong(
    tiny_llama: Path, audits: Audits, tmp_path: Path
) -> None:
    """It computes in bfloat16 and says so nowhere: what that explains is neither a near tie here nor a fault."""
    with (
        transformers_server(tiny_llama, tmp_path / "log.txt", "bfloat16") as coarse,
        transformers_server(tiny_llama, tmp_path / "log2.txt") as fine,
    ):
        status, found = audits(str(tiny_llama), f"openai:{coarse}#{tiny_llama}", 64)
        assert (status, found["faults"]) == (1, 0), "a random model of 64 tokens is full of near ties"
        assert {d["near_tie"] for d in found["differences"]} <= {None, True}
        assert any("bfloat16" in note for note in found["notes"])
        status, found = audits(f"openai:{fine}#{tiny_llama}", f"openai:{coarse}#{tiny_llama}", 64)
    assert (status, found["faults"], found["unexplained"]) == (1, 0, PROBLEMS - found["equal"])
    assert any("no margin is known of a and b" in note for note in found["notes"])
