"""Adapters by peft, put into the model in place, so that its heads stay where they are; merged for exports."""

from __future__ import annotations

from torch import nn

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
    wished = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.requires_grad_(False)
    try:
        inject_adapter_in_model(made, model)
    except ValueError as error:
        raise wmtp.ConfigError(f"train.lora.target_modules: {str(error).splitlines()[0]}") from None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name and f"{name.partition('.lora_')[0]}.weight" in wished)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise wmtp.ConfigError(
            "train.lora.target_modules names no module that is trained: train.heads (freeze_trunk, count) leaves these out"
        )


def merge_adapters(model: nn.Module) -> None:
    """Puts adapters into the weights that they stand beside: the model is as it would be without any."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            above, _, own = name.rpartition(".")
            setattr(model.get_submodule(above), own, module.get_base_layer())
