"""The tracker: one MLflow run for a run folder, over all its sessions. It is imported in the process beside a run only."""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import wmtp
from wmtp_mlflow.names import mapped
from wmtp_mlflow.settings import MlflowSettings

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A refused port would be tried for four minutes, a silent one for two minutes at a time. Trying again is the follower's.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}
LONGEST_PARAM = 6000
LONGEST_TAG = 5000
_PARAMS_AT_ONCE = 100
_KEY = "wmtp.key"
_NAMES = "wmtp.names"
_NEVER = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST")
_GONE = "must be in the 'active' state"


class MlflowTracker:
    """See `wmtp.Tracker`.

    In the memory are ``key`` (the value of a tag by which the run is found again), ``run_id``, ``experiment_id``, ``names``
    (MLflow's → WMTP's) and ``params`` (as they were sent first).
    """

    def __init__(self, settings: MlflowSettings, memory: MutableMapping[str, Any]) -> None:
        self._settings, self._memory = settings, memory
        memory.setdefault("key", uuid.uuid4().hex)
        self._names: dict[str, str] = memory.setdefault("names", {})
        os.environ.update({"MLFLOW_HTTP_REQUEST_TIMEOUT": str(settings.timeout_s), **ENVIRONMENT})
        self._made: Any = None

    @property
    def place(self) -> str:
        return f"{self._settings.tracking_uri} experiment {self._settings.experiment}"

    @property
    def shown(self) -> str:
        memory, address = self._memory, self._settings.tracking_uri
        if "run_id" not in memory:
            return ""
        if address.startswith("http"):
            return f"{address.rstrip('/')}/#/experiments/{memory['experiment_id']}/runs/{memory['run_id']}"
        return f"run {memory['run_id']} in {address}"

    @property
    def _client(self) -> Any:
        if self._made is None:
            try:
                from mlflow.tracking import MlflowClient

                self._made = MlflowClient(self._settings.tracking_uri)
            except ModuleNotFoundError as error:
                raise wmtp.ConfigError(
                    f"{self._settings.tracking_uri} needs {error.name}: pip install 'wmtp-mlflow[local]'"
                ) from error
        return self._made

    @property
    def _run_id(self) -> str:
        """The run's id. Asked for before it is made: an answer that was lost on its way would leave a second run."""
        if "run_id" in self._memory:
            return str(self._memory["run_id"])
        key = self._memory["key"]
        if "experiment_id" not in self._memory:
            self._memory["experiment_id"] = self._experiment()
        experiment = self._memory["experiment_id"]
        there = self._client.search_runs([experiment], f"tags.`{_KEY}` = '{key}'", max_results=1)
        run = there[0] if there else self._client.create_run(experiment, tags={_KEY: key})
        self._memory["run_id"] = run.info.run_id
        return str(run.info.run_id)

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = self._settings.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=self._artifacts()))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run made it meanwhile
                    raise
                found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise wmtp.ConfigError(
                f"experiment {name!r} at {self._settings.tracking_uri} was deleted: restore it (`mlflow experiments restore "
                f"--experiment-id {found.experiment_id}`), or name another in tracking.mlflow.experiment"
            )
        return str(found.experiment_id)

    def _artifacts(self) -> str | None:
        """Beside a file of sqlite, not in the directory that the command happens to run in. A server decides for itself."""
        address = self._settings.tracking_uri
        return (
            f"{Path(address.removeprefix('sqlite:///')).parent}/mlartifacts" if address.startswith("sqlite:") else None
        )

    def begin(self, run: wmtp.TrackedRun) -> Sequence[str]:
        """Makes the run, or goes on with it: its parameters, its tags, and that it runs."""
        tags = {
            "mlflow.runName": run.name,
            "wmtp.kind": run.kind,
            "wmtp.folder": run.folder,
            **dict.fromkeys(run.tags, "true"),
        }
        refused = [*self._tag(tags), *self._parameters(run.params)]
        self._client.update_run(self._run_id, status="RUNNING")
        return refused

    def _parameters(self, params: Mapping[str, str]) -> list[str]:
        """Parameters cannot change: those that did since the first session are tags ``changed.<name>``."""
        from mlflow.entities import Param

        sent: dict[str, str] = self._memory.setdefault("params", {})
        told = {self._name(key): _short(value, LONGEST_PARAM) for key, value in params.items()}
        new = [(key, Param(key, value)) for key, value in told.items() if key not in sent]
        refused = []
        for start in range(0, len(new), _PARAMS_AT_ONCE):
            refused += self._batch("params", new[start : start + _PARAMS_AT_ONCE])
        sent |= {key: told[key] for key, _ in new}
        changed = {f"changed.{key}": value for key, value in told.items() if sent[key] != value}
        return [*refused, *self._tag(changed)]

    def points(self, points: Sequence[wmtp.Point]) -> Sequence[str]:
        """Numbers under names that MLflow takes. Infinities are refused: MLflow would keep 1.8e308 instead."""
        from mlflow.entities import Metric

        refused, metrics = [], []
        for p in points:
            where = f"{p.key} at step {p.step}"
            if math.isinf(p.value):
                refused.append(f"{where} is {p.value}, which MLflow cannot keep")
            else:
                metrics.append((where, Metric(self._name(p.key), p.value, round(p.time * 1000), p.step)))
        return [*refused, *self._batch("metrics", metrics)]

    def _tag(self, tags: Mapping[str, str]) -> list[str]:
        from mlflow.entities import RunTag

        named = [(key, RunTag(self._name(key), _short(value, LONGEST_TAG))) for key, value in tags.items()]
        return self._batch("tags", named)

    def _batch(self, field: str, named: Sequence[tuple[str, Any]]) -> list[str]:
        """One request, or, where the server refuses it as a whole for one of its parts, one for each half.

        Args:
            field: ``metrics``, ``params`` or ``tags``.
            named: (what messages call it, MLflow's record) of each part.

        Returns:
            What was refused.
        """
        from mlflow.exceptions import MlflowException

        if not named:
            return []
        try:
            self._client.log_batch(self._run_id, **{field: [record for _, record in named]})
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" or _GONE in str(error):
                raise wmtp.ConfigError(
                    f"run {self._run_id} at {self._settings.tracking_uri} was deleted. Restore it there, or remove "
                    "tracking/mlflow.json in the run folder: all is then sent to a new one"
                ) from error
            if error.error_code not in _NEVER:
                raise
            if len(named) == 1:
                return [f"{named[0][0]} was refused: {error.message}"]
            half = len(named) // 2
            return [*self._batch(field, named[:half]), *self._batch(field, named[half:])]
        return []

    def artifact(self, path: Path) -> Sequence[str]:
        """Uploads a small file. A server that cannot keep artifacts costs nothing but them."""
        from mlflow.exceptions import MlflowException

        size = path.stat().st_size / 2**20
        if size > self._settings.artifact_mib:
            self._tag({f"file.{path.name}": str(path)})
            return [f"{path.name} has {size:.1f} MiB, more than artifact_mib: its place is a tag"]
        try:
            self._client.log_artifact(self._run_id, str(path))
        except (ImportError, MlflowException) as error:
            if isinstance(error, MlflowException) and error.error_code not in _NEVER:
                raise
            return [f"{path.name} was not uploaded: {error}"]
        return []

    def link(self, name: str, target: str) -> Sequence[str]:
        """A tag."""
        return self._tag({name: target})

    def end(self, status: str, time: float) -> Sequence[str]:
        """Says how the session ended, and the names that were mapped."""
        if names := {made: name for made, name in self._names.items() if made != name}:
            self._tag({_NAMES: json.dumps(names, ensure_ascii=False)})
        self._client.set_terminated(self._run_id, status.upper(), end_time=round(time * 1000))
        return []

    def _name(self, name: str) -> str:
        return mapped(name, self._names)


def _short(value: str, longest: int) -> str:
    """MLflow cuts without a word, and calls two texts that differ behind the cut equal. This says what was cut."""
    if len(value) <= longest:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    tail = f"… ({len(value)} characters, sha256 {digest})"
    return value[: longest - len(tail)] + tail
