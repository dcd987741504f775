"""`wmtp heads add`: a plain Llama gets heads, and writes what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import wmtp
from wmtp.cli.heads import command
from wmtp.models.parallel import save_with_heads, with_heads

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


@pytest.mark.parametrize("tied", [False, True])
def test_the_next_token_stays_and_new_heads_begin_as_the_last_layer(tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(0)
    plain = LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=tied)).eval()
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
    with pytest.raises(wmtp.ConfigError, match="this one is qwen2"):
        with_heads(Qwen2ForCausalLM(Qwen2Config(**SIZES)), 1)
    made = with_heads(LlamaForCausalLM(LlamaConfig(**SIZES)), 1)
    with pytest.raises(wmtp.ConfigError, match="2 heads already"):
        with_heads(made, 1)
    (tmp_path / "something").touch()
    with pytest.raises(wmtp.ConfigError, match="is not empty"):
        save_with_heads(LlamaForCausalLM(LlamaConfig(**SIZES)), NoTokenizer(), 1, tmp_path)


def test_a_model_is_still_measured_by_its_name_alone() -> None:
    said = CliRunner().invoke(command, ["./nowhere-at-all"], obj=wmtp.Session(), catch_exceptions=True)
    assert isinstance(said.exception, wmtp.ResourceError | wmtp.ConfigError)
