"""Which rows a step takes, and what the rate is: functions of the step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wmtp
from wmtp_train import order, schedule
from wmtp_train.settings import HeadsConfig, OptimConfig


@given(rows=st.integers(1, 40), batch=st.integers(1, 9), epochs=st.integers(1, 4), seed=st.integers(0, 5))
def test_every_row_is_seen_once_an_epoch(rows: int, batch: int, epochs: int, seed: int) -> None:
    steps = order.total_steps(rows, batch, epochs, None)
    end = rows * epochs
    seen = [
        row
        for step in range(steps)
        for row in order.rows_of_step(step, rows=rows, batch_size=batch, seed=seed, end=end)
    ]
    for epoch in range(epochs):
        assert sorted(seen[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_epochs_are_shuffled_differently() -> None:
    assert order.epoch_order(20, 1, 0) != order.epoch_order(20, 1, 1)
    assert order.epoch_order(20, 1, 0) != order.epoch_order(20, 2, 0)


@given(count=st.integers(1, 30), size=st.integers(1, 5), world=st.integers(1, 4))
def test_processes_share_a_step_and_all_have_as_many_micro_batches(count: int, size: int, world: int) -> None:
    rows = list(range(count))
    parts = [order.micro_batches(rows, size=size, rank=rank, world=world) for rank in range(world)]
    assert sorted(row for of in parts for part in of for row in part) == rows
    assert len({len(of) for of in parts}) == 1
    assert all(len(part) <= size for of in parts for part in of)


def test_the_rate_rises_and_falls_as_the_scheduler_of_transformers_does() -> None:
    import torch
    from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

    for name, peer in (("cosine", get_cosine_schedule_with_warmup), ("linear", get_linear_schedule_with_warmup)):
        optim = OptimConfig(lr=0.1, scheduler=name, warmup_steps=5)
        weights = torch.nn.Parameter(torch.zeros(1))
        theirs = peer(torch.optim.SGD([weights], lr=0.1), 5, 40)
        rates = []
        for _ in range(40):
            theirs.optimizer.step()
            theirs.step()
            rates.append(theirs.get_last_lr()[0])
        # Theirs begins with a step of rate 0; ours has its first rate in the first step.
        ours = [schedule.learning_rate(step, optim, 40) for step in range(40)]
        assert ours[:5] == pytest.approx(rates[:5])
        assert ours[6:] == pytest.approx(rates[5:39])


def test_a_warm_up_that_outlasts_the_training_is_refused() -> None:
    with pytest.raises(wmtp.ConfigError, match="warm-up takes 10 steps and the training 10"):
        schedule.check_schedule(OptimConfig(warmup_steps=10), 10)


def test_a_curriculum_adds_or_takes_heads_one_by_one() -> None:
    forward = HeadsConfig(schedule="forward", schedule_steps=8)
    assert [schedule.active_heads(step, forward, 4) for step in (0, 2, 4, 6, 8, 100)] == [1, 2, 3, 4, 4, 4]
    reverse = HeadsConfig(schedule="reverse", schedule_steps=8)
    assert [schedule.active_heads(step, reverse, 4) for step in (0, 2, 4, 6, 8, 100)] == [4, 3, 2, 1, 1, 1]


@given(step=st.integers(0, 30), decay=st.floats(0.1, 1.0), count=st.integers(1, 6))
def test_coefficients_sum_to_one(step: int, decay: float, count: int) -> None:
    heads = HeadsConfig(decay=decay, schedule="forward", schedule_steps=10)
    assert sum(schedule.coefficients(step, heads, count)) == pytest.approx(1.0)


def test_more_heads_than_the_model_has_are_refused() -> None:
    with pytest.raises(wmtp.ConfigError, match="the model has 1"):
        schedule.check_heads(HeadsConfig(count=4), 1)
