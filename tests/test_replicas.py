"""`devices.replicas`: engines in processes of their own write what one engine writes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def same_but_times(results: dict[str, Any]) -> dict[str, Any]:
    """A results.json without what measures time, and without what says how the run was started."""
    kept = {k: v for k, v in results.items() if k not in ("run", "config", "recipe")}
    generation = {k: v for k, v in kept["generation"].items() if "second" not in k}
    return {**kept, "generation": generation}


def children(pid: int) -> list[int]:
    return [int(p) for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_replicas_write_what_one_engine_writes_also_after_one_was_killed(
    tiny_llama: Path,
    write_files: Callable[..., None],
    evaluate: Callable[..., Any],
    results: Callable[..., dict[str, Any]],
) -> None:
    write_files(
        problems=12,
        config={"devices": {"device": "cpu", "dtype": "float32", "threads": 1}},
        model={"base_id": str(tiny_llama)},
        eval={
            "metrics": ["mbpp_pass@1"],
            "sampling": {"temperature": 0.8, "n": 3, "max_new_tokens": 12},
            "evaluators": {"mbpp-v1": {"shots": 0}},
        },
    )
    evaluate("run.name=one")
    import attrs

    from wmtp.config import load_configuration
    from wmtp.evaluation.driver import evaluate as run

    def with_replicas(name: str) -> None:
        config, recipe = load_configuration(
            "config.yaml", "recipe.yaml", plugins=plugins(), overrides=[f"run.name={name}"]
        )
        run(attrs.evolve(config, devices=attrs.evolve(config.devices, replicas=2)), recipe, runs=Path("runs").resolve())

    with_replicas("two")
    assert same_but_times(results("two")) == same_but_times(results("one"))

    def kill() -> None:
        samples = Path("runs/killed/samples/mbpp-v1.jsonl")
        while not samples.exists() or not samples.stat().st_size:
            time.sleep(0.01)
        victims = [p for p in children(os.getpid()) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
        os.kill(victims[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with_replicas("killed")
    killer.join()
    assert same_but_times(results("killed"))["metrics"] == same_but_times(results("one"))["metrics"]
    assert samples("killed") == samples("one")


def samples(name: str) -> dict[tuple[str, int], str]:
    from wmtp import open_run

    return {(s.key.problem, s.key.index): s.completion for s in open_run(Path("runs") / name).samples("mbpp-v1")}


def plugins() -> Any:
    from wmtp import create_plugin_manager

    return create_plugin_manager()
