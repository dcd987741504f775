"""The hook implementations of wmtp-openai."""

from __future__ import annotations

from collections.abc import Iterable

import wmtp
from wmtp_openai.settings import PREFIX, OpenAISettings


def load(request: wmtp.LoadRequest) -> wmtp.Engine:
    from wmtp_openai.engine import open_engine

    return open_engine(request.reference, request.settings or OpenAISettings())


def check(reference: str, settings: OpenAISettings | None) -> Iterable[wmtp.Check]:
    from wmtp_openai.checks import check_server

    return check_server(reference, settings or OpenAISettings())


@wmtp.hookimpl
def wmtp_loaders() -> list[wmtp.LoaderSpec]:
    return [
        wmtp.LoaderSpec(
            name="openai",
            summary="asks an OpenAI-compatible server: openai:http://host:8000/v1#model",
            matches=lambda reference: reference.startswith(PREFIX),
            load=load,
            check=check,
            settings=OpenAISettings,
            switches_drafts=False,
            of_one_reference=("urls",),
        )
    ]
