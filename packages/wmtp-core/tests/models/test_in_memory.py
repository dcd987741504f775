"""A model that a program has in memory is evaluated as it is, and a run knows it by its weights."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import torch

import wmtp
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import ConfigError, GenerationError
from wmtp.generation.stepping import accepted_arguments
from wmtp.models import load_model
from wmtp.testing.architectures import NumberTokenizer, engine_tokens, tiny_model


@pytest.fixture
def loaded(folder: Path) -> Any:
    return load_model(folder)


def run(engine: Any, runs: Path, name: str = "memory") -> wmtp.Results:
    plugins = wmtp.create_plugin_manager()
    recipe = {
        "run": {"name": name},
        "eval": {"metrics": ["toy_pass@1"], "limit": 2, "sampling": {"temperature": 0.0, "max_new_tokens": 8}},
    }
    return wmtp.evaluate(
        wmtp.load_config({"judging": {"level": "process", "workers": 1}}, plugins=plugins),
        wmtp.load_recipe(recipe, plugins=plugins),
        plugins=plugins, engine=engine, runs=runs,
    )  # fmt: skip


def texts(folder: Path) -> list[str]:
    return [sample.completion for sample in wmtp.open_run(folder).samples("toy-v1")]


def test_a_model_in_memory_writes_what_its_folder_writes(loaded: Any, folder: Path, tmp_path: Path) -> None:
    results = run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")
    assert results.complete
    plugins = wmtp.create_plugin_manager()
    recipe = wmtp.load_recipe({"model": {"base_id": str(folder)}}, plugins=plugins)
    stored = wmtp.create_model_loader(wmtp.load_config({}, plugins=plugins), recipe, plugins=plugins).load()
    again = run(stored, tmp_path / "runs", "folder")
    assert texts(results.folder) == texts(again.folder)
    assert len(texts(results.folder)) == 2


def test_a_run_is_gone_on_with_by_the_same_weights_alone(loaded: Any, tmp_path: Path) -> None:
    run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")
    run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")
    with torch.no_grad():
        loaded.model.lm_head.weight[0, 0] += 1
    with pytest.raises(ConfigError, match="weights_sha256"):
        run(wmtp.engine(loaded.model, loaded.tokenizer), tmp_path / "runs")


def test_the_engine_stays_open(loaded: Any, tmp_path: Path) -> None:
    engine = wmtp.engine(loaded.model, loaded.tokenizer)
    closed: list[bool] = []
    engine.close = lambda: closed.append(True)  # type: ignore[attr-defined]
    run(engine, tmp_path / "runs")
    assert not closed


def test_what_is_no_model_and_what_has_no_values_is_told(loaded: Any) -> None:
    with pytest.raises(ConfigError, match="the model is a str"):
        wmtp.engine("a/folder", loaded.tokenizer)
    with torch.device("meta"):
        empty = type(loaded.model)(loaded.model.config)
    with pytest.raises(ConfigError, match="meta device"):
        wmtp.engine(empty, loaded.tokenizer)


def test_weights_changed_in_place_between_two_evaluations_are_noticed(loaded: Any, tmp_path: Path) -> None:
    engine = wmtp.engine(loaded.model, loaded.tokenizer)
    first = run(engine, tmp_path / "runs", "before")
    run(engine, tmp_path / "runs", "before")
    loaded.model.lm_head.weight.data.mul_(2)  # no version counter of torch's rises
    with pytest.raises(ConfigError, match="weights_sha256"):
        run(engine, tmp_path / "runs", "before")
    second = run(engine, tmp_path / "runs", "after")
    known = [r.to_json()["provenance"]["model"]["weights_sha256"] for r in (first, second)]
    assert known[0] != known[1]


def test_a_run_counts_what_was_done_for_it_alone(loaded: Any, tmp_path: Path) -> None:
    engine = wmtp.engine(loaded.model, loaded.tokenizer)
    first, second = (run(engine, tmp_path / "runs", name).record.generation for name in ("a", "b"))
    assert (first.samples, first.tokens_per_forward) == (second.samples, second.tokens_per_forward)
    assert wmtp.open_run(tmp_path / "runs" / "b").record.generation.tokens == first.tokens
    assert engine.stats.tokens == first.tokens


def test_each_module_is_in_its_own_mode_again(loaded: Any, tmp_path: Path) -> None:
    model = loaded.model.train()
    frozen = next(model.children()).eval()
    modes = [module.training for module in model.modules()]
    engine = wmtp.engine(model, loaded.tokenizer)
    assert [module.training for module in model.modules()] == modes
    run(engine, tmp_path / "runs")
    assert [module.training for module in model.modules()] == modes
    request = GenerationRequest(
        key=SampleKey(evaluator="e", problem="p", index=0), prompt="a", max_new_tokens=4, reference=None
    )
    completions = engine.generate([request, attrs.evolve(request, key=attrs.evolve(request.key, index=1))], Sampling())
    next(completions)  # and it is not read to its end
    assert [module.training for module in model.modules()] == modes
    assert model.training
    assert not frozen.training


class Numbers(NumberTokenizer):
    special_tokens_map: ClassVar[dict[str, str]] = {}

    def get_vocab(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize("kind", ["llama", "mamba2"])
def test_a_wrapped_model_writes_what_the_one_within_does(kind: str) -> None:
    """What a wrapper's forward takes is anything, and tells nobody how the model's own calls its positions and its cache."""
    import peft

    def written(model: Any) -> dict[Any, Any]:
        return engine_tokens(wmtp.engine(model, tokenizer, batch_size=2), tokens=6)

    tokenizer, model = Numbers(), tiny_model(kind)
    before = written(model)
    config = peft.LoraConfig(target_modules={"llama": ["q_proj"], "mamba2": ["in_proj"]}[kind], task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, config)
    assert accepted_arguments(wrapped) == accepted_arguments(model)
    assert written(wrapped) == before, "adapters begin as nothing"
    tuned = peft.get_peft_model(
        tiny_model("llama"), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    )
    with pytest.raises(ConfigError, match="prompts that were trained"):
        wmtp.engine(tuned, tokenizer)


def test_a_model_without_an_output_is_told() -> None:
    trunk = tiny_model("llama").model
    with pytest.raises(
        ConfigError, match=r"a LlamaModel has nothing that scores tokens\. Load it with .*AutoModelForCausalLM"
    ):
        wmtp.engine(trunk, Numbers())


def test_what_is_no_tokenizer_is_told(loaded: Any) -> None:
    for wrong in (None, "a/folder", loaded.model):
        with pytest.raises(ConfigError, match=f"the tokenizer is a {type(wrong).__name__}"):
            wmtp.engine(loaded.model, wrong)


def test_a_batch_is_no_larger_than_its_requests(loaded: Any, tmp_path: Path) -> None:
    results = run(wmtp.engine(loaded.model, loaded.tokenizer, batch_size=100_000_000), tmp_path / "runs")
    assert results.complete


def test_a_batch_that_no_memory_holds_is_refused_with_the_number_that_fits(loaded: Any) -> None:
    engine = wmtp.engine(loaded.model, loaded.tokenizer, batch_size=100_000_000)
    requests = (
        GenerationRequest(key=SampleKey(evaluator="e", problem="p", index=i), prompt="a", max_new_tokens=4)
        for i in itertools.count()
    )
    with pytest.raises(GenerationError, match=r"eval\.batch_size: 100000000 rows .* set it to \d+ at most"):
        next(engine.generate(requests, Sampling()))
