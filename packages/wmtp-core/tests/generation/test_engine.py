"""The decoder writes what plain decoding writes: with any heads, in any batch, after refills and resume."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wmtp.generation.decoder
import wmtp.generation.ragged_cache
import wmtp.generation.scheduling
from wmtp.contracts.engines import Completion, GenerationRequest, SampleKey, Sampling
from wmtp.errors import GenerationError
from wmtp.generation.engine import DecodingEngine
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.testing.architectures import tiny_model

PROMPTS = [f"def f{i}(x):" + " " * (3 * i % 17) + "#" * i for i in range(13)]
TOKENS = 24


def requests(
    prompts: Sequence[str] = PROMPTS, n: int = 1, tokens: int = TOKENS, stop: tuple[str, ...] = ()
) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            key=SampleKey(evaluator="e", problem=str(i), index=j), prompt=p, max_new_tokens=tokens, stop=stop
        )
        for i, p in enumerate(prompts)
        for j in range(n)
    ]


def decode(engine: DecodingEngine, wanted: Sequence[GenerationRequest], sampling: Sampling) -> dict[Any, Any]:
    found = list(engine.generate(iter(wanted), sampling))
    assert len(found) == len(wanted)
    return {(c.key.problem, c.key.index): (c.text, c.finish_reason, c.tokens) for c in found}


def engine(model: Any, tokenizer: Any, **options: Any) -> DecodingEngine:
    return DecodingEngine(model, tokenizer, identity={}, **options)


def generated(model: Any, tokenizer: Any, prompt: str, tokens: int = TOKENS) -> list[int]:
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0
    )
    new: list[int] = out[0, ids.shape[1] :].tolist()
    return new[: new.index(2)] if 2 in new else new


@pytest.mark.parametrize("batch", [1, 4, 13])
@pytest.mark.parametrize("n", [1, 5])
def test_greedy_equals_transformers_generate(mtp_model: Any, tokenizer: Any, batch: int, n: int) -> None:
    model = mtp_model("bad")
    found = decode(engine(model, tokenizer, batch_size=batch), requests(n=n), Sampling(temperature=0.0))
    for i, prompt in enumerate(PROMPTS):
        ids = generated(model, tokenizer, prompt)
        text = tokenizer.decode(tokenizer(prompt)["input_ids"] + ids, skip_special_tokens=True)[len(prompt) :]
        for j in range(n):
            assert found[str(i), j][0] == text
            assert found[str(i), j][2] == len(ids)


def other_model(kind: str) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(3)
    if kind == "gpt2":
        config = GPT2Config(
            vocab_size=259, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=2
        )
        return GPT2LMHeadModel(config).eval()
    config = Qwen2Config(
        vocab_size=259, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_other_decoders_are_decoded_plainly(tokenizer: Any, kind: str) -> None:
    model = other_model(kind)
    found = decode(engine(model, tokenizer, batch_size=3), requests(PROMPTS[:6], tokens=16), Sampling(temperature=0.0))
    for i, prompt in enumerate(PROMPTS[:6]):
        assert found[str(i), 0][2] == len(generated(model, tokenizer, prompt, 16))


def test_encoders_are_refused_by_name(tokenizer: Any) -> None:
    from transformers import BertConfig, BertLMHeadModel

    config = BertConfig(
        vocab_size=259, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(GenerationError, match="bert reads in both directions"):
        engine(BertLMHeadModel(config), tokenizer)
    for kind in ("gemma", "gemma3_text"):  # what EmbeddingGemma is made of
        embeds = tiny_model(kind, {"use_bidirectional_attention": True})
        with pytest.raises(GenerationError, match=f"this {kind} reads in both directions"):
            engine(embeds, tokenizer)


@pytest.mark.parametrize("temperature", [0.2, 0.8, 1.0])
@pytest.mark.parametrize("top_p", [0.95, 1.0])
@pytest.mark.parametrize("kind", ["good", "bad", "adversarial"])
def test_speculation_changes_no_token(
    mtp_model: Any, tokenizer: Any, kind: str, temperature: float, top_p: float
) -> None:
    model, sampling, wanted = (
        mtp_model(kind),
        Sampling(temperature=temperature, top_p=top_p, seed=11),
        requests(PROMPTS[:6], n=2),
    )
    plain = decode(engine(model, tokenizer, speculative="off", batch_size=1), wanted, sampling)
    # Every combination for one setting, a few for the others.
    some = ((1, 8), (2, 3), (3, 1), (4, 8), (4, 3))
    combinations = itertools.product((1, 2, 3, 4), (1, 3, 8)) if (temperature, top_p) == (0.8, 0.95) else some
    for heads, batch in combinations:
        made = engine(model, tokenizer, n_heads=heads, batch_size=batch)
        assert decode(made, wanted, sampling) == plain, (heads, batch)
    assert len({text for text, _, _ in plain.values()}) > 6, "all samples are alike: nothing was tested"


@pytest.mark.parametrize("kind", ["good", "bad"])
@pytest.mark.parametrize("batch", [1, 3])
def test_giving_up_drafting_in_mid_run_changes_no_token(
    mtp_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, kind: str, batch: int
) -> None:
    """Rows in flight, rows that come later and the next call all go on plainly."""
    model, sampling, wanted = mtp_model(kind), Sampling(temperature=0.8, top_p=0.95, seed=4), requests(PROMPTS[:6], n=2)
    plain = decode(engine(model, tokenizer, speculative="off", batch_size=batch), wanted, sampling)
    monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_MAX_COST", 0.0)
    for first in (1, 7, 20):
        monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", first)
        made = engine(model, tokenizer, batch_size=batch)
        assert decode(made, wanted, sampling) == plain
        drafted = made.stats.drafted
        assert len(drafted) == 3
        assert decode(made, wanted, sampling) == plain
        assert made.stats.drafted == drafted, "it drafted again"
        (note,) = made.stats.notes
        assert "Drafting was given up after" in note


def test_weighing_leaves_no_trace(mtp_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs forwards that count for nothing; where drafting goes on, so do its drafts."""
    model, sampling, wanted = (
        mtp_model("good"),
        Sampling(temperature=0.8, top_p=0.95, seed=4),
        requests(PROMPTS[:6], n=2),
    )
    monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_MAX_COST", 1e9)
    found = []
    for first in (1, 1 << 30):
        monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", first)
        made = engine(model, tokenizer, batch_size=3)
        found.append((decode(made, wanted, sampling), made.stats.drafted, made.stats.accepted, made.stats.rows))
    assert found[0] == found[1]


