"""The options of ``eval.evaluators.codecontests-v1``."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import validators

from wmtp.kit import ChatSettings, PartialCredit


@attrs.frozen(kw_only=True)
class CodeContestsSettings(ChatSettings, PartialCredit):
    """What of CodeContests is asked, and how long programs may take.

    Attributes:
        split: ``train``, ``valid`` or ``test`` (13328 / 117 / 165 problems on the hub).
        max_tests: Tests judged a problem, public ones first; ``null``: all.
        time_factor: The problem's own time limit is multiplied by it, since limits are made for C++; never under 2 s.
    """

    split: Literal["train", "valid", "test"] = "test"
    max_tests: int | None = attrs.field(default=None, validator=validators.optional(validators.ge(1)))
    time_factor: float = attrs.field(default=5.0, validator=validators.gt(0))
