"""Run folders as evaluations leave them, made without a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Path]


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """make_run(name, {problem: [passed, …]}) → a run folder of `toy-v1` with metric toy_pass@1."""

    def make(
        name: str,
        outcomes: Mapping[str, Sequence[bool]],
        *,
        seed: int = 7,
        evaluator: str = "toy-v1",
        metric: str = "toy_pass@1",
        judge: Mapping[str, Any] = {"time limit": 10.0, "version": "3"},
        prompt: Mapping[str, Any] = {"split": "test", "stop": []},
        rows: Mapping[str, str] = {},
        prompts: Mapping[str, str] = {},
        code: Callable[[str, int], str] | None = None,
        results: Mapping[str, Any] = {},
        values: Mapping[str, Mapping[str, float]] = {},
    ) -> Path:
        code = code or (lambda problem, index: f"def f():\n    return {index}  # {name}\n")
        folder = tmp_path / name
        folder.mkdir()
        pairs = [(p, i, ok) for p, of in outcomes.items() for i, ok in enumerate(of)]
        _lines(folder / "samples" / f"{evaluator}.jsonl", [
            {"schema": 1, "evaluator": evaluator, "problem": p, "index": i, "completion": code(p, i), "code": code(p, i),
             "finish_reason": "stop", "tokens": 9, "seconds": 0.1, "prompt_sha256": prompts.get(p, "p" * 64),
             "generation_key": "g" * 16} for p, i, _ in pairs
        ])  # fmt: skip
        _lines(folder / "verdicts" / f"{evaluator}.jsonl", [
            {"schema": 1, "evaluator": evaluator, "problem": p, "index": i, "code_sha256": "c" * 64,
             "status": "passed" if ok else "failed", "passed": ok, "tests_passed": int(ok), "tests": 1, "cpu_seconds": 0.01,
             "wall_seconds": 0.01, "peak_mib": 9.0, "detail": "" if ok else "AssertionError: f() == 1",
             "judge_key": rows.get(p, "r" * 16)} for p, i, ok in pairs
        ])  # fmt: skip
        if values:
            _lines(folder / "values" / f"{evaluator}.jsonl", [
                {"problem": p, "values": {m: of[p] for m, of in values.items()}} for p in next(iter(values.values()))
            ])  # fmt: skip
        keys = {
            "generation": {evaluator: {"model id": name, "temperature": 0.8, "top_p": 1.0, "seed": seed, **prompt}},
            "judge": {evaluator: dict(judge)},
        }
        (folder / "keys.json").write_text(json.dumps(keys))
        means = [sum(of) / len(of) for of in outcomes.values()]
        stated = {
            metric: {"value": sum(means) / len(means), "low": 0.0, "high": 1.0, "problems": len(means), "samples": len(pairs)},
            **{m: {"value": sum(of.values()) / len(of), "low": 0, "high": 1, "problems": len(of), "samples": len(of)}
               for m, of in values.items()},
        }  # fmt: skip
        body = {
            "schema": 1,
            "run": {"name": name, "tags": [], "directory": str(folder), "finished": "2026-11-28T03:00:00+0000", "seconds": 3.0},
            "metrics": stated,
            "verdicts": {evaluator: {"passed": 1}},
            "generation": {"samples": len(pairs), "tokens": 9 * len(pairs), "truncated": 0, "acceptance": [0.8, 0.6],
                           "tokens_per_second": None, "tokens_per_forward": 2.1, "seconds": None, "notes": [],
                           "batch_invariant": True},
            "judging": {"level": "strict", "infrastructure": 0, "notes": []},
            "failed_evaluators": {}, "notes": {},
            "provenance": {"model": {"id": f"model of {name}"}, "packages": {}, "plugins": [], "keys": keys, "data": {}},
            "config": {}, "recipe": {"eval": {"metrics": [metric], "sampling": {"n": 1}}},
            **results,
        }  # fmt: skip
        (folder / "recipe.yaml").write_text("eval: {}\n")
        (folder / "results.json").write_text(json.dumps(body))
        return folder

    return make
