"""A training that was stopped goes on to the same bits; another recipe's does not go on at all."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tiny_training import Bench, Finished

import wmtp
from wmtp_train.export import export
from wmtp_train.folder import COMPLETE

STOP = Callable[[int, int], Any]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train": {"lora": {"rank": 2, "dropout": 0.3, "target_modules": ["q_proj", "v_proj"]}, "ema": 0.9}},
        {"train": {"heads": {"schedule": "forward", "schedule_steps": 4}}, "checkpoint": {"asynchronous": True}},
    ],
    ids=["plain", "adapters with dropout, running mean", "curriculum, asynchronous"],
)
def test_a_stopped_training_ends_with_the_same_bits(bench: Bench, stop_after: STOP, changes: dict[str, Any]) -> None:
    whole = bench.renamed("whole")
    assert whole.train(**changes).ending == "finished"
    stopped = bench.train(listeners=(stop_after(3, signal.SIGTERM),), **changes)
    assert stopped.ending == "stopped"
    assert 3 <= stopped.step < 6
    assert bench.train(**changes).ending == "finished"
    assert bench.digests()[6] == whole.digests("whole")[6]
    assert bench.values() == whole.values("whole")


def test_a_finished_training_is_not_done_again(bench: Bench, known: Finished) -> None:
    bench.finished(known)
    before = bench.of().journal.read_bytes()
    assert bench.train().step == 6
    assert bench.of().journal.read_bytes() == before


def test_lines_behind_the_checkpoint_are_done_again(bench: Bench, known: Finished) -> None:
    digests = bench.finished(known)
    values = bench.values()
    for step in (6, 4):  # as a kill between step 3 and its checkpoint would leave it
        shutil.rmtree(bench.of().at(step))
    bench.train()
    assert bench.values() == values
    assert bench.digests() == digests


def test_a_half_checkpoint_is_removed_and_not_read(bench: Bench, known: Finished) -> None:
    digests = bench.finished(known)
    half = bench.of().at(6)
    (half / COMPLETE).unlink()
    half.rename(bench.of().partial(6))
    bench.train()
    assert bench.digests() == digests
    assert not bench.of().partial(6).exists()


def test_a_checkpoint_whose_file_was_cut_or_changed_is_left_out_and_not_exported(
    bench: Bench, known: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    digests = bench.finished(known)
    for step, change in ((6, lambda data: data[:-10]), (4, lambda data: data[:-2000] + b"x" + data[-1999:])):
        data = next(bench.of().at(step).glob("*.distcp"))
        data.write_bytes(change(data.read_bytes()))
        with pytest.raises(wmtp.ConfigError, match=r"is damaged: .*export another one"):
            export(bench.request(), next(one for one in bench.of().whole() if one.step == step))
    bench.train()
    assert f"{bench.of().at(6)} is left out" in caplog.text
    assert "its sha256 is another" in caplog.text
    assert bench.digests() == digests


def test_another_recipe_is_refused_and_says_what_changed(bench: Bench, known: Finished) -> None:
    bench.finished(known)
    with pytest.raises(wmtp.ConfigError, match=r"(?s)What changed.*optim\.lr: 0\.01 → .*Use another run\.name"):
        bench.train(optim={"lr": 3e-3})
    assert bench.train().step == 6


def test_never_moves_what_is_there_aside(bench: Bench, known: Finished) -> None:
    digests = bench.finished(known)
    bench.train(resume="never", optim={"lr": 3e-3})
    assert bench.digests() != digests
    assert (bench.folder / "t" / "train.before-1" / "checkpoints").is_dir()


def test_sigusr1_saves_and_goes_on(bench: Bench, stop_after: STOP) -> None:
    result = bench.train(listeners=(stop_after(1, signal.SIGUSR1),), checkpoint={"every": 100})
    assert result.ending == "finished"
    assert len(bench.of().whole()) == 2


@pytest.mark.parametrize("keep_last", [2, None])
def test_a_stop_between_checkpoints_leaves_those_of_an_unbroken_training(
    bench: Bench, stop_after: STOP, keep_last: int | None
) -> None:
    changes = {"checkpoint": {"every": 100, "keep_last": keep_last}}
    bench.train(**changes)
    steps = [one.step for one in bench.of().whole()]
    other = bench.renamed("stopped")
    assert other.train(listeners=(stop_after(1, signal.SIGTERM),), **changes).ending == "stopped"
    assert other.of("stopped").whole()[-1].passing
    other.train(**changes)
    assert [one.step for one in other.of("stopped").whole()] == steps


def test_old_checkpoints_go_and_the_best_stay(bench: Bench) -> None:
    bench.recipe["data"]["eval"] = bench.recipe["data"]["train"]
    bench.train(train={"eval_every": 1}, checkpoint={"every": 1, "keep_last": 1, "keep_best": 1})
    found = bench.of().whole()
    losses = {step: values["eval/loss"] for step, values in bench.values() if "eval/loss" in values}
    assert {one.step for one in found} == {6, min(losses, key=lambda step: (losses[step], step))}


def test_validation_changes_nothing(bench: Bench, known: Finished) -> None:
    other = bench.renamed("watched")
    other.recipe["data"] = {**bench.recipe["data"], "eval": bench.recipe["data"]["train"]}
    other.train(train={"eval_every": 1})
    assert other.digests("watched") == known.digests


def test_early_stopping_ends_the_training_for_good(bench: Bench) -> None:
    bench.recipe["data"]["eval"] = bench.recipe["data"]["train"]
    changes: dict[str, Any] = {
        "train": {"eval_every": 1, "early_stopping": {"patience": 1, "min_delta": 100.0}, "max_steps": 50}
    }
    first = bench.train(**changes)
    assert (first.ending, first.step) == ("early", 2)
    assert bench.train(**changes).step == 2


def test_a_state_says_what_it_is(bench: Bench, known: Finished) -> None:
    bench.finished(known)
    state = json.loads((bench.of().at(2) / "state.json").read_text(encoding="utf-8"))
    assert state["step"] == 2
    assert state["world"] == 1
    assert all(len(file["sha256"]) == 64 for file in state["files"].values())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_is_said_in_a_sentence_and_the_same_command_goes_on(bench: Bench, asynchronous: bool) -> None:
    import resource

    changes = {"checkpoint": {"asynchronous": asynchronous}, "train": {"max_steps": 3}}
    whole = bench.renamed("whole")
    whole.train(**changes)
    bench.train(train={"max_steps": 3}, checkpoint={"asynchronous": asynchronous})
    shutil.rmtree(bench.of().at(3))  # as a kill before it was written would leave it
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            wmtp.WmtpError, match=r"(?s)of step 3 cannot be written .*: File too large.*same command again"
        ):
            bench.train(**changes)
        with pytest.raises(wmtp.WmtpError, match=r"the export cannot be written to .*make room"):
            export(bench.request(**changes), bench.of().whole()[-1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.step for one in bench.of().whole()] == [2]
    assert not list(bench.of().path.rglob(".partial-*"))
    bench.train(**changes)
    assert bench.digests()[3] == whole.digests("whole")[3]


def test_a_gradient_that_is_not_a_number_moves_no_weight(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss may be finite whose gradient is not; in the last step nobody would see it behind."""
    import torch

    real, seen = torch.nn.utils.clip_grad_norm_, []

    def overflowing(parameters: list[Any], limit: float) -> torch.Tensor:
        seen.append(None)
        if len(seen) == 3:
            parameters[0].grad[0] = float("inf")
        return real(parameters, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", overflowing)
    with pytest.raises(
        wmtp.WmtpError, match=r"the gradient of step 3 is not a number; the weights are those of step 2"
    ):
        bench.train(train={"max_steps": 3})
    assert [one.step for one in bench.of().whole()] == [2]
    assert json.loads((bench.of().path / "not-finite-00000003-0.json").read_text())["examples"]


@pytest.mark.parametrize("damage", ["edited", "{}", "gone", "copied"])
def test_a_checkpoint_whose_state_is_damaged_is_left_out_with_a_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    bench.train(train={"max_steps": 4})
    digests = bench.digests()
    for step in (2, 4):
        place = bench.of().at(step) / ("state.json" if step == 4 else ".metadata")
        if damage == "edited":
            place.write_bytes(place.read_bytes().replace(b'"step": 4', b'"step": 3') if step == 4 else b"x")
        elif damage == "copied" and step == 4:
            shutil.rmtree(place.parent)
            shutil.copytree(bench.of().at(2), place.parent)
        elif damage == "gone":
            place.unlink()
        else:
            place.write_text(damage)
    bench.train(train={"max_steps": 4})
    assert f"checkpoint {bench.of().at(4)} is left out" in caplog.text
    assert f"checkpoint {bench.of().at(2)} is left out" in caplog.text
    assert bench.digests() == digests


def test_a_damaged_line_of_the_journal_is_named(bench: Bench) -> None:
    bench.train(train={"max_steps": 4})
    shutil.rmtree(bench.of().at(4))
    lines = bench.of().journal.read_bytes().splitlines(keepends=True)
    bench.of().journal.write_bytes(lines[0][:20] + b"\n" + b"".join(lines[1:]))
    with pytest.raises(wmtp.ConfigError, match=r"metrics\.jsonl, line 1: damaged"):
        bench.train(train={"max_steps": 4})
