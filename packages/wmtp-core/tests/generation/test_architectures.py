"""Every type of transformers writes what transformers writes, by whichever path, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Cache

import wmtp.generation.paths
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import GenerationError
from wmtp.generation.compared import RECURRENT
from wmtp.generation.engine import DecodingEngine
from wmtp.generation.paths import choose_path, compare
from wmtp.generation.stepping import OwnCache, State, join_rows, select_rows
from wmtp.testing.architectures import (
    LISTED,
    NumberTokenizer,
    engine_tokens,
    examine,
    prompts,
    reference,
    tiny_model,
)

PAGE = Path(__file__).parents[4] / "docs/models.md"
IN_CI = {
    "llama": "ragged",
    "deepseek_v3": "ragged",
    "phi3, no window": "ragged",
    "mistral": "ragged",
    "gemma3_text": "ragged",
    "gpt_neo": "aligned",
    "gpt_oss": "ragged",
    "bloom": "aligned",
    "falcon, alibi": "aligned",
    "llama, rope longrope": "aligned",
    "llama, rope dynamic, past its length": "aligned",
    "phi3, rope longrope": "aligned",
    "mamba2": "ragged",
    "qwen3_next": "ragged",
    "ctrl": "aligned",
}


@pytest.mark.parametrize("name", IN_CI)
def test_a_dozen_types_write_what_generate_writes(name: str) -> None:
    found = examine(name)
    # An older transformers has no word for recurrent states.
    known = name not in RECURRENT or hasattr(Cache, "get_conv_state")
    assert (found.path, found.wrong) == (IN_CI[name] if known else "aligned", ())


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTED)
def test_what_the_page_lists_is_so(name: str) -> None:
    try:
        found = examine(name)
    except ValueError:  # transformers does not run it at these sizes
        path, wrong = "not tried", ()
    else:
        path, wrong = found.path, found.wrong
    assert wrong == ()
    assert f"| {name} | {path} |" in PAGE.read_text(encoding="utf-8")


def test_a_difference_that_nobody_listed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that forgets its first keys, as a type would that reads a window nobody names."""
    model = tiny_model("llama")
    assert compare(model, OwnCache(model)) == ""

    class Forgets(OwnCache):
        def step(self, ids: torch.Tensor, state: State) -> tuple[State, torch.Tensor]:
            for layer in next(iter(state.kept.values())).layers:
                layer.keys[:, :, :2] = 0
            return super().step(ids, state)

    assert "logits differ by" in compare(model, Forgets(model))
    monkeypatch.setattr(wmtp.generation.paths, "RAGGED", frozenset())
    monkeypatch.setattr(wmtp.generation.paths, "OwnCache", Forgets)
    chosen = choose_path(model)
    assert chosen.path == "recomputed"
    made = DecodingEngine(model, NumberTokenizer(), identity={}, batch_size=4)
    assert made.origin["decoding"] == "recomputed"
    assert "Decoded recomputed" in made.stats.notes[0]
    found = engine_tokens(made)
    assert [found[i, 0] for i in range(len(prompts()))] == [reference(model, p, 14) for p in prompts()]


@pytest.mark.parametrize("kind", ["llama", "seed_oss"])
def test_a_stray_sliding_window_changes_nothing_as_in_a_whole_forward(kind: str) -> None:
    """These layers know no window; transformers' own generation gives them a cache that drops keys behind one."""
    model = tiny_model(kind, {"sliding_window": 32})
    made = DecodingEngine(model, NumberTokenizer(), identity={}, batch_size=4)
    assert made.path.path == "ragged"
    differ = 0
    for (i, _), ids in engine_tokens(made).items():
        assert isinstance(ids, list)
        prompt = prompts()[i]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0]
        assert logits[len(prompt) - 1 : -1].argmax(-1).tolist() == ids
        differ += reference(model, prompt, 14) != ids
    assert differ, "generate does not drop them any more: is docs/models.md right?"


def test_rows_of_a_state_are_taken_and_put_together() -> None:
    model = tiny_model("qwen3_next")
    stepper = OwnCache(model)
    ids = torch.tensor([prompts()[1], prompts()[1][::-1]])
    with torch.inference_mode():
        states = [stepper.start(row[None, :-1])[0] for row in ids]
        alone = torch.cat([stepper.step(row[None], s)[1] for row, s in zip(ids, states, strict=True)])
        states = [stepper.start(row[None, :-1])[0] for row in ids]
        both = join_rows(states, [1, 1])
        swapped = select_rows(both, torch.tensor([1, 0, 1]), 2)
        torch.testing.assert_close(stepper.step(ids[[1, 0, 1]], swapped)[1], alone[[1, 0, 1]], atol=1e-4, rtol=0)


def test_states_of_different_lengths_are_not_put_together() -> None:
    model = tiny_model("llama")
    with torch.inference_mode():
        states = [OwnCache(model).start(torch.tensor([p]))[0] for p in prompts()[:2]]
    with pytest.raises(ValueError, match="differ"):
        join_rows(states, [1, 1])


