"""Places to look for a resource, in order, and one error that tells why none of them served."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs

from wmtp.errors import Attempt, ResourceError
from wmtp.specs import Resource


def offline() -> bool:
    """Whether nothing outside this machine is to be asked: ``WMTP_OFFLINE=1``."""
    return os.environ.get("WMTP_OFFLINE", "").lower() in ("1", "true", "yes")


class NotHere(Exception):  # noqa: N818  (an answer, not a fault)
    """This place does not have it; the text is the reason."""


@attrs.frozen
class Place:
    """One place: its name for people, and a function that returns the resource or raises `NotHere`."""

    name: str
    look: Callable[[], Resource]


def resolve(what: str, places: Sequence[Place], advice: str) -> Resource:
    """The resource from the first place that has it. Raises ResourceError with every place's own reason."""
    attempts = []
    for place in places:
        try:
            return place.look()
        except NotHere as absent:
            attempts.append(Attempt(place.name, str(absent)))
    raise ResourceError(f"{what} was not found. Tried, in order:", attempts, advice)
