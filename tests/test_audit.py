"""`wmtp audit`: nothing is found where nothing is wrong, and each seeded fault is found within fifty problems."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wmtp import create_plugin_manager
from wmtp.evaluation.audit import Audit, audit
from wmtp.generation.aligned_drafting import DraftingDecoder
from wmtp.generation.decoder import RaggedDecoder
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.generation.stepping import OwnCache, State
from wmtp.testing.byte_tokenizer import byte_tokenizer

PROBLEMS = 40
SPECIAL = ("<pad>", "<s>", "</s>")


@pytest.fixture(scope="session")
def tiny_mtp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random MTP Llama over bytes whose extra heads are right often enough to be accepted, and wrong often enough."""
    from wmtp.models.mtp_llama import MtpLlamaConfig, MtpLlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-mtp")
    byte_tokenizer(SPECIAL, bos_token="<s>", eos_token="</s>", pad_token="<pad>").save_pretrained(folder)
    torch.manual_seed(0)
    config = MtpLlamaConfig(
        vocab_size=259, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        n_future_tokens=3, initializer_range=0.3,
    )  # fmt: skip
    model = MtpLlamaForCausalLM(config).eval()
    for head in model.extra_heads:
        head.load_state_dict(model.model.layers[-1].state_dict())
    with torch.no_grad():
        only_printable(model.get_output_embeddings().weight)
    model.save_pretrained(folder)
    return folder


def only_printable(weight: torch.Tensor) -> None:
    """Leaves printable ASCII alone in an output matrix, so that a token is a character."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    mask = torch.ones(len(weight), dtype=torch.bool)
    mask[[i for i, c in enumerate(letters, 3) if " " < c <= "~"]] = False
    weight[mask] = 0


@pytest.fixture(scope="session")
def tiny_hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3.5 with a module."""
    from safetensors.torch import load_file, save_file

    from wmtp.testing.mtp_models import write_mtp_model

    folder = write_mtp_model(tmp_path_factory.mktemp("hybrid") / "model", "qwen3.5").folder
    byte_tokenizer(SPECIAL, bos_token="<s>", eos_token="</s>", pad_token="<pad>").save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    only_printable(tensors["lm_head.weight"])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def audited(
    tiny_mtp: Path, write_files: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Audit]:
    torch.set_num_threads(1)

    def run(
        temperature: float = 0.8,
        fault: Callable[[pytest.MonkeyPatch], None] | None = None,
        *,
        model: Path = tiny_mtp,
        **options: Any,
    ) -> Audit:
        from wmtp.config import load_configuration
        from wmtp.evaluation import audit as module

        write_files(
            problems=PROBLEMS,
            config={"devices": {"device": "cpu", "dtype": "float32"}},
            model={"base_id": str(model), "mtp": {"speculative": "always"}},
            eval={
                "metrics": ["mbpp_pass@1"],
                "batch_size": 8,
                "sampling": {"temperature": temperature, "max_new_tokens": 24},
                "evaluators": {"mbpp-v1": {"shots": 0}},
            },
        )
        monkeypatch.chdir(tmp_path)
        plugins = create_plugin_manager()
        evaluate = module.evaluate

        def faulty(config: Any, recipe: Any, **others: Any) -> Any:
            with monkeypatch.context() as patch:
                if fault and recipe.run.name.endswith("-a"):
                    fault(patch)
                return evaluate(config, recipe, **others)

        monkeypatch.setattr(module, "evaluate", faulty)
        files = load_configuration("config.yaml", "recipe.yaml", plugins=plugins)
        return audit(*files, plugins=plugins, runs=tmp_path / "runs", **options)

    return run


def one_heads_acceptance(patch: pytest.MonkeyPatch) -> None:
    """The first draft is taken as it is, right or not."""
    verify = RaggedDecoder._verify

    def wrong(self: Any, width: int, slots: Any, sampling: Any) -> Any:
        hidden, drawn = verify(self, width, slots, sampling)
        for slot, row in slots.occupied():
            if width > 1 and len(row.pending) > 1:
                drawn[slot, 0] = row.pending[1]
        return hidden, drawn

    patch.setattr(RaggedDecoder, "_verify", wrong)


def cache_of_one_row(patch: pytest.MonkeyPatch) -> None:
    """The keys of the third slot get a little noise."""
    step = RaggedDecoder._step

    def wrong(self: Any, slots: Any, sampling: Any) -> None:
        if slots.count > 2:
            keys = next(t for t in tensors(slots.cache) if t.dim() == 4)
            keys[2] += 0.1 * torch.randn(keys[2].shape, generator=torch.Generator().manual_seed(0))
        step(self, slots, sampling)

    patch.setattr(RaggedDecoder, "_step", wrong)


def tensors(cache: Any) -> list[torch.Tensor]:
    return [t for layer in cache.layers for t in vars(layer).values() if isinstance(t, torch.Tensor)]


def position_of_one_draft(patch: pytest.MonkeyPatch) -> None:
    """The last draft is run at the position behind its own."""
    place = RaggedCache.set_positions

    def wrong(self: Any, positions: torch.Tensor, end: int) -> None:
        if positions.shape[1] == 3 and len(positions) > 1:
            positions = positions.clone()
            positions[:, 1] -= 1
        place(self, positions, end)

    patch.setattr(RaggedCache, "set_positions", wrong)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_an_audit_of_right_drafts_passes(audited: Callable[..., Audit], temperature: float) -> None:
    found = audited(temperature)
    assert found.passed
    assert (found.samples, found.equal) == (PROBLEMS, PROBLEMS)
    assert found.acceptance[0]
    assert not found.acceptance[1]
    assert found.acceptance[0][0] not in (None, 0.0)
    assert found.comparison is not None