def test_logits_that_are_not_finite_are_no_answer() -> None:
    model = tiny_model("llama")
    model.model.norm.weight.data[3] = float("nan")
    for temperature in (0.0, 0.8):
        with pytest.raises(GenerationError, match=r"not finite \(computed in float32\)"):
            engine_tokens(DecodingEngine(model, NumberTokenizer(), identity={}), temperature=temperature)
    mamba = tiny_model("mamba2")
    mamba.backbone.norm_f.weight.data[3] = float("nan")
    with pytest.raises(GenerationError, match="not finite"):
        engine_tokens(DecodingEngine(mamba, NumberTokenizer(), identity={}))


@pytest.mark.parametrize("temperature", [1e-6 / 2, 1e-30, 1e-38, 1e-45, 1e-310])
def test_a_temperature_next_to_nothing_is_greedy(temperature: float) -> None:
    model = tiny_model("llama")
    made = DecodingEngine(model, NumberTokenizer(), identity={})
    assert engine_tokens(made, temperature=temperature) == engine_tokens(made)


@pytest.mark.parametrize("kind", ["llama", "mamba2"])
def test_a_prompt_with_an_id_that_has_no_row_is_refused_alone(kind: str) -> None:
    made = DecodingEngine(tiny_model(kind), NumberTokenizer(), identity={})
    wanted = [
        GenerationRequest(key=SampleKey(evaluator="e", problem=text, index=0), prompt=text, max_new_tokens=4)
        for text in ("5 6 7", "5 260 7")
    ]
    found = {c.key.problem: c for c in made.generate(wanted, Sampling())}
    assert found["5 6 7"].finish_reason == "length"
    assert "token id 260, and the model has embeddings for ids up to 259 only" in found["5 260 7"].error


def test_the_ends_of_tokenizer_and_generation_config_both_count() -> None:
    model = tiny_model("llama")
    free = engine_tokens(DecodingEngine(model, NumberTokenizer(), identity={}))[0, 0]
    assert isinstance(free, list)
    first, later = free[1], next(token for token in free[2:] if token not in free[:2])

    class Ends(NumberTokenizer):
        eos_token_id: Any = later

    assert engine_tokens(DecodingEngine(model, Ends(), identity={}))[0, 0] == free[: free.index(later)]
    model.generation_config.eos_token_id = [first]
    assert engine_tokens(DecodingEngine(model, Ends(), identity={}))[0, 0] == free[: free.index(first)]


def test_what_a_tokenizer_puts_behind_a_text_is_not_part_of_a_prompt() -> None:
    from wmtp.kit import encoded

    class Appends(NumberTokenizer):
        all_special_ids = (1, 2)

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            ids = [int(word) for word in text.split()]
            return {"input_ids": [1, *ids, 2] if add_special_tokens else ids}

    assert encoded(Appends(), "5 6") == ([1, 5, 6], False)
    assert encoded(Appends(), "5 2") == ([1, 5, 2], False)


def test_what_a_models_own_settings_ask_for_and_a_run_does_not_do_is_noted() -> None:
    model = tiny_model("llama")
    asked = model.generation_config
    asked.repetition_penalty, asked.suppress_tokens, asked.min_new_tokens = 1.3, [5], 0
    asked.temperature, asked.top_k = 0.6, 20
    made = DecodingEngine(model, NumberTokenizer(), identity={})
    engine_tokens(made, tokens=2)
    assert made.stats.notes == (
        "generation_config.json asks for repetition_penalty 1.3, suppress_tokens [5]: not applied, the recipe's sampling "
        "alone decides.",
    )
    asked.do_sample, asked.repetition_penalty, asked.suppress_tokens = True, 1.0, None
    for temperature, told in ((0.6, "top_k 20"), (0.8, "temperature 0.6, top_k 20")):
        made = DecodingEngine(model, NumberTokenizer(), identity={})
        engine_tokens(made, tokens=2, temperature=temperature)
        assert made.stats.notes[0].startswith(f"generation_config.json asks for {told}: not applied")
    asked.do_sample, asked.eos_token_id = None, ["</s>", 7]
    made = DecodingEngine(model, NumberTokenizer(), identity={})
    engine_tokens(made, tokens=2)
    assert "eos_token_id '</s>', which is no token id" in made.stats.notes[0]


@pytest.mark.parametrize("kind", ["llama", "mamba2"])
def test_an_empty_prompt_without_a_token_to_begin_with_is_refused_alone(kind: str) -> None:
    class Bare(NumberTokenizer):
        bos_token_id: Any = None

    made = DecodingEngine(tiny_model(kind), Bare(), identity={})
    wanted = [
        GenerationRequest(key=SampleKey(evaluator="e", problem=str(i), index=0), prompt=text or None, max_new_tokens=2)
        for i, text in enumerate(("", "5 6"))
    ]
    found = {c.key.problem: c for c in made.generate(wanted, Sampling())}
    assert found["1"].finish_reason == "length"
    assert "the prompt is empty, and the tokenizer has no token" in found["0"].error
