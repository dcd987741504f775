"""`wmtp audit --against`: a server with drafts beside one without."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai_server import StandIn, drawn


@pytest.mark.parametrize("right", [True, False])
def test_a_server_with_drafts_is_audited_against_one_without(
    right: bool, server: StandIn, wmtp: Callable[..., Any], write_files: Callable[..., None]
) -> None:
    other = StandIn().started()
    if not right:  # its drafts change one problem's text
        server.write = lambda body: drawn(body) + ("!" if "add 12 " in body["prompt"] else "")
    write_files(
        problems=3,
        model={"base_id": f"openai:{server.url}"},
        eval={"metrics": ["mbpp_pass@1"], "evaluators": {"mbpp-v1": {"shots": 0}}},
    )
    done = wmtp("audit", "config.yaml", "recipe.yaml", "--against", f"openai:{other.url}", "--json")
    other.stop()
    found = json.loads(done.stdout)
    assert (done.returncode, found["passed"]) == ((0, True) if right else (1, False)), done.stderr
    assert (found["samples"], found["equal"], found["unexplained"]) == ((3, 3, 0) if right else (3, 2, 1))
    assert found["acceptance"][0], "drafts as the first server counts them"
    if not right:
        (difference,) = found["differences"]
        assert (difference["problem"], difference["a"], difference["near_tie"]) == ("12", None, None)
