"""Parallel heads added to a plain Llama: the trunk as it is, and further heads that begin as copies of its last layer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from wmtp.errors import ConfigError
from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM


def with_heads(model: Any, count: int) -> MtpLlamaForCausalLM:
    """A model with `count` further heads, to be trained; the next token is predicted as before.

    Args:
        model: A `transformers.LlamaForCausalLM`.
        count: Heads beside the next-token head.

    Raises:
        ConfigError: It is no Llama, or has further heads already.
    """
    if isinstance(model, MtpLlamaForCausalLM):
        raise ConfigError(f"the model has {model.head_count()} heads already; train those")
    if model.config.model_type != "llama":
        raise ConfigError(
            f"heads can be added to Llama models, and this one is {model.config.model_type}: a head is one more of "
            "Llama's last layer"
        )
    known = {k: v for k, v in model.config.to_dict().items() if k not in ("model_type", "architectures", "auto_map")}
    made: MtpLlamaForCausalLM = MtpLlamaForCausalLM(MtpLlamaConfig(**known, n_future_tokens=count + 1)).to(model.dtype)
    missing, unexpected = made.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("extra_heads.") for name in missing)
    for head in made.extra_heads:
        head.load_state_dict(model.model.layers[-1].state_dict())
    made.generation_config = model.generation_config
    made.eval()
    return made


def save_with_heads(model: Any, tokenizer: Any, count: int, folder: Path) -> Path:
    """`with_heads`, written in transformers format, whole or not at all.

    Raises:
        ConfigError: As `with_heads`; or there is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; name another folder")
    made = with_heads(model, count)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
