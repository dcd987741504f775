"""Addresses that MLflow cannot use are refused before a run begins, with the sentence that helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wmtp

PLUGINS = wmtp.create_plugin_manager()


def load(**settings: object) -> object:
    return wmtp.load_config({"tracking": {"mlflow": settings}}, plugins=PLUGINS).sections["tracking"]["mlflow"]


@pytest.mark.parametrize(
    ("address", "helps"),
    [
        ("s3://bucket/mlruns", "mlflow server --artifacts-destination s3://bucket/mlruns"),
        ("gs://bucket/mlruns", "a place for artifacts"),
        ("file:./mlruns", "Use sqlite:///mlflow.db"),
        ("file:///data/mlruns", "mlflow migrate-filestore"),
        ("./mlruns", "Use sqlite:///mlflow.db"),
        ("mlruns", "Use sqlite:///mlflow.db"),
        ("http://user:secret@host:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("http://", "names no host"),
    ],
)
def test_an_address_that_cannot_hold_runs_is_refused(address: str, helps: str) -> None:
    with pytest.raises(
        wmtp.ConfigError, match=rf"config\.tracking\.mlflow\.tracking_uri.*{re.escape(helps)}"
    ) as refused:
        load(tracking_uri=address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["http://host:5000", "https://host/mlflow", "postgresql+psycopg2://host/db", "databricks"]
)
def test_an_address_that_can_is_taken_as_it_is(address: str) -> None:
    assert load(tracking_uri=address).tracking_uri == address  # type: ignore[attr-defined]


def test_a_relative_database_is_of_this_directory_for_whoever_sends_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(tracking_uri="sqlite:///mlflow.db").tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [{"experiment": " "}, {"timeout_s": 0}, {"uri": "x"}])
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(wmtp.ConfigError, match=rf"mlflow\.{next(iter(wrong))}"):
        load(tracking_uri="http://host:5000", **wrong)
