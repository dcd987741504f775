"""The hook implementations of wmtp-ray."""

from __future__ import annotations

from importlib.util import find_spec

import wmtp
from wmtp_ray.settings import RayJudgeSettings, RaySettings


def _check_installed() -> None:
    if find_spec("ray") is None:
        raise wmtp.PluginError("wmtp-ray needs Ray itself: pip install 'ray>=2.50,<3'")


def load(request: wmtp.LoadRequest) -> wmtp.Engine:
    _check_installed()
    from wmtp_ray.engine import open_engine

    return open_engine(request, request.settings or RaySettings())


def open_judge(request: wmtp.JudgeRequest) -> wmtp.Judge:
    _check_installed()
    from wmtp_ray.judging import open_ray_judge

    return open_ray_judge(request, request.settings or RayJudgeSettings())


@wmtp.hookimpl
def wmtp_judges() -> list[wmtp.JudgeSpec]:
    return [
        wmtp.JudgeSpec(
            name="ray",
            summary="the sandbox on every node of a Ray cluster",
            open=open_judge,
            settings=RayJudgeSettings,
        )
    ]


@wmtp.hookimpl
def wmtp_loaders() -> list[wmtp.LoaderSpec]:
    return [
        wmtp.LoaderSpec(
            name="ray",
            summary="spreads engines of the model over a Ray cluster; chosen with model.loader: ray",
            matches=lambda reference: False,  # it takes any reference, and only where it is asked for
            load=load,
            settings=RaySettings,
        )
    ]
