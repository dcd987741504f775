"""Contracts of what trains and is trained: architectures, trainers, scorers and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from wmtp.testing.contracts import Citizen


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


class ScorerContract(Citizen):
    """A scorer of token weights: mean 1 over the trained tokens of a row, and calling it changes nothing. Needs torch.

    Attributes:
        scorer: its name. settings: an instance of its settings class; by default one with every option at its default.
    """

    scorer: ClassVar[str]
    settings: ClassVar[Any] = None

    def _spec(self) -> Any:
        return self.plugins().scorers[self.scorer].spec

    def batch(self) -> dict[str, Any]:
        """Two rows of twelve tokens, the second padded, with all that `ScorerSpec.needs` may name."""
        torch = pytest.importorskip("torch")
        draw = torch.Generator().manual_seed(1)
        mask = torch.ones(2, 12, dtype=torch.bool)
        mask[1, 8:] = False
        known = {
            name: torch.rand(2, 12, generator=draw) + 0.1 for name in ("base_ce", "reference_ce", "values", "given")
        }
        return {"mask": mask, "targets": torch.arange(24).reshape(2, 12), **{n: known[n] for n in self._spec().needs}}

    def _weights(self, batch: Mapping[str, Any]) -> Any:
        spec = self._spec()
        made = self.settings if self.settings is not None or spec.settings is None else spec.settings()
        return spec.create(made)(batch)

    def test_each_row_has_mean_one_over_what_is_trained(self) -> None:
        batch = self.batch()
        weights = self._weights(batch)
        assert tuple(weights.shape) == tuple(batch["mask"].shape)
        for row, mask in zip(weights, batch["mask"], strict=True):
            assert float((row[mask].mean() - 1).abs()) < 1e-4
            assert bool((row[mask] >= 0).all())

    def test_calling_it_changes_nothing(self) -> None:
        batch = self.batch()
        before = {name: value.clone() for name, value in batch.items()}
        assert bool((self._weights(batch) == self._weights(batch)).all())
        assert all(bool((batch[name] == value).all()) for name, value in before.items())

    def test_it_says_all_that_it_needs(self) -> None:
        """The batch has what `needs` names and nothing else: what a trainer would hand over."""
        self._weights(self.batch())
