"""Names that MLflow takes, for any name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mlflow")
from mlflow.utils.validation import _validate_metric_name

from wmtp_mlflow.names import mapped, taken

# Names close to one another: the way to find two that become one.
NAMES = st.one_of(st.text("a@_t/.: é", min_size=0, max_size=8), st.text(max_size=300))


@given(st.lists(NAMES, max_size=30))
def test_every_name_becomes_one_that_mlflow_takes_and_no_two_become_one(names: list[str]) -> None:
    known: dict[str, str] = {}
    made = {name: mapped(name, known) for name in names}
    assert len(set(made.values())) == len(made)
    assert all(known[new] == old for old, new in made.items())
    assert all(taken(new) for new in made.values())
    for new in made.values():
        _validate_metric_name(new)
    assert {name: mapped(name, dict(known)) for name in reversed(names)} == made, "asked again, the same"


def test_what_mlflow_takes_stays_and_an_at_sign_is_readable() -> None:
    known: dict[str, str] = {}
    assert mapped("train/loss head 0.1", known) == "train/loss head 0.1"
    assert mapped("eval/mbpp_pass@1", known) == "eval/mbpp_pass_at_1"
    assert mapped("eval/mbpp_pass_at_1", known).startswith("eval/mbpp_pass_at_1-"), "the name is somebody else's"
