"""What a benchmark's author gets wrong is said with the method and the problem, before anything is stored of it."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import wmtp
from wmtp import kit
from wmtp.contracts.catalog import Registered
from wmtp.errors import PluginError
from wmtp.evaluation.engine import GivenModel, RunEngine
from wmtp.plugins.calling import called, read


def returns(value: Any) -> Callable[..., Any]:
    return lambda *_: value


def raises(*_: Any) -> Any:
    raise KeyError("ask")


CASE = ("1\n", "2\n")
FAULTS: list[tuple[str, Any, str]] = [
    ("stop", "\n\n", r"must be a tuple of texts, not '\\n\\n'; write \('\\n\\n',\)"),
    ("stop", ("END", ""), "empty text"),
    ("stop", None, "must be a tuple of texts"),
    ("pass_metric", None, "must be text"),
    ("known_bad", ["p0"], "must be a mapping"),
    ("form", raises, "this task: KeyError: 'ask'"),
    ("prompt_form", raises, "this task: KeyError: 'ask'"),
    ("problems", returns(None), "the rows: TypeError"),
    ("problems", returns(iter([{"id": "p0"}])), "row 0: TypeError: it gave {'id': 'p0'}, not a wmtp.Problem"),
    ("problems", raises, "the rows: KeyError"),
    ("problems", lambda _, rows: (wmtp.Problem(i, row) for i, row in enumerate(rows)), "row 0: TypeError: Problem.id"),
    ("prompt", returns(""), "problem p0: ValueError: the prompt is empty"),
    ("prompt", returns([]), "problem p0: ValueError: the prompt is empty"),
    ("prompt", returns(None), "problem p0: TypeError"),
    ("prompt", returns(b"x"), "problem p0: TypeError"),
    ("prompt", returns(["hi"]), "problem p0: TypeError.*'hi'"),
    ("prompt", returns([{"role": "user"}]), "problem p0: TypeError.*'content'"),
    ("prompt", returns([{"role": "user", "content": ""}]), "problem p0: ValueError"),
    ("prompt", raises, "problem p0: KeyError: 'ask'"),
    ("reference", returns(3), "problem p0: TypeError: it returned 3"),
    ("code", returns(3), "problem p0, sample 0: TypeError: it returned 3"),
    ("code", returns(["def f(): pass"]), "problem p0, sample 0: TypeError"),
    ("code", raises, "problem p0, sample 0: KeyError: 'ask'"),
    ("program", returns({"tests": ()}), "problem p0, sample 0: TypeError: it returned {'tests': \\(\\)}"),
    ("program", returns(None), "problem p0, sample 0: TypeError: it returned None"),
    ("program", lambda *_: wmtp.CallTests(tests="assert f()"), "problem p0, sample 0: TypeError: CallTests.tests"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases=(CASE,)), "problem p0, sample 0: TypeError: StdioTests.cases holds"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases="12"), "problem p0, sample 0: TypeError: StdioTests.cases"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases=iter([CASE])), "problem p0, sample 0, reading its cases: TypeError"),  # type: ignore[arg-type]
    ("program", lambda *_: wmtp.StdioTests(cases=map(raises, [1])), "sample 0, reading its cases: KeyError: 'ask'"),
    ("score", returns({"text_length": float("nan")}), "problem p0: ValueError: must be a finite number"),
    ("score", returns({"text_length": "3"}), "problem p0: TypeError: must be a number"),
    ("score", raises, "problem p0: KeyError: 'ask'"),
]


@pytest.mark.parametrize(("name", "value", "words"), FAULTS)
def test_a_fault_of_a_benchmark_names_its_method_and_the_problem(
    bench: Any, text_benchmark: type[wmtp.CodeBenchmark], name: str, value: Any, words: str
) -> None:
    judged = bench.judge.submit

    def reading(code: str, tests: Any) -> Any:
        assert not isinstance(tests, wmtp.StdioTests) or list(tests.cases)
        return judged(code, tests)

    bench.judge.submit = reading
    bench.benchmark = type("Faulty", (text_benchmark,), {name: value})
    with pytest.raises(PluginError, match=rf"^Faulty\.{name} of text-v1 .*{words}"):
        bench.run(["passed"], metrics=("text_pass@1", "text_length"))


@pytest.mark.parametrize(
    "fields",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "0.5"},
        {"value": True},
        {"low": 0.9, "high": 0.2},
    ],
)
def test_a_metric_is_a_number_that_a_file_can_hold(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"MetricValue\.(value|low)"):
        wmtp.MetricValue(**{"value": 0.5, "low": 0.4, "high": 0.6, "problems": 1, "samples": 1, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"values": {"m": {"p0": "x"}}},
        {"values": {"m": {0: 1.0}}},
        {"values": {"m": {"p0": float("nan")}}},
        {"values": {"m": {"p0": None}}},
        {"values": {"m": [1.0]}},
        {"too_long": {"error": "x"}},
        {"failed": {"x": "y"}},
        {"failing_tests": {"p0": ["x"]}},
        {"notes": "one"},
    ],
)
def test_a_result_is_refused_where_it_is_made(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"EvaluationResult\.{next(iter(fields))} "):
        wmtp.EvaluationResult(evaluator="x-v1", metrics={}, **fields)


def test_a_record_names_itself_where_a_choice_or_a_class_is_wrong() -> None:
    key = wmtp.SampleKey(evaluator="x-v1", problem="p", index=0)
    made: dict[str, Any] = {"key": key, "text": "", "finish_reason": "stop", "tokens": 0, "seconds": 0}
    with pytest.raises(ValueError, match=r"^Completion\.finish_reason must be one of 'stop', .*, not 'eos'$"):
        wmtp.Completion(**{**made, "finish_reason": "eos"})
    with pytest.raises(TypeError, match=r"^Completion\.key must be a wmtp\.SampleKey, not 'p'$"):
        wmtp.Completion(**{**made, "key": "p"})


KEY = wmtp.SampleKey(evaluator="x-v1", problem="p", index=0)
DONE = wmtp.Completion(key=KEY, text="", finish_reason="stop", tokens=0, seconds=0.0)


class ScriptedEngine:
    def __init__(self, answers: Any, identity: Any = types.MappingProxyType({"weights": "none"})) -> None:
        self._answers, self.identity = answers, identity

    def generate(self, requests: Any, sampling: wmtp.Sampling) -> Any:
        list(requests)
        return self._answers


class FailingEngine(ScriptedEngine):
    """Fails in one of its parts, with an error of its own."""

    def __init__(self, part: str) -> None:
        super().__init__([])
        self._part = part
        self.identity = {"weights": "none"}

    def _fails(self, part: str) -> None:
        if part == self._part:
            raise KeyError("ask")

    def generate(self, requests: Any, sampling: wmtp.Sampling) -> Any:
        self._fails("generate")
        return self._completions(requests)

    def _completions(self, requests: Any) -> Iterator[wmtp.Completion]:
        self._fails("first completion")
        for _ in requests:
            yield DONE

    @property
    def stats(self) -> Any:
        self._fails("stats")
        return wmtp.GenerationStats()

    def head_scores(self, prompt: Any, text: str) -> Any:
        self._fails("head_scores")

    def available(self, problems: Any, *, whole: bool) -> Any:
        self._fails("available")
        return {}

    def close(self) -> None:
        self._fails("close")


def _of_loader(engine: Any, folder: Path) -> RunEngine:
    """The engine as a plugin's loader gives it."""

    class Plugin:
        __version__ = "2.1"

        @wmtp.hookimpl
        def wmtp_loaders(self) -> list[wmtp.LoaderSpec]:
            return [
                wmtp.LoaderSpec(
                    name="own", summary="ours", matches=lambda reference: reference == "own:x", load=lambda _: engine
                )
            ]

    plugins = wmtp.create_plugin_manager(plugins=[Plugin()], allow=[])
    recipe = wmtp.load_recipe({"model": {"base_id": "own:x"}, "eval": {"metrics": []}}, plugins=plugins)
    config = wmtp.load_config({"paths": {"cache": str(folder / "cache")}}, plugins=plugins)
    return RunEngine(wmtp.create_model_loader(config, recipe, plugins=plugins), folder)


