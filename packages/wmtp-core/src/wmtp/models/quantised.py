"""Folders whose weights are quantised: what config.json says of them, and whether this machine can run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmtp.errors import PluginError, ResourceError


def method_of(raw: Mapping[str, Any]) -> str:
    """How a model's weights are quantised, as its config.json names it; empty where they are not."""
    found = raw.get("quantization_config")
    if not isinstance(found, Mapping):
        return ""
    if found.get("load_in_4bit") or found.get("load_in_8bit"):
        return "bitsandbytes"
    method = found.get("quant_method") or "an unnamed method"
    return str(getattr(method, "value", method))


def check_quantisation(path: Path, raw: Mapping[str, Any]) -> None:
    """Looks whether transformers can load what config.json says of quantised weights, from that alone.

    Args:
        path: of config.json, for messages.
        raw: its content.

    Raises:
        PluginError: a package is missing; which one.
        ResourceError: the method is unknown, or does not run on this machine.
    """
    method = method_of(raw)
    if not method:
        return
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, AutoHfQuantizer

    told = f"{path}: the weights are quantised ({method})"
    known = {name.removesuffix("_4bit").removesuffix("_8bit") for name in AUTO_QUANTIZER_MAPPING}
    if method not in known:
        raise ResourceError(f"{told}, and transformers knows only {', '.join(sorted(known))}")
    try:
        quantizer = AutoHfQuantizer.from_config(dict(raw["quantization_config"]), pre_quantized=True)
        quantizer.validate_environment(device_map=None, dtype=None)
    except ImportError as error:
        raise PluginError(f"{told}, which needs a package that is not installed. {_line(error)}") from error
    except Exception as error:  # each quantizer raises what it likes for a machine that it does not run on
        raise ResourceError(f"{told}, which cannot be run here. {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
