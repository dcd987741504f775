"""Sequential modules are trained behind their trunk, saved, exported under their names, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import ROWS, Bench, byte_tokenizer
from torch import Tensor

import wmtp
from wmtp.testing.mtp_models import write_mtp_model
from wmtp_train import sequential
from wmtp_train.export import export
from wmtp_train.plan import make_plan
from wmtp_train.processes import Processes
from wmtp_train.step import Stepper

FAMILIES = ["deepseek-v3", "mimo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("glm4-moe", "ernie4.5"))]


@pytest.fixture
def family(request: pytest.FixtureRequest, tmp_path: Path, bench: Bench) -> Bench:
    """A bench whose model has modules of that family."""
    folder = tmp_path / "family"
    write_mtp_model(folder, request.param)
    byte_tokenizer().save_pretrained(folder)
    bench.recipe["model"] = {"base_id": str(folder)}
    bench.recipe["train"] = {"max_steps": 3, "batch_size": 4, "micro_batch_size": 4}
    bench.recipe["checkpoint"] = {"every": 3, "asynchronous": False}
    return bench


def loaded(bench: Bench, folder: Path | None = None) -> wmtp.LoadedModel:
    request = bench.request(**({"model": {"base_id": str(folder)}} if folder else {}))
    return wmtp.create_model_loader(request.config, request.recipe, plugins=bench.plugins).load_model(
        device="cpu", dtype="float32"
    )


def names(folder: Path) -> set[str]:
    from safetensors import safe_open

    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(str(path), framework="pt") as file:
            found |= set(file.keys())
    return found


def exported(bench: Bench, **changes: Any) -> Path:
    bench.train(**changes)
    return export(bench.request(**changes), bench.of().whole()[-1])


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_trunk_and_modules_learn_and_the_export_has_every_tensor_that_there_was(family: Bench) -> None:
    before = loaded(family)
    place = exported(family)
    losses = [values for _, values in family.values()]
    assert losses[-1]["train/ce_head_0"] < losses[0]["train/ce_head_0"]
    assert losses[-1]["train/ce_head_1"] < losses[0]["train/ce_head_1"]
    after = loaded(family, place)
    assert (after.heads.family, after.heads.modules, after.heads.used, after.heads.why) == (
        before.heads.family, 1, True, "",
    )  # fmt: skip
    assert names(place) == names(Path(family.recipe["model"]["base_id"]))
    assert before.modules is not None
    assert after.modules is not None
    changed = after.modules.state_dict()
    assert all(changed[name].shape == tensor.shape for name, tensor in before.modules.state_dict().items())
    trained = {name for name, p in before.modules.named_parameters() if not torch.equal(changed[name], p)}
    assert {name.split(".")[2] for name in trained} >= {"enorm", "hnorm", "eh_proj", "block"}
    configs = [json.loads((folder / "config.json").read_text()) for folder in (before.folder, place) if folder]
    assert configs[0]["model_type"] == configs[1]["model_type"]
    assert configs[0].get("architectures") == configs[1]["architectures"]


def written(bench: Bench, folder: Path | None) -> tuple[list[str], int]:
    """What a model writes greedily, and how many of its drafts were right."""
    request = bench.request(model={"base_id": str(folder)})
    engine: Any = wmtp.create_model_loader(request.config, request.recipe, plugins=bench.plugins).load()
    asked = [
        wmtp.GenerationRequest(
            key=wmtp.SampleKey(evaluator="e", problem=str(n), index=0), prompt=row["prompt"], max_new_tokens=12
        )
        for n, row in enumerate(ROWS)
    ]
    found = {one.key.problem: one.text for one in engine.generate(asked, wmtp.Sampling(max_new_tokens=12))}
    return [found[str(n)] for n in range(len(asked))], sum(engine.stats.accepted)


@pytest.mark.parametrize("family", ["mimo"], indirect=True)
def test_drafts_of_the_export_are_accepted_more_often_than_before_and_a_frozen_trunk_writes_the_same(
    family: Bench,
) -> None:
    changes = {"max_steps": 40, "batch_size": 10, "micro_batch_size": 10}
    place = exported(family, train=changes)
    texts, accepted = written(family, place)
    assert accepted > written(family, loaded(family).folder)[1]
    family.recipe["model"] = {"base_id": str(place)}
    further = family.renamed("further")
    changes = {"max_steps": 2, "heads": {"freeze_trunk": True}}
    further.train(train=changes)
    frozen = export(further.request(train=changes), further.of("further").whole()[-1])
    before, after = loaded(family), loaded(family, frozen)
    assert all(torch.equal(p, after.model.state_dict()[name]) for name, p in before.model.state_dict().items())
    assert before.modules is not None
    assert after.modules is not None
    assert not torch.equal(before.modules.items[0].eh_proj.weight, after.modules.items[0].eh_proj.weight)
    assert written(family, frozen)[0] == texts


@pytest.mark.parametrize("family", ["deepseek-v3"], indirect=True)
@pytest.mark.parametrize("several", [False, True], ids=["one a row", "packed"])
def test_a_step_has_the_gradient_of_each_document_by_itself(family: Bench, several: bool) -> None:
    request = family.request(
        data={"train": {**family.recipe["data"]["train"], "pack_sequences": several}}, train={"batch_size": 10}
    )
    plan = make_plan(request)
    plan.model.eval()
    assert plan.rows.batch(range(len(plan.rows))).packed == several
    rows = list(range(len(plan.rows)))
    stepper = Stepper(plan, Processes())
    below = stepper.denominators(plan.rows, rows)
    losses, _ = stepper._losses(plan.rows.batch(rows), [0.5, 0.5], below)
    losses.loss.backward()
    found = {name: p.grad.clone() for name, p in plan.model.named_parameters() if p.grad is not None}
    plan.model.zero_grad()
    document_by_document(plan, below).backward()
    for name, parameter in plan.model.named_parameters():
        if parameter.grad is not None and parameter.grad.any():
            assert (found[name] - parameter.grad).norm() <= 2e-6 * parameter.grad.norm(), name


def document_by_document(plan: Any, below: Tensor) -> Tensor:
    """The same loss over full logits, each document alone, its module run by `all_states` without masks of ours."""
    modules, total = plan.model.mtp_modules, torch.zeros(())
    for one in plan.rows.documents:
        ids = torch.tensor([one.ids])
        before, behind = modules.trunk.run(input_ids=ids, use_cache=False)
        (states,) = modules.all_states(ids, modules.first_hidden(before, behind), 1)
        for head, logits in enumerate((modules.trunk.project(behind), modules.project(0, states))):
            shift = head + 1
            losses = torch.nn.functional.cross_entropy(logits[0, :-shift], ids[0, shift:], reduction="none")
            wanted = torch.arange(shift, len(one.ids)) >= one.first_trained
            total = total + 0.5 * losses[wanted].sum() / below[head]
    return total


@pytest.mark.parametrize("family", ["mimo"], indirect=True)
def test_adapters_reach_modules_too_and_a_stopped_training_ends_with_the_same_bits(
    family: Bench, stop_after: Any
) -> None:
    import signal

    changes = {"train": {**family.recipe["train"], "lora": {"rank": 2, "dropout": 0.1, "target_modules": ["q_proj"]}}}
    family.train(**changes)
    other = family.renamed("stopped")
    other.train(listeners=(stop_after(2, signal.SIGTERM),), **changes)
    other.train(**changes)
    assert family.digests()[3] == other.digests("stopped")[3]
    place = export(family.request(**changes), family.of().whole()[-1])
    before, after = loaded(family).modules, loaded(family, place).modules
    assert before is not None
    assert after is not None
    differ = {n for n, p in before.state_dict().items() if not torch.equal(p, after.state_dict()[n])}
    assert differ == {"items.0.block.self_attn.q_proj.weight"}


@pytest.mark.parametrize("family", ["deepseek-v3"], indirect=True)
def test_one_head_trains_the_trunk_alone_and_the_modules_go_along(family: Bench) -> None:
    place = exported(family, train={"max_steps": 1, "heads": {"count": 1}})
    before, after = loaded(family), loaded(family, place)
    assert not torch.equal(before.model.lm_head.weight, after.model.lm_head.weight)
    assert before.modules is not None
    assert after.modules is not None
    assert all(torch.equal(p, after.modules.state_dict()[n]) for n, p in before.modules.state_dict().items())


def add_matrix(folder: Path, name: str, tensor: Tensor) -> None:
    from safetensors.torch import load_file, save_file

    (path,) = folder.glob("*.safetensors")
    save_file({**load_file(path), name: tensor.clone()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("family", ["deepseek-v3"], indirect=True)
def test_copies_of_the_trunks_matrices_are_stored_again_as_the_trunk_has_them_now(family: Bench) -> None:
    before = loaded(family)
    assert before.folder is not None
    add_matrix(before.folder, "model.layers.3.shared_head.head.weight", before.model.lm_head.weight)
    add_matrix(before.folder, "model.layers.3.embed_tokens.weight", before.model.model.embed_tokens.weight)
    place = exported(family, train={"max_steps": 1})
    assert names(place) == names(before.folder)
    after = loaded(family, place)
    assert not torch.equal(before.model.lm_head.weight, after.model.lm_head.weight)
    assert after.modules is not None
    assert after.modules.items[0].head is None, "it is the trunk's"
    assert after.modules.items[0].embed_tokens is None


@pytest.mark.parametrize("family", ["deepseek-v3"], indirect=True)
def test_modules_that_cannot_be_trained_are_named_and_exported_as_they_are(
    family: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(family.recipe["model"]["base_id"])
    add_matrix(folder, "model.layers.3.shared_head.head.weight", torch.randn(264, 64))
    with pytest.raises(wmtp.ConfigError, match="others that cannot be trained: deepseek-v3: its modules have output"):
        make_plan(family.request(train={"heads": {"count": 2}}))
    place = exported(family, train={"max_steps": 1})
    assert "are not trained, and are exported as they are" in caplog.text
    assert names(place) == names(folder)


def test_a_frozen_trunk_without_heads_or_with_a_curriculum_is_refused(bench: Bench) -> None:
    with pytest.raises(wmtp.ConfigError, match="leaves nothing to train"):
        make_plan(bench.request(train={"heads": {"count": 1, "freeze_trunk": True}}))
    with pytest.raises(wmtp.ConfigError, match="which freeze_trunk freezes"):
        bench.request(train={"heads": {"freeze_trunk": True, "schedule": "forward", "schedule_steps": 2}})


def test_parallel_heads_behind_a_frozen_trunk_are_all_that_changes(bench: Bench) -> None:
    changes = {"train": {"max_steps": 2, "heads": {"freeze_trunk": True}}}
    bench.train(**changes)
    before, after = loaded(bench).model, loaded(bench, export(bench.request(**changes), bench.of().whole()[-1])).model
    differ = {n.split(".")[0] for n, p in before.state_dict().items() if not torch.equal(p, after.state_dict()[n])}
    assert differ == {"extra_heads"}
    assert sequential.PREFIX not in "".join(before.state_dict())
