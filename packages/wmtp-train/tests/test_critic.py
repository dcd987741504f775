"""The critic: pairs that our judge labels, length balanced away, learned, kept, and used for weights."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tiny_training import byte_tokenizer, tiny_mtp

import wmtp
from wmtp_train.critic_pairs import Pair, balance, read_pairs
from wmtp_train.critic_settings import CriticConfig
from wmtp_train.critic_train import make_critic
from wmtp_train.critics import load_critic
from wmtp_train.tokens import Document

ADD = "def add_{i}(x):\n    {pad}return x {sign} {i}\n"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: right and wrong programs for twelve problems, of several lengths, judged by our judge."""
    folder = tmp_path_factory.mktemp("judged")
    problems, samples = [], []
    for i in (2, 3, 4, *range(11, 23)):
        problems.append(
            {
                "task_id": i,
                "text": f"Write a function to add {i}.",
                "code": ADD.format(i=i, pad="", sign="+"),
                "test_list": [f"assert add_{i}({x}) == {x + i}" for x in (0, 1, 5)],
                "test_setup_code": "",
                "challenge_test_list": [],
            }
        )
        if i > 10:
            for sign, pads in itertools.product("+-", ((i % 3), (i % 3) + 3)):
                code = ADD.format(i=i, pad="pass; " * pads, sign=sign)
                samples.append({"task_id": i, "completion": code})
    (folder / "problems.jsonl").write_text("".join(json.dumps(p) + "\n" for p in problems))
    (folder / "samples.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    plugins = wmtp.create_plugin_manager()
    config = wmtp.load_config(
        {"paths": {"datasets": {"mbpp_local": str(folder / "problems.jsonl")}}, "judging": {"level": "process"}},
        plugins=plugins,
    )
    recipe = wmtp.load_recipe(
        {
            "run": {"name": "sampled"},
            "model": {"base_id": f"samples:{folder / 'samples.jsonl'}"},
            "eval": {
                "metrics": ["mbpp_pass@1"],
                "sampling": {"n": 4},
                "evaluators": {"mbpp-v1": {"shots": 0}},
            },
        },
        plugins=plugins,
    )
    results = wmtp.evaluate(config, recipe, plugins=plugins, runs=folder / "runs")
    assert results.record.metrics["mbpp_pass@1"].value == 0.5
    return folder / "runs/sampled"


def loaded(model_folder: Path) -> wmtp.LoadedModel:
    plugins = wmtp.create_plugin_manager()
    recipe = wmtp.load_recipe({"model": {"base_id": str(model_folder)}}, plugins=plugins)
    return wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load_model(
        device="cpu", dtype="float32"
    )


def settings(judged: Path, **changes: Any) -> CriticConfig:
    given = {"run": str(judged), "steps": 30, "batch_pairs": 4, "trunk_lr": 3e-3, "max_length": 512, "held_out": 0.3}
    return CriticConfig(**{**given, **changes})


def test_pairs_are_of_one_problem_passed_and_failed_as_the_judge_said(judged: Path) -> None:
    tokenizer = byte_tokenizer()
    pairs = read_pairs(settings(judged), tokenizer)
    assert len({pair.problem for pair in pairs}) == 12
    for pair in pairs:
        assert "return x +" in tokenizer.decode(pair.better.ids)
        assert "return x -" in tokenizer.decode(pair.worse.ids)


def text(length: int) -> Document:
    return Document(id="p", ids=tuple(range(length)), answer_from=1)


def test_length_says_nothing_of_which_text_passed() -> None:
    lengths = [(10, 5), (9, 5), (8, 5), (7, 6), (5, 9), (4, 5), (5, 5)]
    pairs = [Pair(problem=str(n), better=text(a), worse=text(b)) for n, (a, b) in enumerate(lengths)]
    kept = [(len(pair.better.ids), len(pair.worse.ids)) for pair in balance(pairs)]
    assert kept == [(8, 5), (7, 6), (5, 9), (4, 5), (5, 5)], "of the surplus those go that differ most"


def test_a_run_with_nothing_to_learn_from_says_what_it_has(judged: Path) -> None:
    with pytest.raises(wmtp.ConfigError, match=r"48 different judged texts for 12 problems, of which 12 have"):
        read_pairs(settings(judged, max_length=2), byte_tokenizer())
    with pytest.raises(wmtp.ConfigError, match=r"critic\.evaluator must be one"):
        read_pairs(settings(judged, evaluator="other"), byte_tokenizer())


def test_a_critic_learns_to_rank_problems_that_it_has_not_seen_and_is_made_once(
    judged: Path, model_folder: Path, tmp_path: Path
) -> None:
    made = make_critic(loaded(model_folder), settings(judged), tmp_path / "critic", seed=1)
    assert made.new
    assert made.held_out > 0
    assert made.accuracy is not None
    assert made.accuracy[0] > 0.9, "plus and minus are easy to tell"
    stored = (tmp_path / "critic/head.pt").read_bytes()
    again = make_critic(loaded(model_folder), settings(judged), tmp_path / "critic", seed=1)
    assert (again.new, again.accuracy) == (False, made.accuracy)
    assert (tmp_path / "critic/head.pt").read_bytes() == stored
    with pytest.raises(wmtp.ConfigError, match=r"made differently \(settings\)"):
        make_critic(loaded(model_folder), settings(judged, steps=31), tmp_path / "critic", seed=1)
    other = make_critic(loaded(model_folder), settings(judged), tmp_path / "other", seed=1)
    one, two = (torch.load(p / "head.pt", weights_only=True) for p in (made.folder, other.folder))
    assert all(torch.equal(one[name], two[name]) for name in one), "the same seed, the same critic"


def test_a_trunk_rate_of_nought_leaves_the_model_as_it_is(judged: Path, model_folder: Path, tmp_path: Path) -> None:
    model = loaded(model_folder)
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    make_critic(model, settings(judged, trunk_lr=0.0, steps=3), tmp_path / "critic", seed=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.model.state_dict().items())


def test_critic_wmtp_trains_by_its_values_and_its_weights_carry_no_gradient_to_it(
    judged: Path, model_folder: Path, tmp_path: Path, bench: Any
) -> None:
    make_critic(loaded(model_folder), settings(judged), tmp_path / "critic", seed=1)
    pinned = {p.name: p.read_bytes() for p in (tmp_path / "critic/model").iterdir() if p.is_file()}
    done = bench.train(train={"algo": "critic-wmtp", "critic": str(tmp_path / "critic"), "max_steps": 3})
    assert done.step == 3
    assert {p.name: p.read_bytes() for p in (tmp_path / "critic/model").iterdir() if p.is_file()} == pinned
    weighted = bench.values()
    plain = bench.renamed("plain")
    plain.train(train={"max_steps": 3})
    assert weighted[0][1]["train/loss"] != plain.values("plain")[0][1]["train/loss"], "the weights change nothing"


def test_a_critic_of_other_ids_and_a_folder_without_one_are_refused(
    judged: Path, model_folder: Path, tmp_path: Path
) -> None:
    make_critic(loaded(model_folder), settings(judged, steps=1), tmp_path / "critic", seed=1)
    other = byte_tokenizer()
    other.add_tokens(["<more>"])
    with pytest.raises(wmtp.ConfigError, match="cannot be used"):
        load_critic(tmp_path / "critic", device="cpu", tokenizer=other)
    with pytest.raises(wmtp.ConfigError, match="`wmtp critic CONFIG RECIPE` makes one"):
        load_critic(tmp_path / "none", device="cpu", tokenizer=byte_tokenizer())


def test_values_lie_where_their_tokens_do_and_do_not_depend_on_the_row_they_share(
    judged: Path, model_folder: Path, tmp_path: Path
) -> None:
    from wmtp_train.rows import Rows

    make_critic(loaded(model_folder), settings(judged, steps=2), tmp_path / "critic", seed=1)
    values: Callable[[Any], torch.Tensor]
    values, pin = load_critic(tmp_path / "critic", device="cpu", tokenizer=byte_tokenizer())
    assert len(pin.split()) == 2
    texts = [Document(id=str(n), ids=tuple(range(5, 5 + n)), answer_from=1) for n in (6, 9)]
    packed = Rows(texts, 15, several=True, prompt_weight=0.0)
    assert len(packed) == 1
    together = values(packed.batch([0]))[0]
    numbers = packed.packing[0]
    alone = [values(Rows([texts[n]], 15, several=False, prompt_weight=0.0).batch([0]))[0] for n in numbers]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-6)


