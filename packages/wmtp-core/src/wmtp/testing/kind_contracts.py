"""Contracts of the smaller kinds: sections, commands, trackers, reporters, architectures, trainers and controls."""

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


class ArchitectureContract(Citizen):
    """An architecture: it knows its modules by config.json and the names of tensors alone, and has a place for every one.

    Attributes:
        architecture: its name. config: the content of a config.json that is its own, with the number of its layers.
        names: the names of all tensors of such a checkpoint, those of the trunk among them.
        modules: how many modules these are.
    """

    architecture: ClassVar[str]
    config: ClassVar[Mapping[str, Any]]
    names: ClassVar[Sequence[str]]
    modules: ClassVar[int] = 1

    def test_it_finds_its_own_modules(self) -> None:
        from wmtp.models.architectures.found import find_modules

        specs = [owned.spec for owned in self.plugins().architectures.values()]
        found = find_modules(self.names, self.config, specs)
        assert found.spec is not None
        assert (found.spec.name, len(found.modules), found.strange) == (self.architecture, self.modules, ())

    def test_it_takes_no_trunk_for_a_module(self) -> None:
        from wmtp.models.architectures.found import find_modules

        specs = [owned.spec for owned in self.plugins().architectures.values()]
        found = find_modules(self.names, self.config, specs)
        assert found.names < set(self.names)
        assert find_modules(set(self.names) - found.names, self.config, specs).modules == ()


class TrainerContract(Citizen):
    """A trainer: it is found by its name, and a request that it is given comes to an end.

    Attributes:
        trainer: its name.
    """

    trainer: ClassVar[str]

    def request(self, folder: Path) -> Any:
        """A small request that trains in `folder`."""
        raise NotImplementedError

    def test_it_trains(self, tmp_path: Path) -> None:
        assert self.plugins().trainers[self.trainer].spec.train(self.request(tmp_path)) is not None


class ControlContract(Citizen):
    """A control of weighted training: each row keeps its mean, tokens that are not trained keep their weights, and nothing
    but the keys decides. Needs torch.

    Attributes:
        control: its name. settings: an instance of its settings class, if it takes options.
    """

    control: ClassVar[str]
    settings: ClassVar[Any] = None

    def _weights(self, *keys: int) -> tuple[Any, Any, Any]:
        torch = pytest.importorskip("torch")
        weights = torch.rand(len(keys), 12, generator=torch.Generator().manual_seed(1)) + 0.1
        mask = torch.ones(len(keys), 12, dtype=torch.bool)
        mask[:, ::5] = False
        control = self.plugins().controls[self.control].spec.create(self.settings)
        return weights, mask, control(weights.clone(), mask, keys)

    def test_each_row_keeps_its_mean_and_its_untrained_tokens(self) -> None:
        weights, mask, found = self._weights(3, 4)
        for row in range(2):
            assert float((found[row][mask[row]].mean() - weights[row][mask[row]].mean()).abs()) < 1e-5
        assert bool((found[~mask] == weights[~mask]).all())

    def test_the_keys_decide_and_nothing_else(self) -> None:
        assert bool((self._weights(3, 4)[2] == self._weights(3, 4)[2]).all())
