"""Adapters by peft, put into the model in place, so that its heads stay where they are; merged for exports."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import wmtp
from wmtp_train.settings import LoraConfig


def add_adapters(model: nn.Module, lora: LoraConfig) -> None:
    """Puts adapters into the model and freezes everything else.

    Raises:
        PluginError: peft is not installed.
        ConfigError: The model has none of the modules that are named.
    """
    try:
        from peft import LoraConfig as PeftConfig
        from peft import inject_adapter_in_model
    except ImportError:
        raise wmtp.PluginError('train.lora needs peft: pip install "wmtp-train[lora]"') from None
    made = PeftConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.target_modules)
    )
    model.requires_grad_(False)
    try:
        inject_adapter_in_model(made, model)
    except ValueError as error:
        raise wmtp.ConfigError(f"train.lora.target_modules: {str(error).splitlines()[0]}") from None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights that a model without adapters would have, by its names."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.merge()
    found: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        if "lora_" not in name:
            found[name.replace(".base_layer.", ".")] = tensor.detach().cpu()
    return found