def _run_through(engine: RunEngine) -> None:
    list(engine.generate([wmtp.GenerationRequest(key=KEY, prompt="x")], wmtp.Sampling()))
    engine.head_scores("x", "y")
    engine.available(["p"], whole=True)
    engine.close()


@pytest.mark.parametrize("part", ["generate", "first completion", "stats", "head_scores", "available", "close"])
def test_an_engines_own_error_names_the_engine_and_its_owner(tmp_path: Path, part: str) -> None:
    method = "generate" if part == "first completion" else part
    words = f"^Engine.{method} of model 'own:x' of plugin 2.1 failed: KeyError: 'ask'"
    with pytest.raises(PluginError, match=words):
        _run_through(_of_loader(FailingEngine(part), tmp_path))
    given = rf"^Engine.{method} of model 'in memory' of .*\.FailingEngine failed: KeyError: 'ask'"
    if part != "close":  # what a program opened it closes itself
        with pytest.raises(PluginError, match=given):
            _run_through(RunEngine(GivenModel(FailingEngine(part)), tmp_path))


def test_what_an_evaluators_requests_raise_is_not_told_as_the_engines(tmp_path: Path) -> None:
    def requests() -> Iterator[wmtp.GenerationRequest]:
        raise KeyError("of the evaluator")
        yield

    with pytest.raises(KeyError, match="of the evaluator"):
        list(_of_loader(FailingEngine(""), tmp_path).generate(requests(), wmtp.Sampling()))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (None, "returned None, not an iterator"),
        ([None], "gave None, not a wmtp.Completion"),
        ([{"text": ""}], "not a wmtp.Completion"),
        ([DONE, DONE], "sample 0 of problem p of x-v1, which it was not asked for or has given already"),
        ([attrs.evolve(DONE, key=attrs.evolve(KEY, index=7))], "sample 7 of problem p"),
        ([attrs.evolve(DONE, key=attrs.evolve(KEY, evaluator="y-v1"))], "of problem p of y-v1"),
        ([attrs.evolve(DONE, extra={"why": object()})], "extra that is no JSON, for sample 0 of problem p"),
    ],
)
def test_an_engine_answers_what_it_was_asked(tmp_path: Path, answers: Any, words: str) -> None:
    engine = RunEngine(GivenModel(ScriptedEngine(answers)), tmp_path)
    with pytest.raises(PluginError, match=words):
        list(engine.generate(iter([wmtp.GenerationRequest(key=KEY, prompt="x")]), wmtp.Sampling()))


