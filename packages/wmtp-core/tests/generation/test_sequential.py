"""Drafting with sequential modules writes what plain decoding writes, and drafts what a whole text of true tokens says."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
import torch

import wmtp.generation.aligned_drafting
import wmtp.generation.decoder
from wmtp.contracts.engines import GenerationRequest, SampleKey, Sampling
from wmtp.errors import GenerationError
from wmtp.generation.decoder import RaggedDecoder
from wmtp.generation.engine import DecodingEngine
from wmtp.generation.kernels.fused_layer import fused_layers
from wmtp.generation.kernels.native import skinny_product
from wmtp.generation.sequences import ActiveSequence
from wmtp.generation.sequential import SequentialHeads
from wmtp.generation.stepping import OwnCache, State
from wmtp.generation.targets import decoding_parts
from wmtp.models.architectures.families import FAMILIES
from wmtp.models.architectures.module import SequentialModules
from wmtp.models.load import LoadedModel, load_model
from wmtp.testing.mtp_models import write_mtp_model

Make = Callable[..., LoadedModel]
FAMILIES_AT_OWN_PACE = ("mimo", "ernie4.5", "deepseek-v3", "glm4-moe", "glm4-moe-lite", "hy-v3", "mellum", "exaone")
PROMPTS = ["", "x", *(f"def f{i}(x):" + " " * (3 * i % 17) + "#" * i for i in range(6))]
FAMILIES_BY_LENGTH = ("qwen3.5", "qwen3-next")
PARALLEL: dict[str, dict[str, int]] = {
    "parallel heads": {},
    "parallel heads in C": {"num_attention_heads": 3, "num_key_value_heads": 1},
}
KINDS = ("good", "random", "adversarial")
SAMPLED = [(0.0, 1.0), (0.0, 0.95), (0.8, 1.0), (0.8, 0.95), (1.0, 1.0), (1.0, 0.95)]  # temperature, top-p
Cell = tuple[float, float, int, int]
GRID: list[Cell] = [(*sampled, batch, depth) for sampled in SAMPLED for batch in (1, 3, 8) for depth in (1, 2, 3)]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Make:
    """A tiny checkpoint, loaded. Heads: good (mostly right), random, adversarial (never right)."""
    made: dict[tuple[str, int, str], LoadedModel] = {}

    def get(family: str = "mimo", modules: int = 1, kind: str = "random") -> LoadedModel:
        key = (family, modules, kind)
        if key not in made:
            folder = write_mtp_model(tmp_path_factory.mktemp("mtp") / "model", family, modules=modules).folder
            tokenizer.save_pretrained(folder)
            made[key] = load_model(folder, device="cpu", dtype="float32", architectures=FAMILIES)
            _shape(made[key], kind)
        return made[key]

    return get


@torch.no_grad()
def _shape(loaded: LoadedModel, kind: str) -> None:
    """Makes a trunk whose next token is mostly a matter of the last one, and modules that know that, or its contrary."""
    modules = loaded.modules
    assert modules is not None
    for layer in modules.trunk.layers:
        for name, parameter in layer.named_parameters():
            if name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight", "down_proj")):
                parameter.mul_(0.005 if kind == "good" else 0.05)
    if kind == "random":
        return
    size = int(modules.trunk.norm.weight.shape[0])
    for module in modules.items:
        module.enorm.weight.fill_(1)
        halves = [torch.eye(size), torch.zeros(size, size)]
        module.eh_proj.weight.copy_(torch.cat(halves if modules.convention.concat == "eh" else halves[::-1], dim=1))
        for name, parameter in module.block.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight", "down_proj")):
                parameter.mul_(0.05)  # enough to show an entry that is wrong
        if module.norm is not None:
            module.norm.weight.copy_(modules.trunk.norm.weight)
        if kind == "adversarial":
            module.head = -loaded.model.get_output_embeddings().weight.detach()


@torch.no_grad()
def _repeat(model: Any) -> None:
    """The next token is mostly the last one once more: then heads that are copies of the first are mostly right."""
    for layer in (*model.model.layers, *model.extra_heads):
        for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
            part.weight.mul_(0.005)
    model.lm_head.weight.copy_(0.5 * model.get_input_embeddings().weight)


def engine(loaded: LoadedModel, **options: Any) -> DecodingEngine:
    parts = decoding_parts(loaded.model, loaded.stored_modules)
    return DecodingEngine(loaded.model, loaded.tokenizer, identity={}, parts=parts, **options)


def requests(n: int = 1, tokens: int = 20, prompts: list[str] = PROMPTS) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            key=SampleKey(evaluator="e", problem=str(i), index=j), prompt=p or None, max_new_tokens=tokens + i
        )
        for i, p in enumerate(prompts)
        for j in range(n)
    ]


def decode(made: DecodingEngine, wanted: list[GenerationRequest], sampling: Sampling) -> dict[Any, Any]:
    found = list(made.generate(iter(wanted), sampling))
    assert len(found) == len(wanted)
    return {c.key: (c.text, c.finish_reason, c.tokens) for c in found}


@pytest.fixture(autouse=True)
def _always_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", 1 << 60)
    monkeypatch.setattr(wmtp.generation.aligned_drafting, "DRAFTING_CHECK_AFTER", 1 << 60)


def check_grid(loaded: LoadedModel, kind: str, grid: Sequence[Cell], wanted: list[GenerationRequest]) -> None:
    """Every cell writes what plain decoding writes at batch 1, and drafts as heads of this kind do."""
    plain = functools.cache(lambda sampling: decode(engine(loaded, speculative="off", batch_size=1), wanted, sampling))
    for temperature, top_p, batch, depth in grid:
        sampling = Sampling(temperature=temperature, top_p=top_p, seed=5)
        made = engine(loaded, n_heads=depth + 1, batch_size=batch)
        assert decode(made, wanted, sampling) == plain(sampling), (temperature, top_p, batch, depth)
        assert made.drafts
        assert made.stats.drafted[0] > 20
        if kind == "adversarial" and not temperature:
            assert sum(made.stats.accepted) == 0
        if kind == "good" and temperature < 1:
            assert made.stats.accepted[0] > 0.2 * made.stats.drafted[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES_AT_OWN_PACE)
def test_drafts_of_every_family_change_no_token(make: Make, family: str, kind: str) -> None:
    """A part of the grid, another one for each; `test_the_whole_grid_…` has all of it."""
    some = random.Random(f"{family} {kind}").sample(GRID, 3)
    check_grid(make(family, 1, kind), kind, some, requests(tokens=10))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [*FAMILIES_AT_OWN_PACE, *FAMILIES_BY_LENGTH, *PARALLEL])
def test_the_whole_grid_of_every_family_changes_no_token(
    make: Make, mtp_model: Callable[..., Any], tokenizer: Any, family: str, kind: str
) -> None:
    """Twelve samples in one, three and eight slots, which are filled again; then each once more as a run that was stopped."""
    if family in PARALLEL:
        seed = int(family.endswith("in C") and kind == "adversarial")  # heads that chance makes right nowhere either
        model = mtp_model({"random": "bad"}.get(kind, kind), seed=seed, **PARALLEL[family])
        loaded = LoadedModel(model, tokenizer, {})
        assert len(fused_layers(loaded.model)) == (5 if family.endswith("in C") and skinny_product() else 0)
        if kind == "good":
            _repeat(loaded.model)
    else:
        loaded = make(family, 1, kind)
    wanted = requests(n=2, tokens=10, prompts=PROMPTS[1:7])
    check_grid(loaded, kind, GRID, wanted)
    for cut, (temperature, top_p) in enumerate(SAMPLED, 1):
        sampling = Sampling(temperature=temperature, top_p=top_p, seed=9)
        whole = decode(engine(loaded, speculative="off", batch_size=1), wanted, sampling)
        first = engine(loaded, n_heads=3, batch_size=3).generate(iter(wanted), sampling)
        there = {c.key: (c.text, c.finish_reason, c.tokens) for c in itertools.islice(first, 2 * cut)}
        rest = [request for request in wanted if request.key not in there]
        assert {**there, **decode(engine(loaded, n_heads=4, batch_size=8), rest, sampling)} == whole


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (0.8, 0.95), (1.0, 1.0), (1.0, 0.95)])
@pytest.mark.parametrize("kind", KINDS)
def test_drafts_change_no_token(make: Make, kind: str, temperature: float, top_p: float) -> None:
    """Two modules: as many drafts, fewer and more; more rows than slots, so that slots are filled again."""
    loaded, wanted = make("mimo", 2, kind), requests(n=2, tokens=14)
    sampling = Sampling(temperature=temperature, top_p=top_p, seed=11)
    plain = decode(engine(loaded, speculative="off", batch_size=1), wanted, sampling)
    some = ((1, 3), (2, 8), (3, 1), (3, 8))
    for depth, batch in itertools.product((1, 2, 3), (1, 3, 8)) if (temperature, top_p) == (0.8, 0.95) else some:
        assert decode(engine(loaded, n_heads=depth + 1, batch_size=batch), wanted, sampling) == plain, (depth, batch)
    assert len({text for text, _, _ in plain.values()}) > 6, "all samples are alike: nothing was tested"


class Spy(SequentialHeads):
    """Remembers what it drafted, and from which logits."""

    def __init__(self, modules: SequentialModules, depth: int) -> None:
        super().__init__(modules, depth)
        self.seen: list[tuple[list[tuple[ActiveSequence, int]], list[torch.Tensor], list[list[int]]]] = []
        self.logits: list[torch.Tensor] = []

    def project(self, states: torch.Tensor, depth: int) -> torch.Tensor:
        self.logits.append(super().project(states, depth))
        return self.logits[-1]

    def propose(self, *given: Any) -> torch.Tensor:
        self.logits = []
        return super().propose(*given)


@pytest.mark.parametrize("kind", ["good", "random"])
@pytest.mark.parametrize("modules", [1, 2, 3])
@pytest.mark.parametrize("family", ["mimo", "ernie4.5"])
def test_drafts_are_what_a_whole_text_of_true_tokens_says(
    make: Make, monkeypatch: pytest.MonkeyPatch, family: str, modules: int, kind: str
) -> None:
    """No entry of a module is missing or stands for a draft that was refused, beside other rows and after refills."""
    loaded = make(family, modules, kind)
    run = loaded.modules
    assert run is not None
    spy = Spy(run, 3)
    parts = attrs.evolve(decoding_parts(loaded.model, loaded.stored_modules), drafter=lambda _: spy)
    original = RaggedDecoder._propose

    def propose(self: Any, rows: Any, *rest: Any) -> None:
        original(self, rows, *rest)
        spy.seen.append(([(row, len(row.ids)) for row in rows], spy.logits, [row.pending[1:] for row in rows]))

    monkeypatch.setattr(RaggedDecoder, "_propose", propose)
    made = DecodingEngine(loaded.model, loaded.tokenizer, identity={}, parts=parts, n_heads=4, batch_size=3)
    decode(made, requests(), Sampling(temperature=0.8, seed=3))

    @functools.cache
    def whole_logits(ids: tuple[int, ...]) -> list[torch.Tensor]:
        text = torch.tensor([ids])
        with torch.inference_mode():
            hidden = run.first_hidden(*run.trunk.run(input_ids=text, use_cache=False))
            return [run.project(d, states)[0] for d, states in enumerate(run.all_states(text, hidden, 3))]

    compared = [0, 0, 0]
    for rows, logits, drafts in spy.seen:
        for place, (row, count) in enumerate(rows):
            prompt = loaded.tokenizer(row.request.prompt or "")["input_ids"]
            ids = [*prompt, *row.ids]
            at = len(prompt) + count - 2  # the position before the last token
            whole = whole_logits(tuple(ids))
            for depth in range(min(3, len(row.ids) - count + 1)):
                if drafts[place][:depth] != row.ids[count : count + depth]:
                    break  # the whole text has another token there
                compared[depth] += 1
                assert torch.allclose(logits[depth][place], whole[depth][at], atol=2e-4), (at, depth)
    assert compared[0] > 40
    assert kind == "random" or min(compared) > 20


@pytest.mark.parametrize("modules", [1, 2])
def test_giving_up_drafting_in_mid_run_changes_no_token(
    make: Make, monkeypatch: pytest.MonkeyPatch, modules: int
) -> None:
    loaded, sampling, wanted = make("mimo", modules, "good"), Sampling(temperature=0.8, seed=4), requests(n=2)
    plain = decode(engine(loaded, speculative="off", batch_size=3), wanted, sampling)
    for cost in (0.0, 1e9):  # given up, and weighed on a step that must not be taken twice
        monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_MAX_COST", cost)
        for first in (1, 7):
            monkeypatch.setattr(wmtp.generation.decoder, "DRAFTING_CHECK_AFTER", first)
            made = engine(loaded, n_heads=4, batch_size=3)
            assert decode(made, wanted, sampling) == plain
            assert bool(made.stats.notes) == (cost == 0)


def test_modules_are_read_only_where_they_are_used(make: Make) -> None:
    loaded = make("mimo", 1, "random")
    assert loaded.stored_modules is not None
    calls: list[int] = []

    def read() -> Any:
        calls.append(1)
        return loaded.modules

    stored = attrs.evolve(loaded.stored_modules, open=read)
    parts = decoding_parts(loaded.model, stored)
    for options in ({"speculative": "off"}, {"n_heads": 1}):
        made = DecodingEngine(loaded.model, loaded.tokenizer, identity={}, parts=parts, **options)
        decode(made, requests(tokens=3), Sampling())
    assert not calls
    assert len(made.head_scores("a", "bc").loss) == 1
    assert not calls
    plain = DecodingEngine(loaded.model, loaded.tokenizer, identity={}, parts=parts, speculative="off")
    assert len(plain.head_scores("a", "bc").loss) == 2
    assert calls == [1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES_BY_LENGTH)
def test_drafts_behind_recurrent_trunks_change_no_token(make: Make, family: str, kind: str) -> None:
    loaded, wanted = make(family, 1, kind), requests(n=2, tokens=8, prompts=PROMPTS[1:6])
    assert engine(loaded).path.path == "aligned"
    some = random.Random(f"{family} {kind}").sample(GRID, 3 if kind == "good" else 1)
    check_grid(loaded, kind, some, wanted)


def test_giving_up_drafts_behind_a_recurrent_trunk_changes_no_token(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, sampling, wanted = make("qwen3.5", 1, "good"), Sampling(temperature=0.8, seed=4), requests(n=2, tokens=9)
    plain = decode(engine(loaded, speculative="off", batch_size=3), wanted, sampling)
    for cost in (0.0, 1e9):
        monkeypatch.setattr(wmtp.generation.aligned_drafting, "DRAFTING_MAX_COST", cost)
        for first in (12, 17):
            monkeypatch.setattr(wmtp.generation.aligned_drafting, "DRAFTING_CHECK_AFTER", first)
            made = engine(loaded, n_heads=4, batch_size=3)
            assert decode(made, wanted, sampling) == plain
            assert any("given up" in note for note in made.stats.notes) == (cost == 0)


def test_a_cache_that_takes_blocks_wrongly_drafts_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What transformers did once: several tokens behind a recurrent state were run as if there were no state."""
    loaded, wanted = make("qwen3.5", 1, "good"), requests(tokens=6, prompts=PROMPTS[1:4])
    plain = decode(engine(loaded, speculative="off"), wanted, Sampling())
    right = OwnCache.run

    def forgets(self: OwnCache, ids: torch.Tensor, state: State, width: int, keep: int = 1) -> Any:
        if width > 1:
            for layer in next(iter(state.kept.values())).layers:
                if hasattr(layer, "recurrent_states"):
                    layer.recurrent_states = {i: torch.zeros_like(s) for i, s in layer.recurrent_states.items()}
        return right(self, ids, state, width, keep)

    monkeypatch.setattr(OwnCache, "run", forgets)
    made = engine(loaded)
    assert not made.drafts
    assert any("do not draft (logits of several tokens at once differ" in note for note in made.stats.notes)
    assert decode(made, wanted, Sampling()) == plain
    assert len(made.head_scores("def f(x):", " return x").loss) == 2


