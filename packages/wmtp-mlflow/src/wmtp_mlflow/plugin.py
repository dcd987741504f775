"""The hook implementations of wmtp-mlflow."""

from __future__ import annotations

import wmtp
from wmtp_mlflow.settings import MlflowSettings


@wmtp.hookimpl
def wmtp_trackers() -> list[wmtp.TrackerSpec]:
    return [
        wmtp.TrackerSpec(
            name="mlflow",
            summary="an MLflow server, or sqlite:/// without one",
            settings=MlflowSettings,
            target="wmtp_mlflow.tracker:MlflowTracker",
        )
    ]
