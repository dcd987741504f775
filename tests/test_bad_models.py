"""Models that cannot be what they say, through the whole of a run: told before a sample is drawn, and none that was is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wmtp import ConfigError, GenerationError, ResourceError, WmtpError

EXAMPLES = Path(__file__).parents[1] / "examples"


class _Runs:
    """An object that runs a command when it is unpickled as pickle would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def truncated(folder: Path) -> None:
    file = folder / "7B_1T_4/consolidated.pth"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def not_weights(folder: Path) -> None:
    torch.save({"layers.0.attention.wq.weight": _Runs()}, folder / "7B_1T_4/consolidated.pth")


def weights_in_a_list(folder: Path) -> None:
    torch.save([torch.zeros(3)], folder / "7B_1T_4/consolidated.pth")


def contradicting_params(folder: Path) -> None:
    file = folder / "7B_1T_4/params.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"n_layers": 7}), encoding="utf-8")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()


def no_params(folder: Path) -> None:
    (folder / "7B_1T_4/params.json").unlink()


def smaller_vocabulary(folder: Path) -> None:
    file = folder / "7B_1T_4/consolidated.pth"
    tensors = torch.load(file, weights_only=True)
    for name in ("tok_embeddings.weight", "output.weight"):
        tensors[name] = tensors[name][:500].clone()
    torch.save(tensors, file)
    params = folder / "7B_1T_4/params.json"
    params.write_text(json.dumps(json.loads(params.read_text(encoding="utf-8")) | {"vocab_size": -1}), encoding="utf-8")


DAMAGES: dict[Callable[[Path], None], tuple[type[WmtpError], str]] = {
    truncated: (ResourceError, r"7B_1T_4/consolidated\.pth is cut off or damaged; fetch it again"),
    not_weights: (
        ResourceError,
        r"consolidated\.pth holds Python objects, not only tensors: refused",
    ),
    weights_in_a_list: (ResourceError, "holds something other than named tensors; it is not loaded"),
    contradicting_params: (ResourceError, r"does not fit its params\.json\. missing: layers\.3\."),
    no_tokenizer: (ResourceError, r"no tokenizer\.model in "),
    no_params: (ConfigError, r"must hold config\.json \(transformers\) or 7B_1T_4/params\.json"),
    smaller_vocabulary: (ResourceError, r"tokenizer\.model has 512 pieces, but the model's vocabulary is 500"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_damaged_checkpoint_ends_the_run_before_it_begins(
    damage: Callable[[Path], None],
    shared: Path,
    tmp_path: Path,
    evaluate: Callable[..., Any],
    write_files: Callable[..., None],
) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(shared / "data/meta-mtp-tiny", folder, ignore=shutil.ignore_patterns("7B_1T_1", "7B_200B_4"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    damage(folder)
    write_files(model={"base_id": str(folder), "variant": "7B_1T_4"})
    kind, says = DAMAGES[damage]
    with pytest.raises(kind, match=says):
        evaluate()
    assert not [p for p in (tmp_path / "runs").rglob("samples/*.jsonl") if p.stat().st_size]
    assert not (tmp_path / "executed").exists(), "unpickling ran a command"


def test_more_heads_than_there_are_keep_what_was_written(
    tmp_path: Path, evaluate: Callable[..., Any], write_files: Callable[..., None]
) -> None:
    sampling = {"temperature": 0.0, "n": 1, "max_new_tokens": 8}
    write_files(
        problems=3,
        model={"base_id": str(EXAMPLES / "demo-model")},
        eval={"metrics": ["mbpp_exact"], "sampling": sampling, "evaluators": {"mbpp-v1": {"shots": 0}}, "limit": 2},
    )
    evaluate()
    file = tmp_path / "runs/run/samples/mbpp-v1.jsonl"
    before = file.read_bytes()
    with pytest.raises(GenerationError, match=r"model\.mtp\.n_heads is 9, but the model has 4"):
        evaluate("model.mtp.n_heads=9", "eval.limit=3")
    assert file.read_bytes() == before
    evaluate("eval.limit=3")
    assert file.read_bytes().startswith(before)


def test_prompts_longer_than_the_context_are_told_each_and_the_others_kept(
    tmp_path: Path, wmtp: Any, write_files: Callable[..., None]
) -> None:
    """Some of them, and then all of them: with no forward at all there is no speed to show."""
    sampling = {"temperature": 0.0, "n": 1, "max_new_tokens": 8}
    write_files(
        problems=3,
        model={"base_id": str(EXAMPLES / "demo-model")},
        eval={"metrics": ["mbpp_exact"], "sampling": sampling, "evaluators": {"mbpp-v1": {"shots": 0}}},
    )
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["task_id"] in (11, 12):
            row["text"] = "x" * 1500
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for limit, kept in ((3, 1), (2, 0)):
        done = wmtp("eval", "config.yaml", "recipe.yaml", "--set", f"eval.limit={limit}", "--set", f"run.name=r{limit}")
        assert done.returncode == 1, done.stderr
        for text in ("problem 11, sample 0: the prompt has", "and the model's context only 1024", "is not complete"):
            assert text in done.stderr
        assert "fault of ours" not in done.stderr
        file = tmp_path / f"runs/r{limit}/samples/mbpp-v1.jsonl"
        assert (file.read_bytes().count(b"\n") if file.exists() else 0) == kept
    again = ("eval", "config.yaml", "recipe.yaml", "--set", "run.name=r3", "--set", "eval.too_long=fail", "--json")
    done = wmtp(*again)  # goes on in the folder
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["generation"]["too_long"] == {"fail": 2}
    assert found["verdicts"]["mbpp-v1"]["no-code"] >= 2
    assert "counted as failed" in found["notes"]["mbpp-v1"][0]
    assert "| prompt too long: counted as failed | 2 |" in (tmp_path / "runs/r3/report.md").read_text(encoding="utf-8")
    bad = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "eval.too_long=skip")
    assert bad.returncode == 2
    assert "eval.too_long" in bad.stderr
    assert "fewer-shots" in bad.stderr
