"""The contracts in wmtp.testing hold for what comes with core; FakeEngine ends answers as engines do."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import ClassVar

import pytest

import wmtp
import wmtp.builtin
import wmtp.testing
from wmtp.contracts.runs import RunInfo
from wmtp.plugins.kinds import KINDS
from wmtp.runs.record import to_json
from wmtp.runs.tables import write_details
from wmtp.storage.local import LocalStorage
from wmtp.testing import (
    ArchitectureContract,
    CommandContract,
    ControlContract,
    FakeEngine,
    JudgeContract,
    LoaderContract,
    MemoryStorage,
    ReporterContract,
    ScorerContract,
    SectionContract,
    StorageContract,
)

ROOT = Path(__file__).resolve().parents[3]


class Core:
    plugin = wmtp.builtin

    def plugins(self, *others):
        return wmtp.create_plugin_manager(plugins=others, entry_points=False)


def test_every_kind_has_a_contract_and_something_real_that_is_held_to_it():
    """All tests of the repository, read and not imported: who subclasses which contract."""
    held = set()
    for file in [*ROOT.glob("packages/*/tests/**/*.py"), *ROOT.glob("tests/**/test_*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
        held |= {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}
    contracts = {kind.name: kind.contract for kind in KINDS}
    assert {name: contract for name, contract in contracts.items() if not hasattr(wmtp.testing, contract)} == {}
    assert {name for name, contract in contracts.items() if contract not in held} == set()


class TestLocalFolder(StorageContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def storage(self):
        return LocalStorage(self.folder)


class TestMemory(StorageContract):
    @pytest.fixture(autouse=True)
    def _one(self):
        self.kept = MemoryStorage()

    def storage(self):
        return self.kept


class TestReference(Core, LoaderContract):
    loader = "reference"
    reference = "reference:"
    foreign = ("samples:x.jsonl", "s3://bucket/model", "org/name")


class TestLocal(Core, JudgeContract):
    judge = "local"


class FinishedRun(Core):
    def run(self, folder):
        values = {"m": wmtp.MetricValue(value=0.5, low=0.1, high=0.9, problems=2, samples=2)}
        record = wmtp.RunRecord(run=RunInfo(name="r", directory=str(folder)), metrics=values)
        (folder / "results.json").write_text(json.dumps(to_json(record)), encoding="utf-8")
        return wmtp.open_run(folder)


class TestMarkdown(FinishedRun, ReporterContract):
    reporter = "markdown"

    def test_it_quotes_what_evaluators_say(self, tmp_path):
        run = self.run(tmp_path)
        write_details(tmp_path, "toy-v1", ["| seen | here |"])
        path = self.plugins().reporters["markdown"].spec.write(tmp_path, run)
        assert "## What toy-v1 says\n\n| seen | here |\n" in path.read_text(encoding="utf-8")


class TestHtml(FinishedRun, ReporterContract):
    reporter = "html"


class TestRun(Core, SectionContract):
    section = "run"
    valid: ClassVar = {"name": "a", "tags": ["b"]}
    invalid: ClassVar = {"name": "../x", "tags": "b"}

    def _load(self, content):
        return wmtp.load_recipe({"run": content}, plugins=self.plugins()).run


class TestJudging(Core, SectionContract):
    section = "judging"
    valid: ClassVar = {"level": "process", "workers": 2}
    invalid: ClassVar = {"level": "none", "time_limit": 0}

    def _load(self, content):
        return wmtp.load_config({"judging": content}, plugins=self.plugins()).judging


class TestRho1(Core, ScorerContract):
    scorer = "rho1-excess-v1"


class TestCriticDelta(Core, ScorerContract):
    scorer = "critic-delta-v1"


class TestDft(Core, ScorerContract):
    scorer = "dft-v1"


class TestGiven(Core, ScorerContract):
    scorer = "given-v1"


class TestTawGae(Core, ScorerContract):
    scorer = "taw-gae-v1"


class TestUniform(Core, ControlContract):
    control = "uniform"

    def test_every_trained_token_weighs_the_same(self):
        _, mask, found = self._weights(3, 4)
        assert all(len(set(found[row][mask[row]].tolist())) == 1 for row in range(2))


class TestShuffled(Core, ControlContract):
    control = "shuffled"

    def test_it_deals_the_same_weights_to_others(self):
        weights, mask, found = self._weights(3, 4)
        for row in range(2):
            before, after = weights[row][mask[row]].tolist(), found[row][mask[row]].tolist()
            assert before != after
            assert sorted(before) == sorted(after)
        assert found[0].tolist() != self._weights(5, 4)[2][0].tolist()


class TestEval(Core, CommandContract):
    command = "eval"


class TestPlugins(Core, CommandContract):
    command = "plugins"


class TestQwen35(Core, ArchitectureContract):
    architecture = "qwen3.5"
    config: ClassVar = {"model_type": "qwen3_5_text", "num_hidden_layers": 24, "mtp_num_hidden_layers": 1}
    names = (
        "model.layers.0.linear_attn.A_log", "model.layers.23.self_attn.q_proj.weight", "model.norm.weight",
        "mtp.fc.weight", "mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight", "mtp.norm.weight",
        "mtp.layers.0.self_attn.q_proj.weight",
    )  # fmt: skip


class TestDeepSeek(Core, ArchitectureContract):
    architecture = "deepseek-v3"
    config: ClassVar = {"model_type": "deepseek_v3", "num_hidden_layers": 4}
    names = (
        "model.layers.3.self_attn.o_proj.weight", "model.norm.weight", "model.layers.4.enorm.weight",
        "model.layers.4.hnorm.weight", "model.layers.4.eh_proj.weight", "model.layers.4.shared_head.norm.weight",
        "model.layers.4.self_attn.o_proj.weight",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "stop", "tokens", "text", "reason"),
    [
        ("def f(): pass\n\nprint(1)", ("\nprint",), 99, "def f(): pass\n", "stop"),
        ("a b c d", ("x", "c", "b"), 99, "a ", "stop"),
        ("a b  c d", (), 3, "a b  c", "length"),
        ("a b", (), 2, "a b", "stop"),
    ],
)
def test_a_scripted_answer_ends_where_an_engine_would_end_it(answer, stop, tokens, text, reason):
    key = wmtp.SampleKey(evaluator="e", problem="p", index=0)
    request = wmtp.GenerationRequest(key=key, prompt="x", stop=stop, max_new_tokens=tokens)
    (completion,) = FakeEngine({"p": [answer]}).generate([request], wmtp.Sampling())
    assert (completion.text, completion.finish_reason) == (text, reason)
