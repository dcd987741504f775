"""`wmtp run`: every stage once, in order, whatever ends the command between two of them; what it leaves and tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tiny_training import ROWS, byte_tokenizer, plain_llama, tiny_mtp

import wmtp
from wmtp_train import export, judging, stages
from wmtp_train.folder import TrainingFolder
from wmtp_train.journal import read_journal


class Files:
    """config.yaml and recipe.yaml of a user's folder, and the command run there in this process."""

    def __init__(self, folder: Path, model: Path, plugins: wmtp.Plugins) -> None:
        self.folder, self.plugins = folder, plugins
        problems = [
            {
                "task_id": i,
                "text": f"Write a function to add {i}.",
                "code": f"def add_{i}(x):\n    return x + {i}\n",
                "test_list": [f"assert add_{i}({x}) == {x + i}" for x in (0, 1, 5)],
                "test_setup_code": "",
                "challenge_test_list": [],
            }
            for i in (11, 12)
        ]
        self._lines("problems.jsonl", problems)
        self._lines("rows.jsonl", ROWS)
        self.config: dict[str, Any] = {
            "devices": {"device": "cpu", "threads": 1},
            "judging": {"level": "process"},
            "paths": {"datasets": {"mbpp_local": "./problems.jsonl"}},
        }
        self.recipe: dict[str, Any] = {
            "run": {"name": "r"},
            "model": {"base_id": str(model)},
            "data": {"train": {"sources": [{"dataset": "jsonl", "path": "./rows.jsonl"}], "max_length": 64}},
            "train": {"max_steps": 2, "batch_size": 4, "micro_batch_size": 4},
            "optim": {"lr": 1e-2, "warmup_ratio": 0.0},
            "checkpoint": {"every": 2},
            "eval": {
                "metrics": ["mbpp_pass@1"],
                "sampling": {"n": 1, "max_new_tokens": 4},
                "evaluators": {"mbpp-v1": {"shots": 0}},
            },
        }

    def _lines(self, name: str, rows: list[Any]) -> None:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    @property
    def run(self) -> Path:
        return self.folder / "runs" / self.recipe["run"]["name"]

    def invoke(self, command: str, *arguments: str) -> Result:
        """What an exception of ours would be on the command line is raised."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(self.recipe), encoding="utf-8")
        module, attribute = {
            "run": ("cli_run", "command"),
            "train": ("cli", "train_command"),
            "checkpoints": ("cli_checkpoints", "command"),
        }[command]
        if command != "checkpoints":
            arguments = (str(self.folder / "config.yaml"), str(self.folder / "recipe.yaml"), *arguments)
            arguments = (*arguments, "--runs", str(self.folder / "runs"))
        found = getattr(import_module(f"wmtp_train.{module}"), attribute)
        session = wmtp.Session()
        session.__dict__["plugins"] = self.plugins
        return CliRunner().invoke(found, list(arguments), obj=session, catch_exceptions=False)


@pytest.fixture
def files(tmp_path: Path, model_folder: Path, plugins: wmtp.Plugins) -> Files:
    return Files(tmp_path, model_folder, plugins)


class Stopped(BaseException):
    """As a kill between two stages would end the command."""


class Counted:
    """Counts calls of stages."""

    def __init__(self, patch: pytest.MonkeyPatch, log: list[str]) -> None:
        self._patch, self._log, self.stopping = patch, log, True

    def watch(self, owner: Any, attribute: str, name: str, *, ends: bool = True) -> None:
        """ends: each call is followed by a `Stopped`."""
        real: Callable[..., Any] = getattr(owner, attribute)

        def counted(*args: Any, **kwargs: Any) -> Any:
            found = real(*args, **kwargs)
            self._log.append(name)
            if ends and self.stopping:
                raise Stopped
            return found

        self._patch.setattr(owner, attribute, counted)


def test_ended_behind_every_stage_the_same_command_goes_on_and_does_none_twice(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.recipe["train"] |= {"algo": "rho1-wmtp"}
    files.recipe["reference"] = {
        "data": files.recipe["data"],
        "train": {"max_steps": 1, "batch_size": 4},
        "optim": {"lr": 1e-2, "warmup_ratio": 0.0},
    }
    files.config["tracking"] = {"tensorboard": {"folder": str(files.folder / "board")}}
    log: list[str] = []
    counted = Counted(monkeypatch, log)
    monkeypatch.setattr("wmtp.tracking.beside.Beside.start", lambda self: None)  # the journal is what counts here
    counted.watch(export, "_write", "export")
    counted.watch(wmtp, "evaluate", "evaluate")
    counted.watch(judging, "write_report", "report", ends=False)
    for _ in range(10):
        try:
            done = files.invoke("run")
            break
        except Stopped:
            continue
    assert log == ["export", "evaluate", "export", "evaluate", "report"], (
        "reference, before, checkpoint, its score, page"
    )
    counted.stopping = False
    assert files.invoke("run").output.count("evaluated before") == 2
    assert log == ["export", "evaluate", "export", "evaluate", "report", "report"]
    steps = [step for step, _, _ in read_journal(TrainingFolder(files.run).journal)]
    assert steps == [1, 2]
    assert [step for step, _, _ in read_journal(TrainingFolder(files.run / "reference").journal)] == [1]
    assert "report: " in done.output
    told = [json.loads(line) for line in (files.run / "tracking/journal.jsonl").read_text().splitlines()]
    numbers = [(key, line["step"]) for line in told if line["what"] == "numbers" for key in line["values"]]
    for once in (("eval/mbpp_pass@1", 0), ("eval/mbpp_pass@1", 2), ("eval/mbpp_pass@1_low", 2), ("train/loss", 1),
                 ("train/loss", 2), ("reference/train/loss", 1)):  # fmt: skip
        assert numbers.count(once) == 1, once


def test_the_stage_reference_alone_makes_what_a_training_then_looks_at(files: Files) -> None:
    files.recipe["train"] |= {"algo": "rho1-wmtp", "max_steps": 1}
    files.recipe["reference"] = {name: files.recipe[name] for name in ("data", "optim")} | {"train": {"max_steps": 1}}
    assert "/reference/train/export/step-00000001" in files.invoke("train", "--stage", "reference").output
    assert "all steps are done" in files.invoke("train").output


def test_what_it_leaves_behind_names_the_checkpoint_and_compares_it_with_the_model_before(files: Files) -> None:
    said = files.invoke("run").output
    assert "step 0: mbpp_pass@1" in said
    assert "step 2: mbpp_pass@1" in said
    export_of = TrainingFolder(files.run).export(2)
    record = wmtp.open_run(files.run).record
    assert record is not None
    (digest,) = set(_found(json.loads((files.run / "results.json").read_text()), "weights_sha256"))
    plugins = files.plugins
    recipe = wmtp.load_recipe({"model": {"base_id": str(export_of)}}, plugins=plugins)
    loaded = wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load_model()
    assert loaded.identity["weights_sha256"] == digest
    compared = json.loads((files.run / "train/comparison.json").read_text())
    assert "mbpp_pass@1" in json.dumps(compared)
    page = (files.run / "training.html").read_text()
    for wanted in ("<polyline", "head 3", "mbpp_pass@1", "[0.0, "):
        assert wanted in page
    assert "<script" not in page


def _found(value: Any, key: str) -> list[Any]:
    if isinstance(value, dict):
        return [one for k, v in value.items() for one in ([v] if k == key else _found(v, key))]
    return [one for v in value for one in _found(v, key)] if isinstance(value, list) else []


def test_what_is_wrong_is_said_before_anything_is_trained_or_judged(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wmtp, "evaluate", lambda *a, **k: pytest.fail("it was judged"))
    files.recipe["optim"] |= {"warmup_steps": 5}
    with pytest.raises(wmtp.ConfigError, match="the warm-up takes 5 steps and the training 2"):
        files.invoke("run")
    files.recipe["optim"].pop("warmup_steps")
    files.recipe["train"] |= {"algo": "rho1-wmtp", "reference": str(files.folder)}
    files.recipe["reference"] = {"data": files.recipe["data"]}
    with pytest.raises(wmtp.ConfigError, match="both say where the reference comes from"):
        files.invoke("run")
    files.recipe["eval"].pop("metrics")
    with pytest.raises(wmtp.ConfigError, match=r"recipe\.eval\.metrics is empty"):
        files.invoke("run")


def test_a_failing_judge_is_found_before_training(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise wmtp.JudgeError("no sandbox here")

    monkeypatch.setattr(wmtp, "evaluate", broken)
    with pytest.raises(wmtp.JudgeError):
        files.invoke("run")
    assert not TrainingFolder(files.run).whole()


def test_a_model_of_one_head_runs_whole_and_its_checkpoints_are_listed_verified_and_exported(
    files: Files, tmp_path: Path
) -> None:
    plain_llama().save_pretrained(tmp_path / "plain")
    byte_tokenizer().save_pretrained(tmp_path / "plain")
    files.recipe["model"] = {"base_id": "./plain"}
    assert "step 2: mbpp_pass@1" in files.invoke("run").output
    listed = json.loads(files.invoke("checkpoints", "list", str(files.run), "--json").output)
    assert [row["step"] for row in listed["checkpoints"]] == [2]
    assert "1 checkpoints are whole" in files.invoke("checkpoints", "verify", str(files.run)).output
    there = files.invoke("checkpoints", "export", str(files.run)).output.strip()
    assert Path(there) == TrainingFolder(files.run).export(2)
    copied = files.invoke("checkpoints", "export", str(files.run), "--step", "2", "--to", str(tmp_path / "copy"))
    assert Path(copied.output.strip()) == tmp_path / "copy"
    assert json.loads((tmp_path / "copy/config.json").read_text())["model_type"] == "llama"
    with pytest.raises(wmtp.ConfigError, match="no checkpoint of step 7; it has 2"):
        files.invoke("checkpoints", "export", str(files.run), "--step", "7")
    data = next(TrainingFolder(files.run).at(2).glob("*.distcp"))
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "damaged" in files.invoke("checkpoints", "verify", str(files.run)).output
    (TrainingFolder(files.run).at(2) / "state.json").write_text("{")
    assert "state.json: damaged" in files.invoke("checkpoints", "verify", str(files.run)).output


def test_two_at_once_are_refused(files: Files) -> None:
    with (
        stages.Stages(_request(files), lambda _: None, print)._held(),
        pytest.raises(wmtp.ConfigError, match="another"),
    ):
        files.invoke("run")


def _request(files: Files) -> Any:
    from wmtp_train.plan import TrainingRequest

    return TrainingRequest(
        config=wmtp.load_config({}, plugins=files.plugins),
        recipe=wmtp.load_recipe({"run": {"name": "r"}, "eval": {"metrics": ["mbpp_pass@1"]}}, plugins=files.plugins),
        plugins=files.plugins,
        runs=files.folder / "runs",
    )


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("train", {"algo": "rho2-wmtp"}, "rho1-wmtp"),
        ("optim", {"lr": 0.0}, "recipe.optim.lr"),
        ("optim", {"lr": -1.0}, "recipe.optim.lr"),
        ("optim", {"warmup_steps": 2}, "the warm-up takes 2 steps and the training 2"),
        ("train", {"max_step": 3}, "did you mean 'max_steps'"),
        ("train", {"batch_size": "two"}, "must be a whole number"),
        ("train", {"heads": {"count": 9}}, "the model has 4"),
        ("train", {"algo": "critic-wmtp"}, "train.critic"),
        ("train", {"scorer": "given-v1"}, "no example has any"),
        ("train", {"control": "shuffled"}, "has no scorer"),
        ("train", {"reference": "./none", "algo": "rho1-wmtp"}, "none: it does not exist"),
        ("data", {"train": {"sources": [{"dataset": "jsonl", "path": "./none.jsonl"}]}}, "none.jsonl does not exist"),
        ("data", {"train": {"sources": [{"dataset": "jsonl", "path": "./bad.jsonl"}]}}, "bad.jsonl, line 2"),
        (
            "data",
            {"train": {"sources": [{"dataset": "jsonl", "path": "./rows.jsonl"}], "max_length": 8}},
            "no token of",
        ),
        ("checkpoint", {"keep_best": 1}, "no section data.eval"),
        ("train", {"eval_every": 1}, "no section data.eval"),
        ("train", {"max_steps": 10**20}, "must be <="),
        ("train", {"batch_size": 10**12}, "must be <="),
        ("train", {"lora": {"target_modules": ["nope"]}}, "'nope'} not found"),
        ("train", {"lora": {"target_modules": []}}, "must be >= 1"),
        ("train", {"heads": {"count": 1, "freeze_trunk": True}}, "leaves nothing to train"),
        (
            "train",
            {"heads": {"schedule": "forward", "schedule_steps": 9}},
            "curriculum takes 9 steps and the training 2",
        ),
        ("checkpoint", {"upload": "nowhere://x"}, "unknown URL scheme 'nowhere'"),
        ("checkpoint", {"upload": "a/key"}, "storage.mode is local"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_the_first_step_and_leaves_nothing(
    files: Files, section: str, change: dict[str, Any], says: str
) -> None:
    (files.folder / "bad.jsonl").write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "a"}\n')
    files.recipe[section] = {**files.recipe[section], **change}
    with pytest.raises(wmtp.WmtpError) as caught:
        files.invoke("train")
    assert says in str(caught.value)
    assert not files.run.exists()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": 5, "answer": "x"}, "rows.jsonl, line 2: a prompt is a text or a list of turns"),
        ({"messages": []}, "line 2: a prompt is a text or a list of turns"),
        ({"messages": ["x"]}, "a turn is an object with role and content"),
        ({"messages": [{"role": "assistant", "content": None}]}, "a turn is an object with role and content"),
        ({"messages": [{"role": "user", "content": "x"}]}, "is not the assistant's"),
        ({"prompt": "a", "answer": "b", "weights": [[0, 1]]}, "line 2: weights are [[first character, end, weight]"),
        ({"prompt": "a", "answer": "b", "weights": [[0, 1, -1]]}, "none below 0 or above 1e+09; one is [0, 1, -1]"),
        ({"prompt": "a", "answer": "b", "weights": [[0, 1, float("nan")]]}, "above 1e+09; one is [0, 1, nan]"),
        ({"prompt": "a", "answer": "b", "weights": [[0, 1, 10**400]]}, "above 1e+09; one is [0, 1, 1000"),
        ({"prompt": "a", "answer": "b", "weights": "x"}, "they are 'x'"),
        ({"prompt": "a", "answer": " "}, "its answer is empty"),
        ({"text": "x" * 300}, "301 tokens, and the model a context of 256"),
        ({"prompt": "a", "answer": "é" * 3, "weights": 3}, "they are 3"),
    ],
    ids=str,
)
def test_a_bad_row_is_named_by_its_line(files: Files, row: dict[str, Any], says: str) -> None:
    files.recipe["data"]["train"]["max_length"] = 512
    files._lines("rows.jsonl", [ROWS[0], row])
    with pytest.raises(wmtp.ConfigError) as caught:
        files.invoke("train")
    assert says in str(caught.value)
    assert not files.run.exists()


def test_weights_of_nothing_float16_a_missing_template_and_a_file_in_the_way_are_refused(files: Files) -> None:
    files.config["devices"]["dtype"] = "float16"
    with pytest.raises(wmtp.ConfigError, match="vanish in float16"):
        files.invoke("train")
    files.config["devices"].pop("dtype")
    files.recipe["data"]["train"]["chat"] = True
    with pytest.raises(wmtp.ConfigError, match="tokenizer has no chat template"):
        files.invoke("train")
    files.recipe["data"]["train"].pop("chat")
    files._lines("rows.jsonl", [{"prompt": "a", "answer": "bcd", "weights": [[0, 3, 0]]}])
    files.recipe["train"]["scorer"] = "given-v1"
    # The end token keeps its weight of 1: an answer that was cut has none.
    files.recipe["data"]["train"]["max_length"] = 4
    with pytest.raises(wmtp.ConfigError, match="the weights of its answer are all 0"):
        files.invoke("train")
    files.recipe["train"].pop("scorer")
    files.run.parent.mkdir()
    files.run.write_text("a file")
    for command in ("train", "run"):
        with pytest.raises(wmtp.ConfigError, match="cannot be made or written to"):
            files.invoke(command)


def test_more_processes_than_rows_are_refused_before_one_is_started(files: Files) -> None:
    with pytest.raises(wmtp.ConfigError, match="5 processes would share the 4 rows of a step"):
        files.invoke("train", "--processes", "5")


def test_a_reference_with_another_tokenizer_is_refused(files: Files) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<more>"])
    tiny_mtp().save_pretrained(files.folder / "other")
    tokenizer.save_pretrained(files.folder / "other")
    files.recipe["train"] |= {"algo": "rho1-wmtp", "reference": "./other"}
    with pytest.raises(wmtp.ConfigError, match="the reference model cannot be used"):
        files.invoke("train")


def test_checkpoints_go_where_the_recipe_wants_them_and_one_that_failed_is_tried_again(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []

    def send(folder: Path, url: str, config: Any, *, plugins: Any) -> str:
        assert (folder / "COMPLETE").is_file()
        sent.append(url)
        if len(sent) <= 3:
            raise wmtp.ResourceError("it is away")
        return url

    monkeypatch.setattr(wmtp, "upload_folder", send)
    files.recipe["checkpoint"] = {"every": 1, "keep_last": 1, "upload": "s3://bucket/here"}
    with pytest.raises(wmtp.WmtpError, match=r"1 checkpoints are not at s3://bucket/here/r .*the same command"):
        files.invoke("train")
    assert [one.step for one in TrainingFolder(files.run).whole()] == [1, 2], "what has not arrived stays"
    files.invoke("train")
    assert json.loads((files.run / "train/uploaded.json").read_text()) == {
        f"step-0000000{step}": f"s3://bucket/here/r/step-0000000{step}" for step in (1, 2)
    }
    before = len(sent)
    files.invoke("train")
    assert len(sent) == before, "what is there is not sent again"
