"""The hub end of the chain, against a small hub on loopback: real HTTP, the client's own cache, nothing mocked."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, Repository, files_of

MODEL = "facebook/multi-token-prediction"


@pytest.fixture
def model(hub: Hub, shared: Path) -> Repository:
    made = Repository({"a" * 40: files_of(shared / "data/meta-mtp-tiny")}, {"main": "a" * 40})
    hub.repositories[f"models/{MODEL}"] = made
    return made


def test_a_cache_of_the_hub_that_cannot_be_written_is_told(
    hub: Hub, online: dict[str, str], tmp_path: Path, wmtp: Any
) -> None:
    hub.repositories["models/our/model"] = Repository({"a" * 40: {"config.json": b"{}"}}, {"main": "a" * 40})
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    done = wmtp("fetch", "our/model", **online | {"HF_HOME": str(tmp_path / "file")})
    assert done.returncode == 2
    assert "could not be had" in done.stderr
    assert "set HF_HOME to a folder that can be written" in done.stderr.splitlines()[-1]


def test_the_default_model_comes_from_the_hub_and_answers(
    hub: Hub,
    model: Repository,
    online: dict[str, str],
    tmp_path: Path,
    wmtp: Any,
    write_files: Any,
    same_as_reference: Any,
) -> None:
    """No base_id at all: the default model and variant, three of the repository's files, and then none at all."""
    write_files(run={"name": "default"})
    recipe = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(recipe.replace("base_id: 'reference:'", "base_id: null"), encoding="utf-8")
    arguments = ("eval", "config.yaml", "recipe.yaml", "--set", "eval.evaluators={mbpp-v1: {shots: 0}}",
                 "--set", "eval.sampling.max_new_tokens=8", "--set", "eval.metrics=[mbpp_exact]")  # fmt: skip
    done = wmtp(*arguments, "--json", **online)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["provenance"]["model"]["id"] == MODEL
    assert body["provenance"]["model"]["revision"] == "a" * 40
    assert body["provenance"]["model"]["variant"] == "7B_1T_4"
    assert body["generation"]["tokens"] > 0
    assert sorted(hub.files_sent()) == ["consolidated.pth", "params.json", "tokenizer.model"]
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    same_as_reference(snapshot, "7B_1T_4")

    hub.requests.clear()
    offline = wmtp(*arguments, "--set", "run.name=offline", "--json", **online | {"HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 0, offline.stderr
    assert hub.requests == []
    assert (
        json.loads(offline.stdout)["provenance"]["model"]["weights_sha256"]
        == body["provenance"]["model"]["weights_sha256"]
    )
    again = wmtp(*arguments, "--set", "run.name=again", "--json", **online)
    assert again.returncode == 0, again.stderr
    assert hub.files_sent() == [], "a complete snapshot is not fetched again"


def test_metas_layout_is_recognised_under_any_hub_id(
    hub: Hub, shared: Path, online: dict[str, str], tmp_path: Path, wmtp: Any, write_files: Any, same_as_reference: Any
) -> None:
    """No `model.loader`: the variant's params.json tells, and no other variant's weights are fetched."""
    files = files_of(shared / "data/meta-mtp-tiny")
    hub.repositories["models/our/tiny"] = Repository({"a" * 40: files}, {"main": "a" * 40})
    write_files(model={"base_id": "our/tiny", "variant": "7B_1T_4"}, eval={"metrics": ["mbpp_exact"], "limit": 1})
    limits = ("--set", "eval.sampling.max_new_tokens=8", "--set", "eval.evaluators={mbpp-v1: {shots: 0}}")
    done = wmtp("eval", "config.yaml", "recipe.yaml", *limits, "--json", **online)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert {k: body["provenance"]["model"][k] for k in ("format", "variant")} == {
        "format": "meta-mtp",
        "variant": "7B_1T_4",
    }
    assert body["generation"]["tokens"] > 0
    assert sorted(hub.files_sent()) == ["consolidated.pth", "params.json", "tokenizer.model"]
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    same_as_reference(snapshot, "7B_1T_4")


def test_a_gated_repository_says_what_to_accept_and_where_the_token_goes(
    hub: Hub, model: Repository, online: dict[str, str], wmtp: Any
) -> None:
    model.gated = True
    done = wmtp("fetch", MODEL, **online)
    assert done.returncode != 0
    for text in (MODEL, "gated", "accept its conditions", "hf auth login", "HF_TOKEN"):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    token = "hf_a_token_that_is_secret"
    allowed = wmtp("fetch", MODEL, HF_TOKEN=token, **online)
    assert allowed.returncode == 0, allowed.stderr
    assert token not in allowed.stdout + allowed.stderr


def test_a_token_that_the_hub_does_not_take_is_told_as_that(
    hub: Hub, model: Repository, online: dict[str, str], wmtp: Any
) -> None:
    hub.bad_token = "hf_expired"
    done = wmtp("fetch", MODEL, **online | {"HF_TOKEN": "hf_expired"})
    assert done.returncode == 2
    for text in ("refused the token", "HF_TOKEN", "hf auth login"):
        assert text in done.stderr
    assert "hf_expired" not in done.stderr
    assert "no model repository" not in done.stderr


def test_a_repository_or_revision_that_is_not_there(
    hub: Hub, model: Repository, online: dict[str, str], wmtp: Any, write_files: Any
) -> None:
    missing = wmtp("fetch", "nobody/nothing", **online)
    assert missing.returncode != 0
    assert "no model repository 'nobody/nothing', or it is private" in missing.stderr
    write_files()
    wrong = wmtp("eval", "config.yaml", "recipe.yaml", "--set", f"model={{base_id: {MODEL}, revision: v9}}", **online)
    assert wrong.returncode != 0
    assert f"{MODEL} has no revision 'v9'" in wrong.stderr


def test_a_branch_that_moves_meanwhile_mixes_nothing(
    hub: Hub, model: Repository, online: dict[str, str], tmp_path: Path, wmtp: Any
) -> None:
    """The commit is resolved once; every file comes from it, whatever main points at by then."""
    other = {name: data[::-1] for name, data in model.commits["a" * 40].items()}
    model.commits["b" * 40] = other
    hub.before_file = lambda: model.refs.update(main="b" * 40)
    done = wmtp("fetch", MODEL, **online)
    assert done.returncode == 0, done.stderr
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    assert snapshot.name == "a" * 40
    for name, data in files_of(snapshot).items():
        assert data == model.commits["a" * 40][name]
    moved = wmtp("fetch", MODEL, **online)
    assert moved.returncode == 0, moved.stderr
    assert "b" * 40 in moved.stdout


def test_a_cut_connection_is_told_or_mended_and_never_a_wrong_file(
    hub: Hub, model: Repository, online: dict[str, str], tmp_path: Path, wmtp: Any
) -> None:
    hub.cut_after = 20_000
    cut = wmtp("fetch", MODEL, **online)
    if cut.returncode:
        assert "Traceback" not in cut.stderr
        assert "hub" in cut.stderr
    hub.cut_after = None
    done = wmtp("fetch", MODEL, **online)
    assert done.returncode == 0, done.stderr
    (snapshot,) = (tmp_path / "hf/hub").glob("models--*/snapshots/*")
    for name, data in files_of(snapshot).items():
        assert data == model.commits["a" * 40][name]


def test_an_unreachable_hub_is_told(hub: Hub, online: dict[str, str], wmtp: Any) -> None:
    done = wmtp("fetch", MODEL, **online | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode != 0
    assert "the hub cannot be reached" in done.stderr


def test_a_data_set_comes_from_the_hub(
    hub: Hub, online: dict[str, str], tmp_path: Path, wmtp: Any, write_files: Any
) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_files()
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    splits = {"prompt": rows[:3], "test": rows[3:], "train": rows[3:4], "validation": rows[3:4]}
    made = tmp_path / "made"
    made.mkdir()
    for split, some in splits.items():
        parquet.write_table(pa.Table.from_pylist(some), made / f"{split}-00000-of-00001.parquet")
    files = {f"full/{name}": data for name, data in files_of(made).items()} | {"README.md": b"x"}
    hub.repositories["datasets/google-research-datasets/mbpp"] = Repository({"c" * 40: files}, {"main": "c" * 40})
    (tmp_path / "config.yaml").write_text("judging: {level: process}\n", encoding="utf-8")
    done = wmtp("eval", "config.yaml", "recipe.yaml", "--json", **online)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["metrics"]["mbpp_exact"]["value"] == 1.0
    assert body["metrics"]["mbpp_exact"]["problems"] == 6
    assert body["provenance"]["data"]["mbpp"]["version"] == "c" * 40
    assert "README.md" not in hub.files_sent()


EVALPLUS_TEST = "inputs = [[1], [2]]\nfor inp in inputs:\n    assertion(twice(*inp), 0, 0)\n"
TWICE = "def twice(x):\n    return 2 * x\n"
HUB_ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "humaneval_plus": ("evalplus/humanevalplus", "data/test-00000-of-00001-5973903632b82d40.parquet", {
        "task_id": "HumanEval/900", "entry_point": "twice", "prompt": 'def twice(x):\n    """Twice."""\n',
        "canonical_solution": "    return 2 * x\n", "test": EVALPLUS_TEST,
    }),
    "mbpp_plus": ("evalplus/mbppplus", "data/test-00000-of-00001-d5781c9c51e02795.parquet", {
        "task_id": 900, "code": "def twice(x):\n    return 2 * x\n", "prompt": "Double.", "source_file": "", "test_imports": [],
        "test_list": ["assert twice(1) == 2"], "test": EVALPLUS_TEST,
    }),
    "apps": ("codeparrot/apps", "test.jsonl", {
        "problem_id": 900, "question": "Double.", "solutions": "", "difficulty": "interview", "url": "",
        "starter_code": "def twice(x):",
        "input_output": '{"fn_name": "twice", "inputs": [[1], [2]], "outputs": [[2], [4]]}',
    }),
    "livecodebench": ("livecodebench/code_generation_lite", "test6.jsonl", {
        "question_title": "Twice", "question_content": "Double.", "platform": "leetcode", "question_id": "900",
        "contest_id": "1", "contest_date": "2025-03-01T00:00:00",
        "starter_code": "class Solution:\n    def twice(self, x: int) -> int:\n        ",
        "difficulty": "easy", "public_test_cases": '[{"input": "1", "output": "2", "testtype": "functional"}]',
        "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps("[]"))).decode(),
        "metadata": '{"func_name": "twice"}',
    }),
}  # fmt: skip


@pytest.mark.parametrize("dataset", HUB_ROWS)
def test_other_benchmarks_rows_come_from_the_hub(
    hub: Hub, online: dict[str, str], tmp_path: Path, wmtp: Any, dataset: str
) -> None:
    """`wmtp fetch` brings the files that are read, in the names that they have there, and an evaluation reads them."""
    repository, name, row = HUB_ROWS[dataset]
    made = tmp_path / "made" / name
    made.parent.mkdir(parents=True)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist([row]), made)
    else:
        made.write_text(json.dumps(row) + "\n", encoding="utf-8")
    files = files_of(tmp_path / "made") | {"README.md": b"x", "other.py": b"raise SystemExit"}
    hub.repositories[f"datasets/{repository}"] = Repository({"c" * 40: files}, {"main": "c" * 40})
    (tmp_path / "config.yaml").write_text("judging: {level: process}\n", encoding="utf-8")
    fetched = wmtp("fetch", dataset, **online)
    assert fetched.returncode == 0, fetched.stderr
    assert hub.files_sent() == [Path(name).name]
    problem = {"humaneval_plus": "HumanEval/900", "mbpp_plus": "Mbpp/900"}.get(dataset, "900")
    (tmp_path / "answers.jsonl").write_text(
        json.dumps({"task_id": problem, "completion": TWICE}) + "\n", encoding="utf-8"
    )
    recipe = "run: {name: hub}\nmodel: {base_id: 'samples:answers.jsonl'}\neval: {metrics: ['%s_pass@1']}\n"
    (tmp_path / "recipe.yaml").write_text(recipe % dataset, encoding="utf-8")
    done = wmtp("eval", "config.yaml", "recipe.yaml", "--json", **online | {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["metrics"][f"{dataset}_pass@1"]["value"] == 1.0
    assert body["provenance"]["data"][dataset]["version"] == "c" * 40


def test_a_sharded_model_comes_from_the_hub_and_answers(
    hub: Hub, online: dict[str, str], tmp_path: Path, wmtp: Any, write_files: Any
) -> None:
    """The demo's model in shards: an index and all of its parts."""
    from wmtp.models.mtp_llama import MtpLlamaForCausalLM

    source = Path(__file__).parents[1] / "examples/demo-model"
    folder = tmp_path / "sharded"
    MtpLlamaForCausalLM.from_pretrained(source).save_pretrained(folder, max_shard_size="1MB")
    for path in source.glob("tokenizer*"):
        shutil.copy(path, folder)
    assert len(list(folder.glob("*.safetensors"))) > 3
    hub.repositories["models/our/sharded"] = Repository({"d" * 40: files_of(folder)}, {"main": "d" * 40})
    write_files(problems=2)
    arguments = ("--set", "eval.evaluators={mbpp-v1: {shots: 0}}", "--set", "eval.sampling.max_new_tokens=40", "--json")
    done = wmtp("eval", "config.yaml", "recipe.yaml", "--set", "model.base_id=our/sharded", *arguments, **online)
    assert done.returncode == 0, done.stderr
    whole = wmtp("eval", "config.yaml", "recipe.yaml", "--set", f"model.base_id={source}", "--set", "run.name=whole",
                 *arguments, **online)  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    name = Path("samples/mbpp-v1.jsonl")
    texts = [
        [json.loads(line)["completion"] for line in (tmp_path / "runs" / run / name).read_text("utf-8").splitlines()]
        for run in ("run", "whole")
    ]
    assert texts[0] == texts[1]
    assert any(texts[0])
