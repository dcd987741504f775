"""The hook implementations of wmtp-ray."""

from __future__ import annotations

import wmtp
from wmtp_ray.settings import RaySettings


def load(request: wmtp.LoadRequest) -> wmtp.Engine:
    from wmtp_ray.engine import open_engine

    return open_engine(request, request.settings or RaySettings())


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
