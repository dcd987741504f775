"""The values of a frozen critic, for scorers that need them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import wmtp
from wmtp.weighting import ValueHead, check_same_tokenizer
from wmtp_train import models
from wmtp_train.critic_train import HEAD, MODEL, read_critic


def load_critic(folder: Path, *, device: str, tokenizer: Any) -> tuple[Callable[[Any], torch.Tensor], str]:
    """A critic's values of a micro-batch.

    Args:
        folder: Where it is.
        device: Where it runs.
        tokenizer: Of the model in training; the critic reads the same ids.

    Returns:
        A function from a `wmtp_train.rows.Batch` to values [rows, width], and what pins the critic.

    Raises:
        ConfigError: There is no critic in the folder, it is damaged, or it reads other ids.
    """
    read_critic(folder)
    plugins = wmtp.create_plugin_manager()
    recipe = wmtp.load_recipe({"model": {"base_id": str((folder / MODEL).absolute())}}, plugins=plugins)
    loaded = wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load_model(
        device=device, dtype="float32"
    )
    try:
        check_same_tokenizer(tokenizer, loaded.tokenizer)
    except ValueError as error:
        raise wmtp.ConfigError(f"the critic in {folder} cannot be used: {error}") from None
    model = loaded.model
    models.prepare(model)
    model.eval().requires_grad_(False)
    head = ValueHead(int(model.get_input_embeddings().weight.shape[1])).to(device)
    stored = (folder / HEAD).read_bytes()
    head.load_state_dict(torch.load(folder / HEAD, map_location=device, weights_only=True))
    head.eval().requires_grad_(False)

    def values(batch: Any) -> torch.Tensor:
        with torch.no_grad():
            return head(models.states_of(model, batch, 1)[0].float())  # type: ignore[no-any-return]

    return values, f"{loaded.identity['weights_sha256']} {hashlib.sha256(stored).hexdigest()}"
