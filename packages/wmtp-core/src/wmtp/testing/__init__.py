"""What plugin authors test with: fakes, fixtures (`wmtp_plugins`, `wmtp_run`) and contracts to subclass.

Needs pytest: ``pip install pytest``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmtp.testing.contracts import EvaluatorContract as EvaluatorContract
    from wmtp.testing.contracts import LoaderContract as LoaderContract
    from wmtp.testing.contracts import StorageContract as StorageContract
    from wmtp.testing.fakes import FakeEngine as FakeEngine
    from wmtp.testing.fakes import MemoryStorage as MemoryStorage
    from wmtp.testing.fakes import dataset_plugin as dataset_plugin
    from wmtp.testing.fakes import engine_plugin as engine_plugin
    from wmtp.testing.kind_contracts import CommandContract as CommandContract
    from wmtp.testing.kind_contracts import DatasetContract as DatasetContract
    from wmtp.testing.kind_contracts import JudgeContract as JudgeContract
    from wmtp.testing.kind_contracts import ReporterContract as ReporterContract
    from wmtp.testing.kind_contracts import SectionContract as SectionContract
    from wmtp.testing.kind_contracts import TrackerContract as TrackerContract
    from wmtp.testing.training_contracts import ArchitectureContract as ArchitectureContract
    from wmtp.testing.training_contracts import ControlContract as ControlContract
    from wmtp.testing.training_contracts import ScorerContract as ScorerContract
    from wmtp.testing.training_contracts import TrainerContract as TrainerContract

_CONTRACTS = ("EvaluatorContract", "LoaderContract", "StorageContract")
_KINDS = (
    "CommandContract",
    "DatasetContract",
    "JudgeContract",
    "ReporterContract",
    "SectionContract",
    "TrackerContract",
)
_TRAINING = ("ArchitectureContract", "ControlContract", "ScorerContract", "TrainerContract")
_FAKES = ("FakeEngine", "MemoryStorage", "dataset_plugin", "engine_plugin")
__all__ = sorted((*_CONTRACTS, *_KINDS, *_TRAINING, *_FAKES))


def __getattr__(name: str) -> Any:
    # Late: the pytest plugin lives in this package, and pytest imports it in projects that have nothing to do with us.
    if name in _CONTRACTS:
        from wmtp.testing import contracts

        return getattr(contracts, name)
    if name in _KINDS:
        from wmtp.testing import kind_contracts

        return getattr(kind_contracts, name)
    if name in _TRAINING:
        from wmtp.testing import training_contracts

        return getattr(training_contracts, name)
    if name in _FAKES:
        from wmtp.testing import fakes

        return getattr(fakes, name)
    raise AttributeError(f"module 'wmtp.testing' has no attribute {name!r}")
