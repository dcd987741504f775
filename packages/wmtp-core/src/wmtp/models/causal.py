"""What can be said of a model by its config.json alone, before anything large is fetched or read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from wmtp import json_text
from wmtp.errors import ResourceError
from wmtp.models.quantised import check_quantisation

_LONGEST = 400  # of a library's message
UNSUPPORTED = {
    "xlnet": "it writes with a permutation mask over two streams that only transformers' own generation makes",
    "reformer": "its hashed attention depends on what stands beside a text",
}


def refusal(config: Any) -> str:
    """Why a model with this configuration of transformers writes no text from left to right; empty where it may.

    Args:
        config: as `transformers.AutoConfig` reads it.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind = config.model_type
    if kind in UNSUPPORTED:
        return f"{kind} is not decoded: {UNSUPPORTED[kind]}"
    if getattr(config, "is_encoder_decoder", False):
        return f"{kind} is an encoder and a decoder; what continues a prompt here is a decoder alone"
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not remote:
        return f"{kind} is no causal language model: transformers has no AutoModelForCausalLM for it"
    text = config.get_text_config(decoder=True)
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and getattr(text, "is_decoder", True) is False:
        return f"{kind} reads in both directions; it decodes only where config.json says is_decoder: true"
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        return f"this {kind} reads in both directions (use_bidirectional_attention): it embeds texts, and writes none"
    return ""


def check_config(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Looks at a folder's config.json.

    Raises:
        ResourceError: it tells that the model cannot be decoded here, or cannot be known.
        PluginError: its weights are quantised in a way that a missing package reads.
    """
    import transformers
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    import wmtp.models.mtp_llama  # noqa: F401  (registers the class with transformers' Auto classes)

    path = folder / "config.json"
    try:
        raw = json_text.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResourceError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise ResourceError(f"{path} names no model_type, so nothing says what kind of model this is")
    if _needs_its_own_code(raw) and not trust_remote_code:
        raise ResourceError(
            f"{path}: {raw['model_type']} is a class that comes with the model as Python files (auto_map), and those are not "
            "run. Read them, and set model.trust_remote_code: true in the recipe if they may"
        )
    if raw["model_type"] not in CONFIG_MAPPING and not raw.get("auto_map"):
        raise ResourceError(
            f"{path}: transformers {transformers.__version__} knows no model type {raw['model_type']}, and no Python files of "
            "the model's own are named (auto_map). A newer transformers may know it: pip install --upgrade transformers"
        )
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers raises what it likes for a configuration that it does not know
        told = " ".join(str(error).split())
        told = told if len(told) < _LONGEST else f"{told[:_LONGEST]} …"
        raise ResourceError(f"{path} (model_type {raw['model_type']}): {type(error).__name__}: {told}") from error
    if why := refusal(config):
        raise ResourceError(f"{path}: {why}")
    _check_layers(path, raw)
    _check_generation(folder / "generation_config.json")
    check_quantisation(path, raw)


def _check_layers(path: Path, raw: Mapping[str, Any]) -> None:
    inner = raw.get("text_config")
    part = inner if isinstance(inner, dict) else raw
    kinds, count = part.get("layer_types"), part.get("num_hidden_layers")
    if isinstance(count, int) and count < 1:
        raise ResourceError(f"{path}: num_hidden_layers is {count}; a model has one at least")
    if isinstance(kinds, list) and isinstance(count, int) and len(kinds) < count:
        raise ResourceError(f"{path}: num_hidden_layers is {count}, and layer_types says what {len(kinds)} of them are")


def _check_generation(path: Path) -> None:
    """transformers would do without a damaged one and say nothing, and with it without the tokens that end an answer."""
    if path.is_file():
        check_object(path)


def check_object(path: Path) -> None:
    """Raises ResourceError where a file holds no JSON object."""
    try:
        whole = isinstance(json_text.loads(path.read_bytes()), dict)
    except ValueError:
        whole = False
    if not whole:
        raise ResourceError(f"{path} is damaged: it holds no JSON object. Fetch it again")


def _needs_its_own_code(raw: Mapping[str, Any]) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return bool(raw.get("auto_map")) and raw["model_type"] not in CONFIG_MAPPING


def check_early(folder: Path, *, trust_remote_code: bool = False, handled: Collection[str] = ()) -> None:
    """Raises ResourceError as `check_config` does, but only for what no later look can mend; for when weights are not here yet.

    A folder without config.json, or with a type that Python files of its own or a record handle, is left to whoever reads it
    all.

    Args:
        folder: where config.json lies.
        trust_remote_code: whether Python files that come with the model may run; they are not here yet.
        handled: types that are run with another's classes.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        raw = json_text.loads((folder / "config.json").read_bytes())
        own = _needs_its_own_code(raw) and raw["model_type"] not in handled
        known = raw["model_type"] in CONFIG_MAPPING or (own and not trust_remote_code)
        known = known or not (raw.get("auto_map") or raw["model_type"] in handled)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    if known:
        check_config(folder)
