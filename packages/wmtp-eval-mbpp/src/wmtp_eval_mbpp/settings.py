"""The options of ``eval.evaluators.mbpp-v1`` and ``mbpp-heads-v1``."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import validators

from wmtp.kit import ChatSettings, PartialCredit


@attrs.frozen(kw_only=True)
class MbppSettings(ChatSettings, PartialCredit):
    """What of MBPP is asked, and how.

    Attributes:
        split: ``prompt`` (ids 1–10), ``test`` (11–510), ``validation`` (511–600) or ``train`` (601–974).
        shots: Solved examples in the prompt: 3, as the data set's authors give it, or fewer.
        challenge_tests: The challenge_test_list is judged as well.
    """

    split: Literal["prompt", "test", "validation", "train"] = "test"
    shots: int = attrs.field(default=3, validator=validators.in_((0, 1, 2, 3)))
    challenge_tests: bool = False