@pytest.mark.parametrize("family", ["mimo", "qwen3.5"])
def test_a_run_that_is_gone_on_with_writes_what_an_unbroken_one_does(make: Make, family: str) -> None:
    """Any part of the samples first, the rest by an engine made anew, with another depth and batch."""
    loaded, sampling, wanted = make(family, 1, "good"), Sampling(temperature=0.8, seed=9), requests(n=3, tokens=9)
    whole = decode(engine(loaded, n_heads=2, batch_size=4), wanted, sampling)
    for cut in (1, 7, 16):
        first = engine(loaded, n_heads=3, batch_size=3).generate(iter(wanted), sampling)
        there = {c.key: (c.text, c.finish_reason, c.tokens) for c in itertools.islice(first, cut)}
        rest = [request for request in wanted if request.key not in there]
        assert {**there, **decode(engine(loaded, n_heads=4, batch_size=5), rest, sampling)} == whole


def test_heads_are_counted_as_model_mtp_n_heads_counts_them(make: Make) -> None:
    loaded = make("mimo", 2)
    assert len(engine(loaded).head_scores("a", "bcdefg").loss) == 3, (
        "as many as there are modules, and the next token's"
    )
    assert len(engine(loaded, n_heads=6).head_scores("a", "bcdefg").loss) == 6, "the last one is run again"
    with pytest.raises(GenerationError, match="model has 17"):
        engine(loaded, n_heads=18)


def test_scores_of_modules_are_those_of_the_whole_text(make: Make) -> None:
    loaded = make("ernie4.5", 2)
    prompt, text = "def f(x):", "\n    return x\n"
    found = engine(loaded, n_heads=4).head_scores(prompt, text)
    ids = loaded.tokenizer(prompt + text)["input_ids"]
    start, modules, tokens = len(loaded.tokenizer(prompt)["input_ids"]), loaded.modules, torch.tensor([ids])
    assert modules is not None
    with torch.inference_mode():
        hidden = modules.first_hidden(*modules.trunk.run(input_ids=tokens, use_cache=False))
        whole = [modules.project(d, s)[0].log_softmax(-1) for d, s in enumerate(modules.all_states(tokens, hidden, 3))]
    for depth, logits in enumerate(whole):
        wanted = -sum(float(logits[p - 2 - depth, ids[p]]) for p in range(start, len(ids)))
        assert found.loss[depth + 1] == pytest.approx(wanted, rel=1e-5)
