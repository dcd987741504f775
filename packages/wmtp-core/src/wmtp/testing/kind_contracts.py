"""Contracts of sections, commands, trackers, reporters, data sets and judges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from math import inf, nan
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from wmtp.config import load_config, load_recipe
from wmtp.contracts.judging import CallTests, JudgeRequest
from wmtp.contracts.loading import DatasetRequest, Example, Resource
from wmtp.contracts.tracking import TrackedRun
from wmtp.errors import ConfigError
from wmtp.testing.contracts import Citizen
from wmtp.tracking.journal import Artifact, Ended, Journal, Link, Numbers
from wmtp.tracking.sync import sync_run


class SectionContract(Citizen):
    """A section: what it holds is structured by its own class, strictly.

    Attributes:
        section: its name. valid: what it may hold. invalid: key → a value that must be refused.
    """

    section: ClassVar[str]
    valid: ClassVar[Mapping[str, Any]] = {}
    invalid: ClassVar[Mapping[str, Any]] = {}

    def _load(self, content: Any) -> Any:
        plugins = self.plugins()
        load: Any = load_recipe if plugins.sections[self.section].spec.file == "recipe" else load_config
        return load({self.section: content}, plugins=plugins).sections[self.section]

    def test_it_is_an_instance_of_its_class(self) -> None:
        assert isinstance(self._load(dict(self.valid)), self.plugins().sections[self.section].spec.settings)

    def test_an_unknown_key_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=rf"{self.section}\.no_such_key"):
            self._load({**self.valid, "no_such_key": 1})

    def test_wrong_values_are_refused_with_their_key_path(self) -> None:
        for key, value in self.invalid.items():
            with pytest.raises(ConfigError, match=rf"{self.section}\.{key}"):
                self._load({**self.valid, key: value})


class CommandContract(Citizen):
    """A command: a click command with a help text, which nothing imports before it is needed."""

    command: ClassVar[str]

    def test_its_target_is_a_click_command_with_help(self) -> None:
        import click

        module, _, attribute = self.plugins().commands[self.command].spec.target.partition(":")
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        assert found.help or isinstance(found, click.Group)

    def test_hearing_of_it_does_not_import_it(self) -> None:
        module = self.plugins().commands[self.command].spec.target.partition(":")[0]
        script = f"import sys, {self.plugin.__name__}; print({module!r} in sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "False\n", f"{module} is imported with the plugin's hooks"


class TrackerContract(Citizen):
    """A tracker: one that follows journals sends a run's from its first line to its last, and a second time sends nothing; one
    that hears events takes any, and closes.

    Attributes:
        tracker: its name.
    """

    tracker: ClassVar[str]

    def settings(self, folder: Path) -> dict[str, Any]:
        """What ``tracking.<name>`` says, for a tracker that may write into `folder`."""
        return {}

    def test_it_hears_events_and_closes(self, tmp_path: Path) -> None:
        plugins = self.plugins()
        config = load_config({"tracking": {self.tracker: self.settings(tmp_path)}}, plugins=plugins)
        settings = config.sections["tracking"][self.tracker]
        spec = plugins.trackers[self.tracker].spec
        if spec.create is not None:
            listener = spec.create(settings, None)
            for event in self.events():
                listener.handle(event)
            listener.close()
            return
        done = sync_run(_tracked(tmp_path), self.tracker, spec.target, settings)
        assert done.now == done.all == len(NUMBERS) - len(done.refused)
        assert all("inf" in line for line in done.refused), "only infinities may be refused, and by name"
        again = sync_run(_tracked(tmp_path), self.tracker, spec.target, settings)
        assert (again.now, again.all) == (0, done.all)
        assert again.shown == done.shown != ""

    def events(self) -> Sequence[Any]:
        """Events to hear; a tracker must not mind those that it does not know."""
        return (_UnknownEvent(value=1), _UnknownEvent(value=2))

    def test_options_are_strict(self, tmp_path: Path) -> None:
        section = {self.tracker: {**self.settings(tmp_path), "no_such_option": 1}}
        with pytest.raises(ConfigError, match="no_such_option"):
            load_config({"tracking": section}, plugins=self.plugins())


NUMBERS = {"loss": 1.5, "eval/mbpp_pass@1": 0.25, "eval/odd name/×=1": -1e-300, "not a number": nan, "a" * 300: inf}


def _tracked(folder: Path) -> Path:
    """A run folder with a journal of every kind of entry."""
    run = folder / "run"
    if not run.exists():
        run.mkdir()
        (run / "report.md").write_text("done\n", encoding="utf-8")
        journal = Journal(run)
        journal.add(
            TrackedRun(
                name="run",
                kind="evaluation",
                folder=str(run),
                time=1e9,
                params={"seed": "1", "π@x": "y"},
                tags=("a b",),
            )
        )
        journal.add(Numbers(values=NUMBERS, step=3, time=1e9 + 1))
        journal.add(Artifact(file="report.md"))
        journal.add(Link(name="checkpoint.3", target=str(run / "step-3")))
        journal.add(Ended(status="finished", time=1e9 + 2))
        journal.close()
    return run


@attrs.frozen(kw_only=True)
class _UnknownEvent:
    value: int


class ReporterContract(Citizen):
    """A reporter: it writes one file into the run directory.

    Attributes:
        reporter: its name.
    """

    reporter: ClassVar[str]

    def run(self, folder: Path) -> Any:
        """What the reporter is to show: makes a run in `folder`, and returns what `write` gets beside it."""
        raise NotImplementedError

    def test_it_writes_a_file_into_the_run_directory(self, tmp_path: Path) -> None:
        run = self.run(tmp_path)
        path = self.plugins().reporters[self.reporter].spec.write(tmp_path, run)
        assert path.is_file()
        assert tmp_path in path.parents
        assert path.stat().st_size > 0


class DatasetContract(Citizen):
    """A data set: a split has the same rows each time, in the same order, and what may be trained on has examples.

    Attributes:
        dataset: its name. split: one that it has. fields: what every row holds.
    """

    dataset: ClassVar[str]
    split: ClassVar[str] = "test"
    fields: ClassVar[Sequence[str]] = ()

    def data(self, folder: Path) -> Path:
        """The file or folder that the rows are read from, made in `folder`; not asked of a data set that brings its rows."""
        return folder

    def _rows(self, folder: Path, limit: int | None = None) -> list[Mapping[str, Any]]:
        spec = self.plugins().datasets[self.dataset].spec
        path = self.data(folder)

        def fetch(patterns: tuple[str, ...] | None = None) -> Resource:
            return Resource(path, "local")

        return list(spec.load(DatasetRequest(dataset=self.dataset, split=self.split, fetch=fetch, limit=limit)))

    def test_rows_are_the_same_each_time(self, tmp_path: Path) -> None:
        rows = self._rows(tmp_path)
        assert rows == self._rows(tmp_path)
        assert len(rows) > 1
        assert all(isinstance(row, Mapping) and set(self.fields) <= set(row) for row in rows)

    def test_a_limit_changes_none_of_the_first_rows(self, tmp_path: Path) -> None:
        assert self._rows(tmp_path, limit=1)[:1] == self._rows(tmp_path)[:1]

    def test_rows_have_examples_to_train_on(self, tmp_path: Path) -> None:
        examples = self.plugins().datasets[self.dataset].spec.examples
        if examples is None:
            pytest.skip("this data set cannot be trained on")
        for row in self._rows(tmp_path):
            assert all(isinstance(example, Example) for example in examples(row))


class JudgeContract(Citizen):
    """A place where programs are judged: right ones pass, wrong ones fail, and how one ends is nobody else's affair.

    Attributes:
        judge: its name. settings: an instance of its settings class, if it takes options.
    """

    judge: ClassVar[str]
    settings: ClassVar[Any] = None

    def test_programs_are_judged_each_by_itself(self) -> None:
        request = JudgeRequest(level="auto", workers=1, time_limit=5.0, settings=self.settings)
        judge = self.plugins().judges[self.judge].spec.open(request)
        tests = CallTests(tests=("assert f(2) == 4",))
        programs = ("def f(x): return x * 2", "def f(x): return x", "raise SystemExit(0)", "def f(x): return x + 2")
        try:
            assert judge.level in ("strict", "process")
            assert all(isinstance(k, str) and isinstance(v, str) for k, v in judge.identity.items())
            found = [future.result(timeout=120) for future in [judge.submit(program, tests) for program in programs]]
        finally:
            judge.close()
        assert [outcome.passed for outcome in found] == [True, False, False, True]
        assert "4" not in found[1].detail, "an expected value is told to nobody"
