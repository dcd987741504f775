"""What can go wrong, grouped by what the user can do about it.

Every error that is the user's to mend derives from `WmtpError`; the command line prints its text as one paragraph and
exits with `exit_status`. Anything else is a fault of ours and shows a traceback under ``--debug``.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class WmtpError(Exception):
    """Base of every error that WMTP raises on purpose. Its text says what was wrong, where, and what to do."""

    exit_status = 2


def first_line(error: BaseException) -> str:
    """The first line of a library's message; empty where it has none."""
    return str(error).partition("\n")[0]


@attrs.frozen
class ConfigFault:
    """One thing wrong with what the user wrote: the key path (``recipe.eval.metrics[2]``), and the message."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ConfigError(WmtpError):
    """Something in config.yaml, recipe.yaml, ``--set`` or an argument is wrong; `faults` holds all of it at once."""

    def __init__(self, faults: Sequence[ConfigFault] | ConfigFault | str) -> None:
        if isinstance(faults, str):
            faults = ConfigFault("", faults)
        self.faults: tuple[ConfigFault, ...] = (faults,) if isinstance(faults, ConfigFault) else tuple(faults)
        super().__init__("\n".join(str(p) for p in self.faults))


class PluginError(WmtpError):
    """A plugin is missing, broken or in conflict; names the distributions, their versions and the pip line."""


@attrs.frozen
class Attempt:
    """One place that was tried for a resource, in order, and why it did not serve."""

    place: str
    reason: str


class ResourceError(WmtpError):
    """A model or data set could not be had; lists every place tried, in order, each with its own reason."""

    def __init__(self, message: str, attempts: Sequence[Attempt] = (), advice: str = "") -> None:
        self.attempts = tuple(attempts)
        self.advice = advice
        lines = [message, *(f"  {i}. {a.place}: {a.reason}" for i, a in enumerate(self.attempts, 1))]
        super().__init__("\n".join([*lines, advice] if advice else lines))


class JudgeError(WmtpError):
    """The judge cannot run here as asked (a sandbox layer fails its self-test, say). Never about a candidate."""


class GenerationError(WmtpError):
    """The engine cannot serve a request: a prompt longer than the context, more heads than the model has, no memory."""