def test_completions_that_come_together_stay_together_and_a_fault_costs_none_before_it(tmp_path: Path) -> None:
    keys = [attrs.evolve(KEY, index=i) for i in range(3)]
    first, second, third = (attrs.evolve(DONE, key=key) for key in keys)
    found = kit.InBatches(batch for batch in ([first], [second, first, third]))
    engine = RunEngine(GivenModel(ScriptedEngine(found)), tmp_path)
    given = engine.generate((wmtp.GenerationRequest(key=key, prompt="x") for key in keys), wmtp.Sampling())
    assert isinstance(given, kit.InBatches)
    batches = given.together()
    assert [next(batches), next(batches)] == [[first], [second]]
    with pytest.raises(PluginError, match="sample 0 of problem p of x-v1, which it was not asked for or has given"):
        next(batches)


@pytest.mark.parametrize("engine", [None, object(), ScriptedEngine([], "abc")])
def test_what_is_given_as_an_engine_is_one(engine: Any) -> None:
    with pytest.raises(PluginError, match="an engine has `generate`, and `identity`"):
        GivenModel(engine)


def late(*rows: Any) -> Iterator[Any]:
    yield from rows
    raise KeyError("split")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "returned None, not rows"),
        ("rows", "returned 'rows', not rows"),
        ({"a": 1}, "returned {'a': 1}, not rows"),
        ([{}, 3], "gave 3 as row 1"),
        (iter([{}, 3]), "gave 3 as row 1"),
        (late({}), "row 1, of wmtp-x 1.0 failed: KeyError: 'split'"),
    ],
)
def test_rows_that_are_none_are_the_data_sets(found: Any, words: str) -> None:
    owned = Registered(None, "wmtp-x", "1.0", None)
    with pytest.raises(PluginError, match=words):
        list(read(found, "DatasetSpec.load of data set 'x'", owned))


def test_a_factorys_error_names_it_and_cores_own_stays_a_fault_of_ours() -> None:
    def fail(distribution: str) -> None:
        with called("LoaderSpec.load", Registered(None, distribution, "1.0", None)):
            raise KeyError("base")

    with pytest.raises(PluginError, match=r"^LoaderSpec\.load of wmtp-x 1\.0 failed: KeyError: 'base'\. "):
        fail("wmtp-x")
    with pytest.raises(KeyError):
        fail("wmtp-core")