def test_trained_heads_are_accepted_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's model, on a problem it was trained on: several tokens a forward, and the same text."""
    monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", 1 << 30)  # a busy machine must not decide this
    from wmtp.models import load_model

    folder = Path(__file__).parents[4] / "examples"
    loaded = load_model(folder / "demo-model", device="cpu")
    rows = [json.loads(line) for line in (folder / "demo_problems.jsonl").read_text(encoding="utf-8").splitlines()]
    row = next(row for row in rows if row["task_id"] == 18)
    prompt = (
        f"You are an expert Python programmer, and here is your task: {row['text']} Your code should pass these tests:\n\n"
        + "\n".join(row["test_list"])
        + "\n[BEGIN]\n"
    )
    wanted = requests([prompt], n=2, tokens=200, stop=("[DONE]",))
    plain, drafted = (engine(loaded.model, loaded.tokenizer, speculative=s) for s in ("off", "auto"))
    assert decode(plain, wanted, Sampling(temperature=0.8)) == decode(drafted, wanted, Sampling(temperature=0.8))
    assert plain.stats.tokens <= plain.stats.rows
    assert plain.stats.drafted == ()
    assert drafted.stats.notes == ()
    stats = drafted.stats
    assert stats.tokens / stats.rows > 2
    assert len(stats.accepted) == len(stats.drafted) == 3
    assert all(a <= d for a, d in zip(stats.accepted, stats.drafted, strict=True))
    assert stats.accepted[0] >= stats.accepted[1] >= stats.accepted[2] > 0


