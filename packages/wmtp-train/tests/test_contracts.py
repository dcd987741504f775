"""What wmtp-train brings, against the contracts that every plugin is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tiny_training import ROWS, Bench

import wmtp
import wmtp_train.plugin
from wmtp.testing import CommandContract, ControlContract, DatasetContract, SectionContract, TrainerContract
from wmtp_train.trainer import Training


class TestMtp(TrainerContract):
    plugin = wmtp_train.plugin
    trainer = "mtp-v1"

    @pytest.fixture(autouse=True)
    def _bench(self, model_folder: Path, rows_file: Path, plugins: wmtp.Plugins, tmp_path: Path) -> None:
        self.bench = Bench(tmp_path, model_folder, rows_file, plugins)

    def request(self, folder: Path) -> Any:
        return Training(request=self.bench.request(train={"max_steps": 2}), resume="auto", listeners=())


class TestJsonl(DatasetContract):
    plugin = wmtp_train.plugin
    dataset = "jsonl"
    split = "train"
    fields = ("prompt", "answer")

    def data(self, folder: Path) -> Path:
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
        return path


class TestOptim(SectionContract):
    plugin = wmtp_train.plugin
    section = "optim"
    valid: ClassVar = {"lr": 1e-3}
    invalid: ClassVar = {"lr": "fast"}


class TestTrain(CommandContract):
    plugin = wmtp_train.plugin
    command = "train"


class TestInverted(ControlContract):
    plugin = wmtp_train.plugin
    control = "inverted"
