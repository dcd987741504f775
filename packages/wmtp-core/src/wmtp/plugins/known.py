"""Distributions that core has heard of. Read only to write a better error message; nothing is decided by it."""

from __future__ import annotations

import re

KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "wmtp-eval-apps": {
        "evaluator": ("apps-v1",),
        "data set": ("apps",),
        "metric": ("apps_pass@{k}", "apps_tests_passed"),
    },
    "wmtp-eval-codecontests": {
        "evaluator": ("codecontests-v1",),
        "data set": ("contest",),
        "metric": ("contest_pass@{k}", "contest_tests_passed"),
    },
    "wmtp-eval-evalplus": {
        "evaluator": ("humaneval-plus-v1", "mbpp-plus-v1"),
        "data set": ("humaneval_plus", "mbpp_plus"),
        "metric": (
            "humaneval_plus_pass@{k}",
            "humaneval_base_pass@{k}",
            "mbpp_plus_pass@{k}",
            "mbpp_base_pass@{k}",
        ),
    },
    "wmtp-eval-humaneval": {
        "evaluator": ("humaneval-v1",),
        "data set": ("humaneval",),
        "metric": ("humaneval_pass@{k}",),
    },
    "wmtp-eval-livecodebench": {
        "evaluator": ("livecodebench-v1",),
        "data set": ("livecodebench",),
        "metric": ("livecodebench_pass@{k}", "livecodebench_tests_passed"),
    },
    "wmtp-eval-mbpp": {
        "evaluator": ("mbpp-heads-v1", "mbpp-v1"),
        "data set": ("mbpp",),
        "metric": (
            "mbpp_exact",
            "mbpp_pass@{k}",
            "mbpp_tests_passed",
            *(f"mbpp_head{i}_{what}" for i in range(1, 9) for what in ("loss", "top1")),
        ),
    },
    "wmtp-mlflow": {"tracker": ("mlflow",)},
    "wmtp-tensorboard": {"tracker": ("tensorboard",)},
    "wmtp-openai": {"loader": ("openai",)},
    "wmtp-ray": {"loader": ("ray",), "judge": ("ray",)},
    "wmtp-train": {
        "section": ("train", "optim", "checkpoint", "data", "critic", "reference"),
        "command": ("train", "run", "checkpoints", "critic"),
        "trainer": ("mtp-v1",),
        "control": ("random-matched", "inverted", "position"),
        "data set": ("jsonl",),
    },
    "wmtp-s3": {"storage mode": ("s3",), "URL scheme": ("s3",)},
}


def metric_pattern(template: str) -> re.Pattern[str]:
    """What a metric name or template answers for: ``{k}`` stands for a positive integer without leading zeros."""
    return re.compile(re.escape(template).replace(re.escape("{k}"), "(?P<k>[1-9][0-9]*)"))


def known_provider(kind: str, name: str) -> str | None:
    """The known distribution that provides a name of this kind (``"storage mode"``, ``"metric"`` …), or ``None``."""
    for distribution, provides in KNOWN.items():
        if any(metric_pattern(template).fullmatch(name) for template in provides.get(kind, ())):
            return distribution
    return None
