"""Further heads for a model that has none: parallel ones (copies of its last layer), or sequential modules behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmtp.contracts.architectures import ArchitectureSpec
from wmtp.errors import ConfigError
from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

if TYPE_CHECKING:
    from wmtp.models.architectures.module import SequentialModules
    from wmtp.models.load import LoadedModel

LIKE_LLAMA = ("llama", "mistral", "qwen2")
"""Model types whose layers are Llama's; Qwen2's biases are Llama's with one of zeros behind attention."""
ANY_TRUNK = "deepseek-v3"
"""The family whose names modules get behind a trunk that no family's record is for."""


def with_heads(model: Any, count: int) -> MtpLlamaForCausalLM:
    """A model with `count` further heads, to be trained; the next token is predicted as before.

    Args:
        model: Of `transformers`, of one of the types `LIKE_LLAMA`, without a window.
        count: Heads beside the next-token head.

    Raises:
        ConfigError: It is of another family, or has further heads already.
    """
    if isinstance(model, MtpLlamaForCausalLM):
        raise ConfigError(f"the model has {model.head_count()} heads already; train those")
    config = model.config
    if config.model_type not in LIKE_LLAMA:
        raise ConfigError(
            f"parallel heads can be added to {', '.join(LIKE_LLAMA)}, whose layers are Llama's, and this model is "
            f"{config.model_type}. --kind sequential adds modules like DeepSeek's to it instead"
        )
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"} or (
        config.model_type == "mistral" and config.sliding_window is not None
    ):
        raise ConfigError(
            f"this {config.model_type} has layers that see a window of {config.sliding_window} tokens, and heads of Llama's "
            "layer see all. --kind sequential adds modules like DeepSeek's to it instead"
        )
    qwen = {"attention_bias": True} if config.model_type == "qwen2" else {}
    made: MtpLlamaForCausalLM = MtpLlamaForCausalLM(
        MtpLlamaConfig(**{**_of_llama(config), **qwen}, n_future_tokens=count + 1)
    ).to(model.dtype)
    missing, unexpected = made.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    trunk = [name for name in missing if not name.startswith("extra_heads.")]
    assert all(qwen and name.endswith("o_proj.bias") for name in trunk)
    for name in trunk:
        made.get_parameter(name).data.zero_()
    for head in made.extra_heads:
        head.load_state_dict(made.model.layers[-1].state_dict())
    made.generation_config = model.generation_config
    made.eval()
    return made


def _of_llama(config: Any) -> dict[str, Any]:
    """What Llama's configuration has a place for."""
    from transformers import LlamaConfig

    known = set(LlamaConfig().to_dict()) | {"head_dim", "bos_token_id", "eos_token_id", "pad_token_id"}
    return {
        name: value
        for name, value in config.to_dict().items()
        if name in known - {"model_type", "architectures", "transformers_version"}
    }


def with_modules(loaded: LoadedModel, count: int, specs: Sequence[ArchitectureSpec]) -> SequentialModules:
    """`count` modules behind a loaded trunk of any family, to be trained; they are named as its own family's are.

    Raises:
        ConfigError: It has heads already, or modules of its family are not run here.
        ResourceError: It has no layer of full attention, or its parts are not where they are looked for.
    """
    from wmtp.models.architectures.fresh import new_modules

    if loaded.heads.modules:
        raise ConfigError(f"the model has heads already: {loaded.heads}; train those")
    kind = loaded.model.config.get_text_config().model_type
    spec = next((one for one in specs if kind in one.model_types), None)
    if spec is None:
        spec = next(one for one in specs if one.name == ANY_TRUNK)
    if spec.refusal:
        raise ConfigError(f"{kind}: modules of family {spec.name} cannot be added: {spec.refusal}")
    if count > 1 and not all("{" in start for start in spec.tensors):
        raise ConfigError(f"{kind}: modules of family {spec.name} share tensors, so only one can be added and trained")
    return new_modules(loaded.model, spec, count)


def save_with_modules(loaded: LoadedModel, count: int, folder: Path, specs: Sequence[ArchitectureSpec]) -> Path:
    """`with_modules`, written in transformers format, whole or not at all. Raises as `with_modules` and `save_with_heads`."""
    from wmtp.models.architectures.fresh import save_modules

    _check_empty(folder)
    modules = with_modules(loaded, count, specs)
    return _written(loaded.model, loaded.tokenizer, folder, lambda partial: save_modules(modules, partial))


def save_with_heads(model: Any, tokenizer: Any, count: int, folder: Path) -> Path:
    """`with_heads`, written in transformers format, whole or not at all.

    Raises:
        ConfigError: As `with_heads`; or there is something in the folder.
    """
    _check_empty(folder)
    return _written(with_heads(model, count), tokenizer, folder, lambda partial: None)


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; name another folder")


def _written(model: Any, tokenizer: Any, folder: Path, more: Callable[[Path], object]) -> Path:
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        more(partial)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
