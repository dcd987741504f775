"""Each setting changes what it says, and would be missed if it did nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_training import Bench, OverflowingStepper
from torch import Tensor

import wmtp
from wmtp.config.schema import recipe_schema
from wmtp_train import loop
from wmtp_train.export import export


def weights(bench: Bench) -> dict[int, dict[str, Tensor]]:
    """Step → the model's tensors of its checkpoint."""
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    found = {}
    for one in bench.of().whole():
        dcp_to_torch_save(one.path, bench.folder / "whole.pt")
        found[one.step] = torch.load(bench.folder / "whole.pt", weights_only=True)["model"]
    return found


def heads_moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[int]:
    """Which extra heads have other weights, by their numbers."""
    return {
        int(name.split(".")[1])
        for name in before
        if name.startswith("extra_heads.") and not torch.equal(before[name], after[name])
    }


@pytest.mark.parametrize(
    ("schedule", "moved"),
    [("forward", [{0}, {0, 1}, {0, 1, 2}]), ("reverse", [{0, 1}, {0}, set()])],
)
def test_a_curriculum_trains_the_heads_that_it_has_at_a_step_and_no_others(
    bench: Bench, schedule: str, moved: list[set[int]]
) -> None:
    bench.train(train={"max_steps": 4, "heads": {"schedule": schedule, "schedule_steps": 4}}, checkpoint={"every": 1})
    found = weights(bench)
    assert [heads_moved(found[step], found[step + 1]) for step in (1, 2, 3)] == moved


def test_an_export_is_the_running_mean_of_the_weights(bench: Bench) -> None:
    from transformers import AutoModelForCausalLM

    changes = {"train": {"max_steps": 3, "ema": 0.75}, "checkpoint": {"every": 1}}
    bench.train(**changes)
    found = weights(bench)
    mean = AutoModelForCausalLM.from_pretrained(bench.recipe["model"]["base_id"]).state_dict()
    for step in (1, 2, 3):
        mean = {name: 0.75 * tensor + 0.25 * found[step][name] for name, tensor in mean.items()}
    place = export(bench.request(**changes), bench.of().whole()[-1])
    out = AutoModelForCausalLM.from_pretrained(place).state_dict()
    assert all(torch.allclose(out[name], tensor, atol=1e-6) for name, tensor in mean.items())
    assert not torch.allclose(out["lm_head.weight"], found[3]["lm_head.weight"], atol=1e-4)


def test_a_loss_that_falls_is_not_stopped_early_and_one_that_rises_is_after_its_patience(bench: Bench) -> None:
    bench.recipe["data"]["eval"] = bench.recipe["data"]["train"]
    watched: dict[str, Any] = {"eval_every": 1, "early_stopping": {"patience": 2}, "max_steps": 5}
    falling = bench.train(train=watched, optim={"lr": 1e-3}, checkpoint={"every": 100})
    assert (falling.ending, falling.step) == ("finished", 5)
    other = bench.renamed("rising")
    rising = other.train(train=watched, optim={"lr": 3.0, "scheduler": "constant"}, checkpoint={"every": 100})
    losses = [values["eval/loss"] for _, values in other.values("rising") if "eval/loss" in values]
    assert (rising.ending, rising.step) == ("early", len(losses))
    assert min(losses) == losses[-3], "two in a row were no better"


def test_a_step_whose_loss_is_not_a_number_is_left_out_where_the_recipe_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Stepper", OverflowingStepper)
    bench.train(train={"max_steps": 3, "on_nan": "skip"}, checkpoint={"every": 1})
    assert [step for step, values in bench.values() if "train/skipped" in values] == [2]
    found = weights(bench)
    assert all(torch.equal(tensor, found[2][name]) for name, tensor in found[1].items())
    assert not all(torch.equal(tensor, found[3][name]) for name, tensor in found[2].items())


def test_every_key_has_a_sentence(plugins: wmtp.Plugins) -> None:
    sections = recipe_schema(plugins)["properties"]
    names = ("train", "optim", "data", "reference", "critic", "checkpoint")
    assert [key for name in names for key in silent(sections[name], name)] == []


def silent(schema: dict[str, Any], path: str) -> list[str]:
    """Keys below a section that nothing is said of."""
    found = []
    for key, inner in schema.get("properties", {}).items():
        if "const" not in inner and not inner.get("description"):
            found.append(f"{path}.{key}")
        found += silent(inner, f"{path}.{key}")
    for form in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])):
        found += silent(form, path)
    return found


def test_decay_and_coefficients_say_how_much_a_head_counts(bench: Bench) -> None:
    losses = {}
    for name, heads in (("even", {}), ("one", {"coefficients": [0, 1, 0, 0]}), ("decay", {"decay": 0.5})):
        bench.renamed(name).train(train={"max_steps": 1, "heads": heads})
        ((_, values),) = bench.values(name)
        losses[name] = (values["train/loss"], [values[f"train/weighted_ce_head_{head}"] for head in range(2)])
    assert losses["one"][0] == pytest.approx(losses["one"][1][1])
    assert losses["even"][0] != pytest.approx(losses["one"][0], abs=1e-6)
    assert losses["decay"][0] != pytest.approx(losses["even"][0], abs=1e-6)