@pytest.mark.parametrize("fault", [one_heads_acceptance, cache_of_one_row, position_of_one_draft])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_seeded_fault_is_found_within_fifty_problems(
    audited: Callable[..., Audit], fault: Callable[[pytest.MonkeyPatch], None], temperature: float
) -> None:
    found = audited(temperature, fault)
    assert not found.passed
    assert found.faults
    assert all(d.b is None for d in found.faults), "the side without drafts is what the model writes"
    assert all(d.a is not None and d.a.margin is not None and d.a.margin > 4 * d.a.rounding for d in found.faults)
    told = json.loads(json.dumps(found.to_json()))
    assert told["passed"] is False
    assert told["differences"][0]["a"]["near_tie"] is False


def recurrent_state_of_one_row(patch: pytest.MonkeyPatch) -> None:
    """The second row's recurrent states are lost where drafts are verified; the comparison at load has one row."""
    run = OwnCache.run

    def wrong(self: Any, ids: torch.Tensor, state: State, width: int, keep: int = 1) -> Any:
        if width > 1 and len(ids) > 1:
            for layer in next(iter(state.kept.values())).layers:
                for states in getattr(layer, "recurrent_states", {}).values():
                    states[1] = 0
        return run(self, ids, state, width, keep)

    patch.setattr(OwnCache, "run", wrong)


def a_draft_taken_as_it_is(patch: pytest.MonkeyPatch) -> None:
    """The first draft of a row behind a recurrent trunk is accepted, right or not."""
    accept = DraftingDecoder._accept

    def wrong(self: Any, rows: Any, drafts: Any, drawn: list[list[int]]) -> Any:
        for given, target in zip(drafts, drawn, strict=True):
            target[0] = given[0]
        return accept(self, rows, drafts, drawn)

    patch.setattr(DraftingDecoder, "_accept", wrong)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, a_draft_taken_as_it_is, recurrent_state_of_one_row])
def test_seeded_faults_behind_a_recurrent_trunk_are_found(
    audited: Callable[..., Audit], tiny_hybrid: Path, fault: Callable[[pytest.MonkeyPatch], None] | None
) -> None:
    found = audited(0.8, fault, model=tiny_hybrid)
    assert found.acceptance[0]
    assert found.passed == (fault is None)
    assert bool(found.faults) == (fault is not None)


def noisy(size: float) -> Callable[[pytest.MonkeyPatch], None]:
    """Logits that move by so much with the shape of what is computed."""

    def fault(patch: pytest.MonkeyPatch) -> None:
        from wmtp.generation.targets import TrunkTarget

        project = TrunkTarget.project

        def moved(self: Any, states: torch.Tensor) -> torch.Tensor:
            logits = project(self, states)
            return logits + size * torch.randn(logits.shape, generator=torch.Generator().manual_seed(len(logits)))

        patch.setattr(TrunkTarget, "project", moved)

    return fault


def test_a_difference_that_rounding_explains_is_a_near_tie(
    audited: Callable[..., Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens come in pairs of equal logits: which of a pair is written is for rounding to say."""
    from wmtp.generation.targets import TrunkTarget

    project = TrunkTarget.project

    def paired(self: Any, states: torch.Tensor) -> torch.Tensor:
        logits = project(self, states)
        logits[..., 4:258:2] = logits[..., 3:257:2]
        return logits

    monkeypatch.setattr(TrunkTarget, "project", paired)
    found = audited(0.0, noisy(1e-7))
    assert found.equal < found.samples
    assert found.passed
    assert {d.near_tie for d in found.differences} == {True}


def test_a_difference_a_thousand_times_the_rounding_is_a_fault(audited: Callable[..., Audit]) -> None:
    found = audited(0.0, noisy(3e-3))
    assert found.differences, "the noise was too small to change a text"
    assert {d.near_tie for d in found.differences} == {False}


def test_the_command_says_what_it_found(
    wmtp: Callable[..., Any], write_files: Callable[..., None], tiny_mtp: Path, tmp_path: Path
) -> None:
    write_files(problems=4, model={"base_id": str(tiny_mtp)}, eval={"metrics": ["mbpp_pass@1"]})
    short = ("--set", "eval.sampling.max_new_tokens=4", "--set", "eval.evaluators.mbpp-v1.shots=0")
    done = wmtp("audit", "config.yaml", "recipe.yaml", *short)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 texts are equal (100.0%)" in done.stdout
    assert "drafts of a accepted, by head" in done.stdout
    assert "No text differs." in done.stdout
    again = wmtp("audit", "config.yaml", "recipe.yaml", *short, "--against", "reference:", "--json", "--fresh")
    assert again.returncode == 1, again.stderr
    told = json.loads(again.stdout)
    assert (told["equal"], told["faults"] + told["unexplained"]) == (0, 4)


def test_an_engine_whose_drafts_cannot_be_switched_needs_a_second_one(
    wmtp: Callable[..., Any], write_files: Callable[..., None]
) -> None:
    write_files(model={"base_id": "openai:http://127.0.0.1:9/v1"})
    done = wmtp("audit", "config.yaml", "recipe.yaml")
    assert done.returncode == 2
    assert "--against" in done.stderr
