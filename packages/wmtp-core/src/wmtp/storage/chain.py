"""Places to look for a resource, in order, and one error that tells why none of them served."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs

from wmtp.contracts.loading import Resource
from wmtp.errors import Attempt, ResourceError


def offline() -> bool:
    """Whether nothing outside this machine is to be asked: ``WMTP_OFFLINE=1``."""
    return os.environ.get("WMTP_OFFLINE", "").lower() in ("1", "true", "yes")


class NotHere(Exception):  # noqa: N818  (an answer, not a fault)
    """This location does not have it; the text is the reason.

    advice: what to do where the location failed, so that nobody knows whether it has it: a full disk, no right to ask.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.advice = advice


@attrs.frozen
class Location:
    """One location: its name for people, and a function that returns the resource or raises `NotHere`."""

    name: str
    look: Callable[[], Resource]


def resolve(what: str, locations: Sequence[Location], advice: str) -> Resource:
    """The resource from the first location that has it. Raises ResourceError with every location's own reason.

    advice: what to do if no location has it. Where locations failed, their own advice stands there instead.
    """
    attempts, mending = [], []
    for location in locations:
        try:
            return location.look()
        except NotHere as absent:
            attempts.append(Attempt(location.name, str(absent)))
            if absent.advice:
                mending.append(absent.advice)
    if mending:
        raise ResourceError(f"{what} could not be had. Tried, in order:", attempts, "\n".join(dict.fromkeys(mending)))
    raise ResourceError(f"{what} was not found. Tried, in order:", attempts, advice)