def test_a_model_of_one_head_is_a_critic_too(judged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    tiny_mtp(heads=1).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    assert make_critic(loaded(folder), settings(judged, steps=1), tmp_path / "critic", seed=1).new


def test_the_command_makes_one_and_finds_it_the_second_time(judged: Path, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("devices: {device: cpu}\n")
    recipe = f"run: {{name: c}}\nmodel: {{base_id: {model_folder}}}\n"
    (tmp_path / "none.yaml").write_text(recipe)
    (tmp_path / "recipe.yaml").write_text(recipe + f"critic: {{run: {judged}, steps: 2, max_length: 512}}\n")
    run = CliRunner().invoke
    command, session = import_module("wmtp_train.cli_critic").command, wmtp.Session()
    files = [str(tmp_path / "config.yaml"), str(tmp_path / "recipe.yaml"), "--runs", str(tmp_path / "runs")]
    first, second = (run(command, files, obj=session, catch_exceptions=False) for _ in range(2))
    assert "critic: made, from " in first.output
    assert "held-out pairs rightly (95 %: " in first.output
    assert "critic: there already, from " in second.output
    files[1] = str(tmp_path / "none.yaml")
    with pytest.raises(wmtp.ConfigError, match="no section critic"):
        run(command, files, obj=session, catch_exceptions=False)
