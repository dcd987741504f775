"""``wmtp heads``: what is found, what is measured, and clear words where nothing can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from safetensors.torch import load_file, save_file

from wmtp.cli import main
from wmtp.testing.mtp_models import write_mtp_model

Run = Callable[..., Any]
ROWS = [{"prompt": f"def f{i}(x):\n", "text": f"    return x + {i}\n"} for i in range(6)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@attrs.frozen
class Done:
    exit_code: int
    stdout: str
    output: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Done:
        capsys.readouterr()
        status = main(["heads", *map(str, arguments)])
        out, err = capsys.readouterr()
        return Done(status, out, out + err)

    return call


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def folder(tmp_path: Path, byte_tokenizer: Any) -> Path:
    made = write_mtp_model(tmp_path / "model", "mimo").folder
    byte_tokenizer.save_pretrained(made)
    return made


def test_modules_are_measured_at_every_depth(run: Run, folder: Path, texts: Path) -> None:
    done = run(folder, "--text", texts, "--depth", 3, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["modules"], found["family"], found["used"], found["check"]) == (1, "mimo", True, None)
    assert [row["depth"] for row in found["depths"]] == [1, 2, 3]
    for row in found["depths"]:
        assert set(row["acceptance"]) == {"argmax", "ratio", "gumbel"}
        assert 0 <= row["acceptance"]["gumbel"] <= row["acceptance"]["ratio"] <= 1
        low, high = row["intervals"]["acceptance"]["gumbel"]
        assert low <= row["acceptance"]["gumbel"] <= high
    assert [row["k"] for row in found["expected_length"]] == [1, 2, 3]
    assert all(1 <= row["gumbel"] <= row["k"] + 1 for row in found["expected_length"])


def test_own_answers_are_measured_and_people_can_read_it(run: Run, folder: Path, texts: Path) -> None:
    done = run(folder, "--text", texts, "--sampled", 0.8, "--max-new-tokens", 12, "--check")
    assert done.exit_code == 0, done.output
    assert "the model's own answers at temperature 0.8: 6 texts" in done.stdout
    assert "convention: not trained" in done.stdout


def test_a_model_without_heads_says_so(run: Run, tmp_path: Path, folder: Path, texts: Path) -> None:
    file = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "mtp" not in k}, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    del config["num_nextn_predict_layers"]
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen2"}))
    done = run(folder, "--text", texts)
    assert done.exit_code == 1
    assert "has no heads: nothing in it predicts further tokens" in done.stdout
    found = json.loads(run(folder, "--text", texts, "--json").stdout)
    assert (found["modules"], found["used"], found["depths"]) == (0, False, [])


def test_heads_in_config_json_alone_are_told(run: Run, folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "mtp" not in k}, file, metadata={"format": "pt"})
    done = run(folder)
    assert done.exit_code == 1
    assert "declares 1 multi-token-prediction module, but no tensors of such are stored" in done.stdout


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (['{"prompt": "a"}'], "line 1: no text"),
        (['{"text": "abcdef"}', '{"text": 3}', '{"text": ""}'], "line 3: no text"),
        (['{"text": "abcdef", "prompt": ["a"]}'], "line 1: prompt is no text"),
        (["[1]"], "expected"),
        (["{"], "line 1"),
        ([], "has no rows"),
    ],
)
def test_rows_that_are_none_are_told(run: Run, tmp_path: Path, folder: Path, rows: list[str], words: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(rows))
    done = run(folder, "--text", path)
    assert done.exit_code == 2
    assert words in done.output


@pytest.mark.parametrize("options", [("--check",), ("--depth", 2), ("--sampled", 0)])
def test_options_without_texts_are_told(run: Run, folder: Path, options: tuple[Any, ...]) -> None:
    done = run(folder, *options)
    assert done.exit_code == 2
    assert "give --benchmark NAME or --text FILE.jsonl" in done.output
