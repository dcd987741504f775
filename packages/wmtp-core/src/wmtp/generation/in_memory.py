"""`engine`: a model and a tokenizer that a program has already, as an engine that a run can be evaluated with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wmtp.errors import ConfigError

if TYPE_CHECKING:
    from wmtp.generation.engine import DecodingEngine

_TOKENIZER = ("get_vocab", "decode", "eos_token_id", "special_tokens_map")


def engine(
    model: Any,
    tokenizer: Any,
    *,
    n_heads: int | None = None,
    speculative: str = "auto",
    batch_size: int | None = None,
) -> DecodingEngine:
    """An engine over a model in memory, for ``wmtp.evaluate(..., engine=...)``.

    The weights are hashed here, and again whenever a run is given the engine: what a run's samples were made with is known by
    them, so that a run of a model that was trained on meanwhile does not go on with samples of before.

    Args:
        model: a causal language model of transformers, on one device or spread over several (``device_map``,
            ``accelerate.cpu_offload``). It is run in eval mode, and is in the mode that it was in whenever it is not run.
        tokenizer: of transformers.
        n_heads: heads to draft with, the next-token head included; ``None``: all that the model has.
        speculative: ``"auto"``, or ``"off"``.
        batch_size: rows decoded together; ``None``: planned from free memory.

    Raises:
        ConfigError: the model is none that can be decoded, the tokenizer is none, or parts of the model have no values (a meta
            device).
        GenerationError: there are fewer heads than asked for.
    """
    import torch

    from wmtp.generation.memory_engine import InMemoryEngine
    from wmtp.models.causal import refusal

    if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
        raise ConfigError(
            f"wmtp.engine takes a model of transformers and its tokenizer; the model is a {type(model).__name__}"
        )
    if not callable(tokenizer) or not all(hasattr(tokenizer, name) for name in _TOKENIZER):
        raise ConfigError(
            f"wmtp.engine takes a model of transformers and its tokenizer; the tokenizer is a {type(tokenizer).__name__}. "
            "Load it with transformers.AutoTokenizer.from_pretrained(…)"
        )
    if why := refusal(model.config):
        raise ConfigError(why)
    if not getattr(model, "can_generate", lambda: True)():
        raise ConfigError(
            f"wmtp.engine takes a causal language model; a {type(model).__name__} has nothing that scores tokens. Load it with "
            "transformers.AutoModelForCausalLM"
        )
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ConfigError("prompts that were trained (peft's prompt learning) stand beside a model and are not decoded")
    return InMemoryEngine(model, tokenizer, n_heads=n_heads, speculative=speculative, batch_size=batch_size)


def identity_of(model: Any, tokenizer: Any) -> Mapping[str, str]:
    """What decides the samples of a model in memory, as it is now. Raises ConfigError where a tensor has no values.

    All weights are read: torch's version counters say nothing of changes through ``.data``, which is how averaged weights are
    often swapped in.
    """
    from wmtp.models.placement import input_device
    from wmtp.models.quantised import method_of

    identity = {
        "format": "in memory",
        "architecture": type(model).__name__,
        "weights_sha256": _weights_digest(model),
        "config_sha256": _digest_of_rest(model, tokenizer),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": input_device(model).type,
    }
    config: Any = model.config
    if method := method_of(config.to_dict()):
        identity["quantised"] = method
    return identity


def _weights_digest(model: Any) -> str:
    import torch

    from wmtp.models.placement import tensors_of

    whole = hashlib.sha256()
    for name, tensor in tensors_of(model):
        if tensor.device.type == "meta":
            raise ConfigError(f"{name} has no values (it is on torch's meta device); load the weights first")
        plain = tensor.detach().to("cpu").contiguous().flatten().view(torch.uint8)
        whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        whole.update(plain.numpy().data)
    return whole.hexdigest()


def _digest_of_rest(model: Any, tokenizer: Any) -> str:
    """Of what else decides a sample: configurations, the tokenizer's pieces and rules, its chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = {
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict() if getattr(model, "generation_config", None) else {},
        "vocabulary": backend.to_str() if backend is not None else tokenizer.get_vocab(),
        "special": tokenizer.special_tokens_map,
        "template": getattr(tokenizer, "chat_template", None),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
