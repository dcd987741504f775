"""What a trainer asks of MtpLlama: masks of every form, blocks to shard, the parameters behind the logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask

from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

torch.set_num_threads(1)
WIDTH = 14


def model(attention: str = "sdpa", heads: int = 3) -> MtpLlamaForCausalLM:
    torch.manual_seed(0)
    config = MtpLlamaConfig(
        vocab_size=32, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, n_future_tokens=heads, attn_implementation=attention,
    )  # fmt: skip
    return MtpLlamaForCausalLM(config).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_mask_is_causal_whatever_attention_runs(attention: str) -> None:
    ids, positions = torch.randint(32, (2, WIDTH)), torch.arange(WIDTH).expand(2, WIDTH)
    causal = torch.ones(WIDTH, WIDTH, dtype=torch.bool).tril().expand(2, 1, WIDTH, WIDTH)
    one = model(attention)
    with torch.no_grad():
        wanted = model().head_states(ids, positions, causal, None, 3)
        for mask in (None, causal):
            torch.testing.assert_close(one.head_states(ids, positions, mask, None, 3), wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_block_mask_keeps_packed_documents_apart(attention: str) -> None:
    ids = torch.randint(32, (2, WIDTH))
    cuts = (5, 9)
    segments = torch.stack([(torch.arange(WIDTH) >= cut).long() for cut in cuts])
    positions = torch.stack([torch.cat([torch.arange(cut), torch.arange(WIDTH - cut)]) for cut in cuts])

    def seen(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (query >= key) & (segments[batch, query] == segments[batch, key])

    mask = create_block_mask(seen, 2, None, WIDTH, WIDTH, device="cpu")
    one = model(attention)
    with torch.no_grad():
        packed = one.head_states(ids, positions, mask, None, 3)
        for row, cut in enumerate(cuts):
            for part in (slice(0, cut), slice(cut, WIDTH)):
                places = torch.arange(part.stop - part.start)[None]
                alone = one.head_states(ids[row : row + 1, part], places, None, None, 3)
                torch.testing.assert_close(packed[:, row, part], alone[:, 0], atol=1e-6, rtol=1e-5)


def test_blocks_and_output_parameters_are_all_there_is_but_the_embedding() -> None:
    one = model()
    blocks = {id(p) for block in one.shardable() for p in block.parameters()}
    output = {id(p) for p in one.output_parameters()}
    rest = {name for name, p in one.named_parameters() if id(p) not in blocks | output}
    assert len(one.shardable()) == 4
    assert rest == {"model.embed_tokens.weight"}
