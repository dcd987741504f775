"""What `import wmtp` offers and what it costs. Also run against the built wheels, without the source tree."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wmtp


@pytest.mark.parametrize("name", wmtp.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(wmtp, name) is not None
    assert name in dir(wmtp)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = wmtp.evalute  # type: ignore[attr-defined]


def test_public_names_need_no_torch_and_no_boto3() -> None:
    script = (
        "import sys, wmtp\n"
        "for name in wmtp.__all__: getattr(wmtp, name)\n"
        "print(sorted({'torch', 'transformers', 'boto3', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_model_classes_are_public_and_register_with_the_auto_classes() -> None:
    pytest.importorskip("transformers", reason="needs the extra wmtp-core[torch]")
    pytest.importorskip("torch", reason="needs the extra wmtp-core[torch]")
    assert {"MtpLlamaConfig", "MtpLlamaForCausalLM"} <= set(dir(wmtp))
    script = (
        "from wmtp import MtpLlamaConfig, MtpLlamaForCausalLM\n"
        "from transformers import AutoConfig, AutoModelForCausalLM\n"
        "config = AutoConfig.for_model('mtp_llama', vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1,"
        " num_attention_heads=1, n_future_tokens=2)\n"
        "model = AutoModelForCausalLM.from_config(config)\n"
        "print(type(config) is MtpLlamaConfig, type(model) is MtpLlamaForCausalLM, len(model.extra_heads))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True True 1\n"


def test_importing_wmtp_imports_nothing_else_of_it() -> None:
    script = "import sys, wmtp; print(sorted(m for m in sys.modules if m.startswith('wmtp.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