def test_a_part_of_the_requests_gives_the_same_samples(mtp_model: Any, tokenizer: Any) -> None:
    model, sampling = mtp_model("bad"), Sampling(temperature=0.8, top_p=0.95, seed=2)
    wanted = requests(n=3)
    whole = decode(engine(model, tokenizer, batch_size=5), wanted, sampling)
    later = decode(engine(model, tokenizer, batch_size=2), wanted[7:20][::-1], sampling)
    assert later == {key: whole[key] for key in later}


def test_the_seed_and_the_names_decide(mtp_model: Any, tokenizer: Any) -> None:
    model = mtp_model("bad")
    one = decode(engine(model, tokenizer), requests(PROMPTS[:3]), Sampling(temperature=1.0, seed=1))
    two = decode(engine(model, tokenizer), requests(PROMPTS[:3]), Sampling(temperature=1.0, seed=2))
    assert one != two


FREE: dict[int, Any] = {}  # seed → what the next test's prompts become without stops


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("abcdefgh \n", min_size=1, max_size=3), min_size=1, max_size=3), st.integers(0, 5))
def test_stop_strings_end_a_row_where_plain_text_says(
    mtp_model: Any, tokenizer: Any, stop: list[str], seed: int
) -> None:
    model, sampling = mtp_model("good"), Sampling(temperature=1.2, seed=seed)
    if seed not in FREE:
        FREE[seed] = decode(engine(model, tokenizer, batch_size=3), requests(PROMPTS[:4]), sampling)
    free = FREE[seed]
    for spec in ("off", "auto"):
        made = engine(model, tokenizer, batch_size=3, speculative=spec)
        ended = decode(made, requests(PROMPTS[:4], stop=tuple(stop)), sampling)
        for key, (text, reason, _) in free.items():
            at = min((text.index(s) for s in stop if s in text), default=None)
            assert ended[key][0] == (text if at is None else text[:at])
            assert ended[key][1] == (reason if at is None else "stop")


def test_end_of_sequence_inside_an_accepted_block(mtp_model: Any, tokenizer: Any) -> None:
    """Any token can be made the end: the row must stop at its first, however many drafts stood behind it."""
    model = mtp_model("good")
    free = decode(engine(model, tokenizer), requests(PROMPTS[:5], tokens=40), Sampling(temperature=0.0))
    text = max((t for t, _, _ in free.values()), key=len)
    end = tokenizer(text)["input_ids"][-1]
    model.generation_config.eos_token_id = end
    try:
        results = [
            decode(engine(model, tokenizer, speculative=s), requests(PROMPTS[:5], tokens=40), Sampling(temperature=0.0))
            for s in ("off", "auto")
        ]
    finally:
        model.generation_config.eos_token_id = 2
    assert results[0] == results[1]
    assert any(reason == "stop" for _, reason, _ in results[0].values())


def test_a_prompt_longer_than_the_context_fails_alone(mtp_model: Any, tokenizer: Any) -> None:
    wanted = requests([PROMPTS[0], "x" * 400, PROMPTS[1]])
    found: list[Completion] = list(engine(mtp_model(), tokenizer).generate(wanted, Sampling()))
    by_problem = {c.key.problem: c for c in found}
    assert by_problem["1"].finish_reason == "too-long"
    assert "401 tokens, and the model's context only 256" in by_problem["1"].error
    assert {by_problem[p].finish_reason for p in ("0", "2")} <= {"stop", "length"}


def test_the_context_caps_a_completion(mtp_model: Any, tokenizer: Any) -> None:
    (found,) = engine(mtp_model(), tokenizer).generate(requests(["y" * 250], tokens=100), Sampling())
    assert found.finish_reason in ("length", "stop")
    assert found.tokens <= 256 - 251 + 1


def test_more_heads_than_there_are(mtp_model: Any, tokenizer: Any) -> None:
    with pytest.raises(GenerationError, match="n_heads is 9, but the model has 4"):
        engine(mtp_model(), tokenizer, n_heads=9)


def test_indentation_at_the_start_survives(mtp_model: Any, tokenizer: Any) -> None:
    from wmtp.generation.text import Continuation

    prompt = tokenizer("def f():\n")["input_ids"]
    ids = tokenizer("    return 1", add_special_tokens=False)["input_ids"]
    assert Continuation(tokenizer, prompt, ()).text(ids) == "    return 1"


