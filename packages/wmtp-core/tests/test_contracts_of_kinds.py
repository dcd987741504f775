"""The contracts in wmtp.testing hold for what comes with core; FakeEngine ends answers as engines do."""

from __future__ import annotations

from typing import ClassVar

import pytest

import wmtp
import wmtp.builtin
from wmtp.testing import ArchitectureContract, CommandContract, ControlContract, FakeEngine


class Core:
    plugin = wmtp.builtin

    def plugins(self, *others):
        return wmtp.create_plugin_manager(plugins=others, entry_points=False)


class TestUniform(Core, ControlContract):
    control = "uniform"

    def test_every_trained_token_weighs_the_same(self):
        _, mask, found = self._weights(3, 4)
        assert all(len(set(found[row][mask[row]].tolist())) == 1 for row in range(2))


class TestShuffled(Core, ControlContract):
    control = "shuffled"

    def test_it_deals_the_same_weights_to_others(self):
        weights, mask, found = self._weights(3, 4)
        for row in range(2):
            before, after = weights[row][mask[row]].tolist(), found[row][mask[row]].tolist()
            assert before != after
            assert sorted(before) == sorted(after)
        assert found[0].tolist() != self._weights(5, 4)[2][0].tolist()


class TestEval(Core, CommandContract):
    command = "eval"


class TestPlugins(Core, CommandContract):
    command = "plugins"


class TestQwen35(Core, ArchitectureContract):
    architecture = "qwen3.5"
    config: ClassVar = {"model_type": "qwen3_5_text", "num_hidden_layers": 24, "mtp_num_hidden_layers": 1}
    names = (
        "model.layers.0.linear_attn.A_log", "model.layers.23.self_attn.q_proj.weight", "model.norm.weight",
        "mtp.fc.weight", "mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight", "mtp.norm.weight",
        "mtp.layers.0.self_attn.q_proj.weight",
    )  # fmt: skip


class TestDeepSeek(Core, ArchitectureContract):
    architecture = "deepseek-v3"
    config: ClassVar = {"model_type": "deepseek_v3", "num_hidden_layers": 4}
    names = (
        "model.layers.3.self_attn.o_proj.weight", "model.norm.weight", "model.layers.4.enorm.weight",
        "model.layers.4.hnorm.weight", "model.layers.4.eh_proj.weight", "model.layers.4.shared_head.norm.weight",
        "model.layers.4.self_attn.o_proj.weight",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "stop", "tokens", "text", "reason"),
    [
        ("def f(): pass\n\nprint(1)", ("\nprint",), 99, "def f(): pass\n", "stop"),
        ("a b c d", ("x", "c", "b"), 99, "a ", "stop"),
        ("a b  c d", (), 3, "a b  c", "length"),
        ("a b", (), 2, "a b", "stop"),
    ],
)
def test_a_scripted_answer_ends_where_an_engine_would_end_it(answer, stop, tokens, text, reason):
    key = wmtp.SampleKey(evaluator="e", problem="p", index=0)
    request = wmtp.GenerationRequest(key=key, prompt="x", stop=stop, max_new_tokens=tokens)
    (completion,) = FakeEngine({"p": [answer]}).generate([request], wmtp.Sampling())
    assert (completion.text, completion.finish_reason) == (text, reason)
