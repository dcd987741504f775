"""`wmtp heads add`: a plain Llama gets heads, and writes what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config, Qwen3Config

import wmtp
from wmtp.cli.heads import command
from wmtp.models.architectures.families import FAMILIES
from wmtp.models.load import load_model
from wmtp.models.parallel import save_with_heads, with_heads, with_modules

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


class NoTokenizer:
    def save_pretrained(self, folder: Path) -> None:
        """Nothing to keep."""


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZES, tie_word_embeddings=False),
        LlamaConfig(**SIZES, tie_word_embeddings=True),
        MistralConfig(**SIZES, sliding_window=None, head_dim=12),
        Qwen2Config(**SIZES, rope_theta=1e6),
    ],
    ids=["llama", "tied", "mistral", "qwen2"],
)
def test_the_next_token_stays_and_new_heads_begin_as_the_last_layer(tmp_path: Path, config: Any) -> None:
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in plain.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    save_with_heads(plain, NoTokenizer(), 2, tmp_path / "more")
    more = AutoModelForCausalLM.from_pretrained(tmp_path / "more").eval()
    ids = torch.randint(50, (2, 7))
    with torch.no_grad():
        assert torch.equal(more(ids).logits, plain(ids).logits)
        every = more(ids, return_all_heads=True).logits
    assert isinstance(more, wmtp.MtpLlamaForCausalLM)
    assert more.head_count() == 3
    assert all(torch.equal(every[:, :, 0], every[:, :, head]) for head in (1, 2))


def test_others_and_folders_that_hold_something_are_refused(tmp_path: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match=r"this model is qwen3\. --kind sequential adds"):
        with_heads(AutoModelForCausalLM.from_config(Qwen3Config(**SIZES)), 1)
    with pytest.raises(wmtp.ConfigError, match="a window of 4 tokens"):
        with_heads(AutoModelForCausalLM.from_config(MistralConfig(**SIZES, sliding_window=4)), 1)
    made = with_heads(LlamaForCausalLM(LlamaConfig(**SIZES)), 1)
    with pytest.raises(wmtp.ConfigError, match="2 heads already"):
        with_heads(made, 1)
    (tmp_path / "something").touch()
    with pytest.raises(wmtp.ConfigError, match="is not empty"):
        save_with_heads(LlamaForCausalLM(LlamaConfig(**SIZES)), NoTokenizer(), 1, tmp_path)


def test_modules_are_added_behind_any_trunk_under_its_familys_names_and_read_again(
    tmp_path: Path, byte_tokenizer: Any
) -> None:
    plain = AutoModelForCausalLM.from_config(Qwen3Config(**{**SIZES, "vocab_size": 300}))
    plain.save_pretrained(tmp_path / "plain")
    byte_tokenizer.save_pretrained(tmp_path / "plain")
    arguments = ["add", str(tmp_path / "plain"), "--to", str(tmp_path / "more"), "--kind", "sequential", "--count", "2"]
    assert CliRunner().invoke(command, arguments, obj=wmtp.Session()).exit_code == 0
    more = load_model(tmp_path / "more", device="cpu", architectures=FAMILIES)
    assert (more.heads.family, more.heads.modules, more.heads.used) == ("deepseek-v3", 2, True)
    ids = torch.randint(300, (1, 7))
    with torch.no_grad():
        assert torch.equal(more.model(ids).logits, plain.eval()(ids).logits)
    with pytest.raises(wmtp.ConfigError, match="has heads already: 2 deepseek-v3 modules"):
        with_modules(more, 1, FAMILIES)


def test_a_model_is_still_measured_by_its_name_alone() -> None:
    said = CliRunner().invoke(command, ["./nowhere-at-all"], obj=wmtp.Session(), catch_exceptions=True)
    assert isinstance(said.exception, wmtp.ResourceError | wmtp.ConfigError)