def test_chat_messages_go_through_the_template(mtp_model: Any, tokenizer: Any) -> None:
    import copy

    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    turns = ({"role": "user", "content": "hi"},)
    request = GenerationRequest(key=SampleKey(evaluator="e", problem="0", index=0), messages=turns, max_new_tokens=8)
    plain = GenerationRequest(
        key=SampleKey(evaluator="e", problem="0", index=0), prompt="[user]hi[assistant]", max_new_tokens=8
    )
    model = mtp_model()
    (one,) = engine(model, chatty).generate([request], Sampling())
    (two,) = engine(model, chatty).generate([plain], Sampling())
    assert one.tokens > 0
    assert two.tokens > 0


def test_slots_stay_within_the_planned_memory(mtp_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer prompts come after the plan was made: slots grow and get fewer, and a row that does not fit waits."""
    model, sampling = mtp_model("bad"), Sampling(temperature=0.8, seed=3)
    lengths = [4, 9, 70, 3, 130, 8, 64, 150, 2, 40, 5, 170]
    wanted = requests([f"{i}:".ljust(length, "#") for i, length in enumerate(lengths)], n=2, tokens=12)
    plain = decode(engine(model, tokenizer, speculative="off", batch_size=1), wanted, sampling)

    sizes: list[tuple[int, int, int]] = []

    def watch(name: str) -> None:
        done = getattr(RaggedCache, name)

        def watched(cache: RaggedCache, *arguments: Any) -> None:
            done(cache, *arguments)
            keys = cache.layers[0].keys
            sizes.append((keys.shape[0], cache.capacity, keys.shape[0] * cache.row_bytes(cache.capacity)))

        monkeypatch.setattr(RaggedCache, name, watched)

    for name in ("start", "grow", "select_slots"):
        watch(name)
    # Two layers and three heads' of 2 · 2 · 12 float32 each: four rows of 64 positions, two of 128, one of more.
    share = 4 * 64 * 5 * 192
    monkeypatch.setattr(wmtp.generation.decoder, "available_bytes", lambda _: 2 * share)
    monkeypatch.setattr(wmtp.generation.scheduling, "LOOK_AHEAD", 4)
    assert decode(engine(model, tokenizer), wanted, sampling) == plain
    capacities = {capacity: max(rows for rows, c, _ in sizes if c == capacity) for _, capacity, _ in sizes}
    assert capacities == {64: 4, 128: 2, 192: 1}
    assert all(taken <= max(share, capacity * 5 * 192) for _, capacity, taken in sizes)


def test_shapes_and_addresses_stay_from_step_to_step(
    mtp_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA graph needs: whatever a forward takes lies where the last one of its shape lay, refills or not, and shapes
    change only where rows pass a multiple of 64 positions (of fewer on the CPU), or slots are given up at the end."""
    monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", 1 << 30)
    cache_module = wmtp.generation.ragged_cache
    monkeypatch.setattr(cache_module, "CPU_LENGTH_STEP", cache_module.CUDA_LENGTH_STEP)  # as on CUDA
    model = mtp_model("bad")
    seen: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    steps = 0
    run = model.trunk_states

    def watched(ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        nonlocal steps
        states: torch.Tensor = run(ids, positions, mask, cache)
        if len(ids) > 1:  # a prompt's own forward has its length
            steps += 1
            assert positions is cache.positions
            kept = [t for layer in cache.layers for t in (layer.keys, layer.values)]
            addresses = tuple(t.data_ptr() for t in (ids, positions, mask, *kept))
            seen.setdefault((len(ids), cache.capacity, *mask.shape[2:]), set()).add(addresses)
        return states

    monkeypatch.setattr(model, "trunk_states", watched)
    made = engine(model, tokenizer, batch_size=4)
    decode(made, requests(PROMPTS, n=2, tokens=60), Sampling(temperature=0.8))
    assert steps > 100
    assert all(len(addresses) == 1 for addresses in seen.values())
    assert {(rows, width) for rows, _, width, _ in seen} == {(4, 4), (2, 4)}
    assert {length for *_, length in seen} == {64, 128}


PEAK = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import wmtp.generation.decoder as decoder
import wmtp.generation.engine as engine
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.models import load_model
loaded = load_model(Path(sys.argv[1]), device="cpu")
share = 64 << 20
decoder.available_bytes = lambda _: int(share / decoder.MEMORY_SHARE)
decoder.MAX_ROWS = {"cpu": 1000}  # memory decides
def status(field):
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(field)) << 10
def run(count, tokens):
    made = engine.DecodingEngine(loaded.model, loaded.tokenizer, identity={})
    wanted = [
        GenerationRequest(key=SampleKey(evaluator="e", problem=str(i), index=0), prompt="x" * (40 + i), max_new_tokens=tokens)
        for i in range(count)
    ]
    assert len(list(made.generate(wanted, Sampling(temperature=0.8)))) == count
run(2, 4)  # warm
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = status("VmRSS")
run(30, 200)
print(share, status("VmHWM") - before)
"""


@pytest.mark.slow
def test_the_peak_of_decoding_is_what_was_planned() -> None:
    """Resident at the worst moment, above the model: the slots' keys and values, and no more than a third of that again."""
    folder = Path(__file__).parents[4] / "examples/demo-model"
    done = subprocess.run([sys.executable, "-c", PEAK, folder], capture_output=True, text=True, check=True)
    planned, peak = map(int, done.stdout.split())
    assert planned // 2 < peak < planned * 4 // 3


def test_limits_of_control_groups_count(tmp_path: Path) -> None:
    """The tightest of the process's own group and those around it; pages of files do not count as used."""
    from wmtp.generation.memory import _left, available_bytes

    inner = tmp_path / "outer/inner"
    inner.mkdir(parents=True)
    for folder, limit, used in ((tmp_path / "outer", "900", 500), (inner, "700", 650)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 10\ninactive_file 30\nactive_file 20\n")
    assert _left(tmp_path, "outer/inner") == [100, 450]
    (inner / "memory.max").write_text("max\n")
    assert _left(tmp_path, "outer/inner") == [450]
    assert _left(tmp_path, "") == []
    assert 1 << 20 < available_bytes(torch.device("cpu")) < 1 << 50


@pytest.mark.slow
def test_memory_does_not_grow_over_a_thousand_prompts() -> None:
    from wmtp.models import load_model

    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    loaded = load_model(Path(__file__).parents[4] / "examples/demo-model", device="cpu")
    made = engine(loaded.model, loaded.tokenizer, batch_size=8)
    many = [f"# {i}\n" + "z" * (i % 40) for i in range(1000)]
    list(made.generate(requests(many[:300], tokens=8), Sampling(temperature=0.8)))
    before = resident()
    list(made.generate(requests(many, tokens=8), Sampling(temperature=0.8)))
    assert resident() - before < 10 << 20


def test_every_token_says_which_head_wrote_it(mtp_model: Any, tokenizer: Any) -> None:
    """Counted over all samples, the letters are what the engine counted; and the characters are the text's."""
    for kind in ("good", "bad", "adversarial"):
        made = DecodingEngine(mtp_model(kind), tokenizer, identity={}, batch_size=3)
        found = list(made.generate(requests(n=2), Sampling(temperature=0.8, n=2, seed=3)))
        letters = "".join(c.extra["drafts"]["heads"] for c in found)
        assert len(letters) == sum(c.tokens for c in found) == made.stats.tokens
        for head, accepted in enumerate(made.stats.accepted, 1):
            # Of an accepted block, what lies behind an end is not kept.
            assert letters.count(str(head)) <= accepted
        assert letters.count("1") >= made.stats.accepted[0] - len(found)
        assert "-" in letters or kind == "good"
        for completion in found:
            assert len(completion.extra["drafts"]["characters"]) == completion.tokens
            assert sum(completion.extra["drafts"]["characters"]) >= len(completion.text.rstrip("\ufffd"))
    plain = DecodingEngine(mtp_model("good"), tokenizer, identity={}, speculative="off", batch_size=3)
    assert not any(c.extra for c in plain.generate(requests(n=2), Sampling(temperature=0.8, n=2, seed=3)))
