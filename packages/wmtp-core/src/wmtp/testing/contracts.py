"""What a good citizen does, as test classes to subclass.

from wmtp.testing import EvaluatorContract
import my_plugin.plugin

class TestPuzzles(EvaluatorContract):
    plugin = my_plugin.plugin
    evaluator = "puzzles-v1"
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from wmtp.config import load_config, load_recipe
from wmtp.contracts.engines import Engine, Sampling
from wmtp.contracts.storage import ObjectChanged, ReadsInto, Storage
from wmtp.errors import ConfigError
from wmtp.evaluation.driver import evaluate
from wmtp.plugins import Plugins, create_plugin_manager
from wmtp.testing.fakes import FakeEngine, dataset_plugin, engine_plugin

HEAVY = ("torch", "transformers", "boto3", "pyarrow", "pandas", "numpy")


def imports_of(module: str) -> list[str]:
    """Heavy modules that importing `module` brings along, found in a fresh interpreter."""
    script = f"import sys, {module}; print(*({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())


class Citizen:
    """What every plugin module is held to."""

    plugin: ClassVar[Any]

    def plugins(self, *others: Any) -> Plugins:
        return create_plugin_manager(plugins=[self.plugin, *others], entry_points=False)

    def test_importing_the_plugin_is_cheap(self) -> None:
        assert imports_of(self.plugin.__name__) == []

    def test_the_plugin_loads_without_complaint(self) -> None:
        states = {info.distribution: (info.state, info.error) for info in self.plugins().listing()}
        assert all(state == ("loaded", "") for state in states.values()), states


class EvaluatorContract(Citizen):
    """An evaluator: cheap import, strict settings, the metrics it promises, resume, references that pass.

    Attributes:
        evaluator: Its id.
        rows: Rows for its data set, at least two problems with reference solutions; empty if the data set comes with
            the plugin.
        settings: Options it needs to run on those rows.
    """

    evaluator: ClassVar[str]
    rows: ClassVar[Sequence[Mapping[str, Any]]] = ()
    settings: ClassVar[Mapping[str, Any]] = {}

    def _spec(self) -> Any:
        return self.plugins().evaluators[self.evaluator].spec

    def _metrics(self, k: int = 1) -> list[str]:
        spec = self._spec()
        return [name.replace("{k}", str(k)) for name in spec.metrics if name not in spec.on_request]

    def _run(
        self, folder: Path, base_id: str, *others: Any, n: int = 1, settings: Mapping[str, Any] | None = None
    ) -> Any:
        spec = self._spec()
        if self.rows:
            if spec.dataset in self.plugins().datasets:
                pytest.fail(f"rows are given, but the plugin brings the data set {spec.dataset}: use `data` instead")
            others = (*others, dataset_plugin(spec.dataset, self.rows))
        plugins = self.plugins(*others)
        config = load_config(self.config(folder), plugins=plugins)
        options = {self.evaluator: {**self.settings, **(settings or {})}} if spec.settings else {}
        section = {"metrics": self._metrics(n), "sampling": {"n": n}, "evaluators": options}
        recipe = load_recipe(
            {"run": {"name": "contract"}, "model": {"base_id": base_id}, "eval": section}, plugins=plugins
        )
        return evaluate(config, recipe, plugins=plugins, runs=folder)

    def config(self, folder: Path) -> dict[str, Any]:
        """The config.yaml to run with: override it to point at data files that the test writes into `folder`."""
        return {"judging": {"level": "auto", "workers": 1}}

    def test_the_evaluator_is_described(self) -> None:
        spec = self._spec()
        assert spec.summary
        assert spec.metrics
        assert spec.settings is None or attrs.has(spec.settings), "settings must be an attrs class"

    def test_its_metrics_are_found_by_name(self) -> None:
        plugins = self.plugins()
        for name in self._metrics(3):
            assert plugins.metric(name).evaluator.spec.id == self.evaluator

    def test_settings_are_strict(self) -> None:
        plugins = self.plugins()
        options = {self.evaluator: {"no_such_option": 1}}
        with pytest.raises(ConfigError, match=r"no_such_option|takes no options"):
            load_recipe({"eval": {"metrics": self._metrics(), "evaluators": options}}, plugins=plugins)

    def test_reference_solutions_pass(self, tmp_path: Path) -> None:
        results = self._run(tmp_path, "reference:")
        assert results.complete, results.shortcomings()
        assert set(results.metrics) == set(self._metrics())
        assert {name: metric.value for name, metric in results.metrics.items()} == dict.fromkeys(results.metrics, 1.0)

    def test_wrong_answers_do_not_pass(self, tmp_path: Path) -> None:
        engine = FakeEngine(lambda request: "raise SystemExit(0)")
        results = self._run(tmp_path, "fake:", engine_plugin(engine))
        assert all(metric.value == 0.0 for metric in results.metrics.values()), results.metrics

    def test_a_run_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        engine = FakeEngine(lambda request: "raise SystemExit(0)")
        self._run(tmp_path, "fake:", engine_plugin(engine))
        first = len(engine.requests)
        assert first > 0
        self._run(tmp_path, "fake:", engine_plugin(engine), n=2)
        assert len(engine.requests) == 2 * first, "raising n must ask for what is missing, and no more"
        stored = (tmp_path / "contract" / "samples" / f"{self.evaluator}.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in stored.splitlines()]
        assert len({(row["problem"], row["index"]) for row in rows}) == len(rows) == 2 * first


class LoaderContract(Citizen):
    """A loader: what it matches, and an engine that answers each request once.

    Attributes:
        loader: Its name.
        reference: A model reference it loads here and now.
        foreign: References that are not its own.
    """

    loader: ClassVar[str]
    reference: ClassVar[str]
    foreign: ClassVar[Sequence[str]] = ("reference:", "samples:x.jsonl", "s3://bucket/model")

    def test_it_matches_its_own_references_only(self) -> None:
        matches = self.plugins().loaders[self.loader].spec.matches
        assert matches(self.reference) is True
        assert [reference for reference in self.foreign if matches(reference)] == []

    def test_the_engine_answers_every_request_once(self) -> None:
        from wmtp.contracts.engines import GenerationRequest, SampleKey
        from wmtp.contracts.loading import LoadRequest, Resource

        def fetch(patterns: tuple[str, ...] | None = None) -> Resource:
            return Resource(Path(self.reference), "local")

        engine = self.plugins().loaders[self.loader].spec.load(LoadRequest(reference=self.reference, fetch=fetch))
        assert isinstance(engine, Engine)
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in engine.identity.items())
        requests = [
            GenerationRequest(
                key=SampleKey(evaluator="e", problem=str(i), index=0),
                prompt=f"# {i}\n",
                max_new_tokens=4,
                reference="x",
            )
            for i in range(3)
        ]
        found = list(engine.generate(iter(requests), Sampling()))
        assert sorted(c.key.problem for c in found) == ["0", "1", "2"]


class StorageContract:
    """A storage: what is put can be listed and read by range; one that moved on is `ObjectChanged`. Override `storage`."""

    def storage(self) -> Storage:
        """An empty storage, or one whose keys under ``contract/`` may be written."""
        raise NotImplementedError

    def _put(self, storage: Storage, key: str, data: bytes) -> Any:
        return storage.put(key, data, sha256=hashlib.sha256(data).hexdigest())

    def test_what_is_put_is_listed_and_read_by_range(self) -> None:
        storage = self.storage()
        assert isinstance(storage, Storage)
        self._put(storage, "contract/a.bin", b"0123456789")
        self._put(storage, "contract/deeper/b.bin", b"")
        entries = {entry.key: entry for entry in storage.list("contract/")}
        assert sorted(entries) == ["contract/a.bin", "contract/deeper/b.bin"]
        entry = entries["contract/a.bin"]
        assert entry.size == 10
        assert b"".join(storage.read(entry, 0, 10)) == b"0123456789"
        assert b"".join(storage.read(entry, 3, 7)) == b"3456"
        assert list(storage.list("contract/none/")) == []

    def test_what_is_read_into_memory_is_what_is_read(self) -> None:
        storage = self.storage()
        if not isinstance(storage, ReadsInto):
            pytest.skip("this storage does not offer read_into")
        entry = self._put(storage, "contract/a.bin", b"0123456789")
        for start, stop in ((0, 10), (3, 7)):
            buffer, found = memoryview(bytearray(3)), b""
            for count in storage.read_into(entry, start, stop, buffer):
                found += buffer[:count]
            assert found == b"0123456789"[start:stop]

    def test_a_file_can_be_put(self, tmp_path: Path) -> None:
        storage = self.storage()
        file = tmp_path / "file"
        file.write_bytes(b"from a file")
        entry = storage.put("contract/file", file, sha256=hashlib.sha256(b"from a file").hexdigest())
        assert b"".join(storage.read(entry, 0, entry.size)) == b"from a file"

    def test_an_object_that_changes_is_noticed(self) -> None:
        storage = self.storage()
        old = self._put(storage, "contract/c.bin", b"old content")
        self._put(storage, "contract/c.bin", b"new content, longer")
        with pytest.raises(ObjectChanged):
            b"".join(storage.read(old, 0, old.size))
        if isinstance(storage, ReadsInto):
            with pytest.raises(ObjectChanged):
                list(storage.read_into(old, 0, old.size, memoryview(bytearray(4))))
