"""``tracking.mlflow`` of config.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVED = ("http", "https", "databricks")


def _absolute(address: Any) -> Any:
    """A relative ``sqlite:///file`` is this directory's, now and for whoever sends the run later from elsewhere."""
    if not isinstance(address, str) or not address.startswith("sqlite:///") or address.startswith("sqlite:////"):
        return address
    return f"sqlite:///{Path(address.removeprefix('sqlite:///')).absolute()}"


def _address(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    """Raises ValueError saying what an address can be."""
    scheme = urlsplit(value).scheme.split("+")[0] or value.partition(":")[0]
    if scheme in ("s3", "gs", "abfss", "wasbs", "hdfs"):
        raise ValueError(
            f"{value!r} is a place for artifacts, where MLflow keeps no runs. Start `mlflow server --artifacts-destination "
            f"{value}` and give its address: http://host:5000"
        )
    if scheme not in _SERVED + _DATABASES:
        raise ValueError(
            f"{value!r} is a folder, and MLflow keeps no runs in folders now. Use sqlite:///mlflow.db, or an MLflow server: "
            "http://host:5000. `mlflow migrate-filestore` moves the runs that a folder has"
        )
    if scheme in _SERVED and (parts := urlsplit(value)) and (parts.username or parts.password):
        raise ValueError(
            "the address holds a name or password, which would be kept with the run. Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if scheme in ("http", "https") and not urlsplit(value).hostname:
        raise ValueError(f"{value!r} names no host; write http://host:5000")


def _name(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if not value.strip() or len(value) > 500:
        raise ValueError("an experiment's name has 1 to 500 characters")


def _seconds(instance: Any, attribute: attrs.Attribute[Any], value: int) -> None:
    if not 1 <= value <= 600:
        raise ValueError(f"must be from 1 to 600, not {value}")


@attrs.frozen(kw_only=True)
class MlflowSettings:
    """Where MLflow is, and under which experiment runs are kept.

    Attributes:
        tracking_uri: ``http://host:5000``, or a database: ``sqlite:///mlflow.db`` (with ``wmtp-mlflow[local]``).
        experiment: Made if there is none of this name.
        timeout_s: How long the server may take for one answer, in the process beside the run.
        artifact_mib: Files of the run folder up to this size are uploaded; of larger ones the place is noted.
    """

    tracking_uri: str = attrs.field(converter=_absolute, validator=_address)
    experiment: str = attrs.field(default="wmtp", validator=_name)
    timeout_s: int = attrs.field(default=10, validator=_seconds)
    artifact_mib: float = 5.0


__all__ = ["MlflowSettings"]
