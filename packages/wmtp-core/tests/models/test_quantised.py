"""Quantised folders: whatever package reads them is named before anything large is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wmtp.errors import PluginError, ResourceError, WmtpError
from wmtp.models import load_model
from wmtp.models.causal import check_early

METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "bitsandbytes, 4 bits": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes"),
    "bitsandbytes, 8 bits": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptqmodel|optimum"),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128}, "gptqmodel|autoawq"),
    "compressed-tensors": (
        {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
        "compressed.tensors",
    ),
    "quanto": ({"quant_method": "quanto", "weights": "int8"}, "optimum-quanto"),
    "aqlm": ({"quant_method": "aqlm"}, "aqlm"),
}
PACKAGES = ("bitsandbytes", "gptqmodel", "compressed_tensors", "optimum", "aqlm")


def quantised(folder: Path, section: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "llama", "quantization_config": section}), encoding="utf-8")
    (folder / "model.safetensors").unlink()  # never looked at
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_the_package_that_is_missing_is_named_from_config_json_alone(folder: Path, name: str) -> None:
    section, package = METHODS[name]
    quantised(folder, section)
    for look in (check_early, load_model):
        with pytest.raises(PluginError, match=rf"config\.json: the weights are quantised .*({package})") as told:
            look(folder)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"quant_method": "to_come"}, r"quantised \(to_come\), and transformers knows only .*gptq"),
        ({"bits": 4}, r"quantised \(an unnamed method\), and transformers knows only"),
        ({"quant_method": "gptq"}, r"quantised \(gptq\), which cannot be run here\. .*bits"),
    ],
)
def test_a_method_that_nobody_knows_is_refused(folder: Path, section: dict[str, Any], says: str) -> None:
    with pytest.raises(ResourceError, match=says):
        check_early(quantised(folder, section))


def test_a_section_of_another_form_is_no_quantisation(folder: Path) -> None:
    """As transformers has it: what is empty there says nothing."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "quantization_config": None}), encoding="utf-8")
    assert load_model(folder).identity["format"] == "transformers"


def test_what_the_messages_rest_on_is_so_here() -> None:
    """The tests above are about packages that are not installed."""
    from importlib.util import find_spec

    assert not [name for name in PACKAGES if find_spec(name)]
    assert issubclass(PluginError, WmtpError)
