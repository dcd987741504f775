"""Comparing run folders: what is said, what is refused, and what a program reads."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import jsonschema
import pytest
from click.testing import CliRunner

import wmtp
from wmtp.cli import main
from wmtp.cli.runs import command as runs_command
from wmtp.comparison.compare import compare
from wmtp.comparison.directions import is_known, lower_is_better
from wmtp.comparison.programs import lines as program_lines
from wmtp.comparison.table import lines
from wmtp.reports.charts import ticks
from wmtp.reports.html import write_report

MakeRun = Callable[..., Path]
SCHEMA = Path(wmtp.__file__).parent / "comparison" / "comparison.schema.json"


def outcomes(rate: float, *, problems: int = 100, n: int = 1, seed: int = 1) -> dict[str, list[bool]]:
    dice = random.Random(seed)
    return {f"t/{i}": [dice.random() < rate for _ in range(n)] for i in range(problems)}


def metric(value: float | None) -> dict[str, float | None]:
    """A metric as results.json has it."""
    return {"value": value, "low": value, "high": value, "problems": 1, "samples": 1}


def test_a_run_that_is_better_is_called_better_and_the_other_worse(make_run: MakeRun) -> None:
    a, b = make_run("a", outcomes(0.3, seed=1)), make_run("b", outcomes(0.7, seed=2), seed=8)
    found = compare([a, b])
    one = found.comparisons[0]
    assert (one.metric, one.verdict) == ("toy_pass@1", "better")
    assert one.found.difference == pytest.approx(one.found.b - one.found.a)
    assert one.found.b == found.runs[1].metrics["toy_pass@1"]
    assert one.found.low > 0
    assert "different seeds" in found.notes[0]
    assert compare([b, a]).comparisons[0].verdict == "worse"


def test_the_json_is_what_the_schema_says(make_run: MakeRun) -> None:
    schema = json.loads(SCHEMA.read_text())
    runs = [make_run(f"r{i}", outcomes(0.4 + i / 10, n=4, seed=i)) for i in range(3)]
    for found in (
        compare(runs),
        compare(runs[:2], equivalent=0.5),
        compare([runs[0], runs[1]], metrics=["toy_pass@2"]),
    ):
        jsonschema.validate(json.loads(json.dumps(found.to_json())), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compare(runs).to_json(), "more": 1}, schema)


def test_three_runs_have_a_trend_and_holm_over_all_their_comparisons(make_run: MakeRun) -> None:
    runs = [make_run(f"r{i}", outcomes(0.2 + 0.15 * i, n=4, seed=i)) for i in range(4)]
    found = compare(runs)
    assert [c.b for c in found.comparisons] == ["r1", "r2", "r3"]
    assert all(c.p_holm >= c.found.p_value for c in found.comparisons)
    trend = found.trends[0]
    assert trend.low < 0.15 < trend.high
    assert trend.p_value < 0.001


def test_runs_of_other_problems_have_no_trend_and_are_compared_all_the_same(make_run: MakeRun) -> None:
    of = {"a": ("1", "2", "3", "4"), "b": ("1", "2"), "c": ("3", "4")}
    runs = [make_run(name, {p: [p in "13", True] for p in problems}) for name, problems in of.items()]
    found = compare(runs, despite=["problems"])
    assert [(c.b, c.found.problems) for c in found.comparisons] == [("b", 2), ("c", 2)]
    assert not found.trends
    assert found.notes[-1] == "no trend of toy_pass@1: no problem is in all of these runs"


def test_a_problem_with_too_few_samples_that_one_run_alone_has_is_no_obstacle(make_run: MakeRun) -> None:
    runs = [make_run("a", {"1": [True, False], "2": [True]})]
    runs += [make_run(name, {"1": [False, False]}) for name in ("b", "c")]
    found = compare(runs, metrics=["pass@2"], despite=["problems"])
    assert [c.lost for c in found.comparisons] == [("1",), ("1",)]
    assert found.trends[0].values == (1.0, 0.0, 0.0)


def test_equal_runs_can_be_equivalent_and_undecided_ones_say_what_would_settle_it(make_run: MakeRun) -> None:
    same = outcomes(0.5, problems=200, n=4)
    a, b, c = make_run("a", same), make_run("b", same), make_run("c", outcomes(0.52, problems=200, n=4, seed=5))
    assert compare([a, b], equivalent=0.05).comparisons[0].verdict == "equivalent"
    undecided = compare([a, c], equivalent=0.01).comparisons[0]
    assert undecided.verdict == "undecided"
    assert undecided.needed is not None
    assert undecided.needed.problems > 200


def test_shared_seeds_are_seen_and_used(make_run: MakeRun) -> None:
    same = outcomes(0.5, n=8)
    changed = {p: [*of[:7], not of[7]] for p, of in same.items()}
    one = compare([make_run("a", same), make_run("b", changed)]).comparisons[0]
    assert one.found.test.startswith("swap-by-index, exact")
    assert one.found.coupling is not None
    assert one.found.coupling.correlation is not None
    assert one.found.coupling.correlation > 0.5
    other = compare([make_run("c", same), make_run("d", changed, seed=99)]).comparisons[0]
    assert other.found.test.startswith("samples-between-runs, exact")
    assert other.found.coupling is None


def test_flips_are_listed_and_their_programs_are_one_command_away(make_run: MakeRun) -> None:
    a = make_run("a", {"t/1": [True], "t/2": [False], "t/3": [True]})
    b = make_run("b", {"t/1": [False], "t/2": [True], "t/3": [True]}, code=lambda p, i: "print('\x1b[2J')")
    one = compare([a, b]).comparisons[0]
    assert (one.gained, one.lost) == (("t/2",), ("t/1",))
    done = CliRunner().invoke(click_command(), [str(a), str(b), "--show", "t/1"])
    assert "def f():" in done.output
    assert "AssertionError: f() == 1" in done.output
    assert "\x1b" not in done.output


def test_a_program_is_shown_with_the_tests_that_it_failed(make_run: MakeRun) -> None:
    run = make_run("a", {"t/1": [False, True, False], "t/2": [False]})
    path = run / "verdicts" / "toy-v1.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["detail"], rows[2]["failed_tests"] = "test 2: the assertion is false", [1, 2, 3, 4]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "tests").mkdir()
    tests = {"1": "assert f() == 1", "2": "assert f() == 2"}
    (run / "tests" / "toy-v1.jsonl").write_text(json.dumps({"problem": "t/1", "tests": tests}) + "\n")
    first, second, third = re.split("(?m)^== ", "\n".join(program_lines([run], "t/1")))[1:]
    assert first.endswith("# a\n\n-- the test that failed, 2:\nassert f() == 2\n\n")
    assert "the test that failed" not in second
    assert third.count("-- the test that failed") == 2
    assert "the test that failed" not in "\n".join(program_lines([run], "t/2"))


def click_command() -> object:
    from wmtp.cli.compare import command

    return command


@pytest.mark.parametrize(
    ("change", "key", "values"),
    [
        ({"judge": {"time limit": 3.0, "version": "3"}}, "judge time limit", ("10.0", "3.0")),
        ({"judge": {"time limit": 10.0, "version": "4"}}, "judge version", ("3", "4")),
        ({"prompt": {"split": "test", "stop": [], "setting shots": 0}}, "prompt setting shots", ("absent", "0")),
        ({"rows": {"t/3": "other-row-digest"}}, "data", ("rrrrrrrrrrrr", "other-row-di")),
        ({"prompts": {"t/3": "another-prompt-text"}}, "prompt", ("pppppppppppp", "another-prom")),
        (
            {"results": {"provenance": {"model": {}, "plugins": [
                {"distribution": "wmtp-eval-toy", "version": "9", "state": "loaded"}
            ]}}},
            "extraction wmtp-eval-toy", ("absent", "9"),
        ),
    ],
)  # fmt: skip
def test_runs_that_measured_different_things_are_refused_by_key_and_may_be_compared_despite_it(
    make_run: MakeRun, change: dict[str, object], key: str, values: tuple[str, str]
) -> None:
    a, b = make_run("a", outcomes(0.5)), make_run("b", outcomes(0.5, seed=4), **change)
    with pytest.raises(wmtp.ConfigError) as refused:
        compare([a, b])
    assert key in str(refused.value)
    assert all(value in str(refused.value) for value in values)
    found = compare([a, b], despite=[key])
    assert found.to_json()["despite"][0]["key"] == key
    with pytest.raises(wmtp.ConfigError, match="nothing of that name differs"):
        compare([a, b], despite=[key, "judge memory"])


def test_every_difference_is_named_at_once(make_run: MakeRun) -> None:
    a = make_run("a", outcomes(0.5))
    b = make_run("b", outcomes(0.5, problems=90), judge={"time limit": 1.0}, prompt={"split": "train"})
    with pytest.raises(wmtp.ConfigError) as refused:
        compare([a, b])
    for key in ("judge time limit", "judge version", "prompt split", "problems", "100 problems, 10 of its own"):
        assert key in str(refused.value)


def test_bad_input_gets_a_clear_line(make_run: MakeRun, tmp_path: Path) -> None:
    a = make_run("a", outcomes(0.5))
    other = make_run("other", outcomes(0.5), evaluator="far-v1", metric="far_pass@1")
    torn = make_run("torn", outcomes(0.5))
    verdicts = torn / "verdicts" / "toy-v1.jsonl"
    verdicts.write_bytes(verdicts.read_bytes()[:-20])
    going = make_run("going", outcomes(0.5))
    (going / "results.json").unlink()
    empty = make_run("empty", outcomes(0.5), results={"metrics": {"toy_pass@1": metric(None)}})
    damaged = make_run("damaged", outcomes(0.5))
    (damaged / "results.json").write_text("{")
    (tmp_path / "folder").mkdir()
    for run, words in (
        (other, "share no metric"), (torn, "cut off"), (going, "has not finished"), (empty, "no value for any metric"),
        (damaged, "damaged"), (tmp_path / "folder", "no run folder"), (tmp_path / "absent", "no such run"), (a, "same run"),
    ):  # fmt: skip
        with pytest.raises(wmtp.ConfigError, match=words) as refused:
            compare([a, run])
        assert run.name in str(refused.value)
    with pytest.raises(wmtp.ConfigError, match="two runs"):
        compare([a])
    with pytest.raises(wmtp.ConfigError, match="a number of 1e-06 or more"):
        compare([a, other], equivalent=-1)
    with pytest.raises(wmtp.ConfigError, match="not a metric of every run"):
        compare([a, make_run("b", outcomes(0.5))], metrics=["toy_pass@x"])
    with pytest.raises(wmtp.ConfigError, match="needs 2 samples"):
        compare([a, tmp_path / "b"], metrics=["toy_pass@2"])


def test_a_run_that_another_process_works_in_is_refused(make_run: MakeRun) -> None:
    a, b = make_run("a", outcomes(0.5)), make_run("b", outcomes(0.5))
    with filelock.FileLock(b / ".lock"), pytest.raises(wmtp.ConfigError, match="still working"):
        compare([a, b])


def test_the_last_verdict_of_a_sample_counts_and_infrastructure_is_no_outcome(make_run: MakeRun) -> None:
    a = make_run("a", outcomes(0.5))
    path = a / "verdicts" / "toy-v1.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    again = [{**rows[0], "status": "infrastructure", "passed": False}, {**rows[0], "status": "passed", "passed": True}]
    path.write_text("".join(json.dumps(r) + "\n" for r in [*again[:1], *rows, *again]))
    assert compare([a, make_run("b", outcomes(0.5))]).runs[0].judged["toy-v1"].passed["t/0"] == {0: True}


def test_metrics_that_are_no_pass_rate_are_compared_by_their_values(make_run: MakeRun) -> None:
    same = outcomes(0.5)
    losses = {p: 1.0 + i / 100 for i, p in enumerate(same)}
    a = make_run("a", same, values={"toy_head1_loss": losses})
    b = make_run("b", same, values={"toy_head1_loss": {p: v - 0.1 for p, v in losses.items()}})
    one = compare([a, b], metrics=["toy_head1_loss"]).comparisons[0]
    assert one.lower_is_better
    assert one.verdict == "better"
    assert one.found.difference == pytest.approx(-0.1)


def test_metrics_without_values_of_each_problem_are_left_out_and_said(make_run: MakeRun) -> None:
    stated = {"metrics": {"toy_pass@1": metric(0.5), "toy_exact": metric(0.1)}}
    a, b = make_run("a", outcomes(0.5), results=stated), make_run("b", outcomes(0.5), results=stated)
    found = compare([a, b])
    assert [c.metric for c in found.comparisons] == ["toy_pass@1"]
    assert found.notes[-1] == "not compared, as a and b keep no value of it for each problem: toy_exact"
    with pytest.raises(wmtp.ConfigError, match="keeps no value of toy_exact"):
        compare([a, b], metrics=["toy_exact"])


def test_runs_in_which_nothing_differs_plan_by_problems_alone(make_run: MakeRun) -> None:
    same = outcomes(0.5, n=4)
    one = compare([make_run("a", same), make_run("b", same)], equivalent=0.001).comparisons[0]
    assert one.needed is not None
    assert one.needed.samples is None


def test_the_command_prints_and_fails_where_it_is_told_to(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = make_run("a", outcomes(0.8, seed=1)), make_run("b", outcomes(0.2, seed=2))
    assert main(["compare", str(a), str(b)]) == 0
    told = capsys.readouterr().out
    assert "b is worse" in told
    assert "p < 0.0001" in told
    assert main(["compare", str(a), str(b), "--fail-on", "worse"]) == 1
    assert main(["compare", str(b), str(a), "--fail-on", "worse"]) == 0
    capsys.readouterr()
    assert main(["compare", str(a), str(b), "--json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), json.loads(SCHEMA.read_text()))
    assert main(["compare", str(a), "--plan"]) == 0
    assert "samples a problem in each run" in capsys.readouterr().out
    assert main(["compare", str(a), str(a)]) == 2


def test_no_torch_is_needed(make_run: MakeRun) -> None:
    a, b = make_run("a", outcomes(0.5)), make_run("b", outcomes(0.5))
    script = f"import sys, wmtp; wmtp.compare([{str(a)!r}, {str(b)!r}]); print(sorted({{'torch', 'scipy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def engine_counts(run: Path, by_problem: dict[str, tuple[list[int], list[int]]], requests: int = 100) -> Path:
    """What an engine counted of its drafts: evaluator and problem → (drafted, accepted), by depth."""
    (run / "engine.json").write_text(json.dumps({"stats": {"by_problem": by_problem, "requests": requests}}))
    return run


def test_acceptance_is_compared_as_results_json_states_it(make_run: MakeRun) -> None:
    generator = random.Random(5)
    counts = [
        {f"toy-v1 t/{i}": ([40, 30], [generator.randint(low, 40), generator.randint(low // 2, 30)]) for i in range(100)}
        for low in (10, 20)
    ]
    a, b = (engine_counts(make_run(n, outcomes(0.5), seed=3), of) for n, of in zip("ab", counts, strict=True))
    found = {c.metric: c for c in compare([a, b]).comparisons}
    assert list(found) == ["toy_pass@1", "acceptance_length", "acceptance@1", "acceptance@2"]
    right, drafted = sum(sum(r) for _, r in counts[1].values()), sum(d[0] for d, _ in counts[1].values())
    assert found["acceptance_length"].found.b == pytest.approx(1 + right / drafted)
    assert found["acceptance@2"].found.a == pytest.approx(sum(r[1] for _, r in counts[0].values()) / 3000)
    assert {c.verdict for m, c in found.items() if m.startswith("acceptance")} == {"better"}
    assert found["toy_pass@1"].p_holm == found["toy_pass@1"].found.p_value, "drafts are a family of their own"
    assert found["acceptance@1"].gained == ()
    assert [c.metric for c in compare([a, b], metrics=["acceptance@2"]).comparisons] == ["acceptance@2"]


def test_acceptance_alone_makes_no_two_runs_comparable(make_run: MakeRun) -> None:
    a = engine_counts(make_run("a", outcomes(0.5)), {"toy-v1 t/1": ([4], [2])})
    b = engine_counts(make_run("b", outcomes(0.5), metric="other_pass@1"), {"other-v1 t/1": ([4], [2])})
    with pytest.raises(wmtp.ConfigError, match="share no metric"):
        compare([a, b])


def test_acceptance_of_some_completions_is_called_so(make_run: MakeRun) -> None:
    a = engine_counts(make_run("a", outcomes(0.5)), {f"toy-v1 t/{i}": ([4], [i % 4]) for i in range(100)}, requests=7)
    b = engine_counts(make_run("b", outcomes(0.5)), {f"toy-v1 t/{i}": ([4], [i % 3]) for i in range(100)}, requests=7)
    assert any("counted over 7 of its" in note for note in compare([a, b]).notes)


def test_a_run_whose_files_hold_less_than_its_results_count_is_refused(make_run: MakeRun) -> None:
    a, b = make_run("a", outcomes(0.5)), make_run("b", outcomes(0.5))
    verdicts = b / "verdicts" / "toy-v1.jsonl"
    verdicts.write_text("".join(verdicts.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(wmtp.ConfigError, match=r"results\.json counts \d+ samples.*the run is not whole"):
        compare([a, b])


def test_values_of_other_problems_are_refused_where_there_are_no_samples(make_run: MakeRun) -> None:
    loss = {f"t/{i}": i / 100 for i in range(100)}
    a = make_run("a", outcomes(0.5), values={"x_head1_loss": loss})
    b = make_run("b", outcomes(0.5), values={"x_head1_loss": {p: v for p, v in loss.items() if p != "t/3"}})
    for run in (a, b):  # an evaluator that keeps values alone
        (run / "values" / "toy-v1.jsonl").rename(run / "values" / "heads-v1.jsonl")
    with pytest.raises(wmtp.ConfigError, match=r"problems \(heads-v1\): 100 problems"):
        compare([a, b], metrics=["x_head1_loss"])
    assert compare([a, b], metrics=["x_head1_loss"], despite=["problems"]).comparisons[0].found.problems == 99


def test_a_run_that_lost_samples_is_refused(make_run: MakeRun) -> None:
    a, b = (make_run(name, outcomes(0.5)) for name in "ab")
    path = b / "samples" / "toy-v1.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    with pytest.raises(wmtp.ConfigError, match=r"results.json counts 100 samples, and samples/ holds 97"):
        compare([a, b])


def test_no_interval_has_no_width_where_all_samples_of_a_problem_agree(make_run: MakeRun) -> None:
    a, b, c = ({f"t/{i}": [i < good] * 4 for i in range(24)} for good in (12, 0, 12))
    found = compare([make_run(name, of) for name, of in zip("abc", (a, b, c), strict=True)])
    one = found.comparisons[0].found
    assert (one.these_low, one.these_high) == (one.low, one.high)
    assert one.within is None
    trend = compare([make_run(name, {p: [False] for p in a}) for name in "def"]).trends[0]
    assert trend.low < -0.02 < 0.02 < trend.high


def test_what_would_have_been_found_is_no_less_than_the_interval_is_wide(make_run: MakeRun) -> None:
    one_differs = {f"t/{i}": [i < 12] * 4 for i in range(24)}
    runs = [make_run("a", one_differs), make_run("b", {**one_differs, "t/0": [True, True, True, False]})]
    one = compare(runs, equivalent=0.05).comparisons[0]
    assert one.verdict == "undecided"
    assert one.found.smallest_detectable > 0.1
    assert one.needed is not None
    assert one.needed.problems > 24
    assert compare(runs, equivalent=0.16).comparisons[0].needed is None  # it would have been found


def test_a_plan_from_samples_that_all_agree_says_at_most(make_run: MakeRun) -> None:
    for name, n in (("a", 1), ("b", 4)):
        run = make_run(name, {f"t/{i}": [True] * n for i in range(24)})
        done = CliRunner().invoke(click_command(), [str(run), "--plan", "--equivalent", "0.05"])
        assert done.exit_code == 0
        assert "at most" in done.stdout
        assert "finds 0.0 points" not in done.stdout


@pytest.mark.parametrize("margin", ["nan", "0", "-1", "1", "1e308", "inf"])
@pytest.mark.parametrize("plan", [True, False])
def test_a_margin_that_is_no_difference_of_shares_is_refused(make_run: MakeRun, margin: str, plan: bool) -> None:
    runs = [str(make_run(name, outcomes(0.5, problems=4))) for name in ("a" if plan else "ab")]
    done = CliRunner().invoke(click_command(), [*runs, "--equivalent", margin, *["--plan"] * plan])
    assert isinstance(done.exception, wmtp.ConfigError)


def test_a_replay_draws_nothing_and_could_share_no_noise(make_run: MakeRun) -> None:
    run = make_run("a", outcomes(0.5))
    other = make_run("b", outcomes(0.5))
    keys = json.loads((other / "keys.json").read_text())
    keys["generation"]["toy-v1"]["model id"] = "reference:"
    (other / "keys.json").write_text(json.dumps(keys))
    assert not compare([run, other]).notes


def test_the_page_of_three_runs_shows_the_trend_in_their_order(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run(n, outcomes(rate, seed=i)) for i, (n, rate) in enumerate((("c", 0.2), ("a", 0.4), ("b", 0.6)))]
    page = write_report(runs, tmp_path / "trend.html").read_text(encoding="utf-8")
    section = page[page.index('id="trend-title"') :].split("</section>")[0]
    assert "polyline" in section
    assert re.findall(r'middle">(\w)<', section) == ["c", "a", "b"]
    found = compare(runs).trends[0]
    for value in found.values:
        assert f"<td>{100 * value:.1f} %</td>" in section


def test_ticks_are_round_and_lie_within() -> None:
    for low, high in ((0.0, 1.0), (-0.088, 0.455), (0.4999, 0.5001), (0.0, 3.7), (0.2, 0.2)):
        found = ticks(low, high)
        assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)
        assert len(found) <= 7
    assert ticks(-0.088, 0.455) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_page_that_cannot_be_written_costs_no_comparison_and_leaves_no_half(
    make_run: MakeRun, tmp_path: Path
) -> None:
    a, b = make_run("a", outcomes(0.3)), make_run("b", outcomes(0.7, seed=2))
    done = CliRunner().invoke(click_command(), [str(a), str(b), "--html", "/dev/full"])
    assert isinstance(done.exception, OSError)
    assert done.exception.filename == "/dev/full"
    assert "toy_pass@1: b is better" in done.stdout
    page = tmp_path / "page.html"
    page.write_text("old")
    assert CliRunner().invoke(click_command(), [str(a), str(b), "--html", str(page)]).exit_code == 0
    assert page.read_text().startswith("<!doctype html>")
    assert not list(tmp_path.glob(".page*"))


def test_equal_acceptance_has_an_interval_with_a_width(make_run: MakeRun) -> None:
    same = {f"toy-v1 t/{i}": ([4], [4]) for i in range(100)}
    a, b = (engine_counts(make_run(name, outcomes(0.5)), same) for name in "ab")
    one = compare([a, b], metrics=["acceptance@1"]).comparisons[0]
    assert one.found.low < 0 < one.found.high


def test_many_comparisons_end_with_a_line_each(make_run: MakeRun) -> None:
    runs = [str(make_run(f"r{i}", outcomes(0.2 + 0.15 * i, n=2, seed=i))) for i in range(4)]
    few, many = (
        CliRunner().invoke(click_command(), [*runs, *metrics]).stdout.rstrip().splitlines()
        for metrics in ([], ["--metric", "toy_pass@1", "--metric", "toy_pass@2"])
    )
    assert "over 4 runs" in few[-1]
    assert [line.split()[:2] for line in many[-6:]] == [
        [m, r] for m in ("toy_pass@1", "toy_pass@2") for r in ("r1", "r2", "r3")
    ]
    assert many[-4].split()[-1] == "better"


def test_the_page_shows_the_comparison_that_was_asked_for_and_in_what_the_runs_differ(
    make_run: MakeRun, tmp_path: Path
) -> None:
    a = make_run("a", outcomes(0.5, n=2, seed=1))
    b = make_run("b", outcomes(0.5, n=2, seed=2), judge={"time limit": 3.0, "version": "3"})
    page = tmp_path / "page.html"
    arguments = [str(a), str(b), "--metric", "toy_pass@2", "--despite", "judge time limit", "--html", str(page)]
    done = CliRunner().invoke(click_command(), arguments)
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert "toy_pass@2" in text
    assert "compared despite judge time limit: 10.0 ≠ 3.0 (b)" in text


@pytest.mark.parametrize(
    "options",
    [
        ["--plan", "--json"], ["--plan", "--html", "x.html"], ["--plan", "--fail-on", "worse"], ["--show", "t/1", "--plan"],
        ["--show", "t/1", "--json"], ["--show", "t/1", "--metric", "toy_pass@1"], ["--html", "nowhere/x.html"],
    ],
)  # fmt: skip
def test_options_that_would_do_nothing_are_refused_before_the_work(make_run: MakeRun, options: list[str]) -> None:
    runs = [str(make_run(name, outcomes(0.5, problems=4))) for name in "ab"]
    done = CliRunner().invoke(click_command(), [*runs, *options])
    assert isinstance(done.exception, wmtp.ConfigError)
    assert not done.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": "toy_pass@1"},
        {"despite": "judge"},
        {"equivalent": "0.1"},
        {"equivalent": 1e-300},
        {"metrics": [1]},
        {"despite": None},
        {"equivalent": True},
        {"metrics": 3},
    ],
)
def test_a_library_call_with_a_text_for_a_list_is_told_so(make_run: MakeRun, wrong: dict[str, Any]) -> None:
    runs = [make_run(name, outcomes(0.5, problems=4)) for name in "ab"]
    with pytest.raises(wmtp.ConfigError, match="must be a"):
        compare(runs, **wrong)
    with pytest.raises(wmtp.ConfigError, match="needs two runs"):
        compare(None)  # type: ignore[arg-type]


def test_a_plan_takes_a_metric_by_its_end(make_run: MakeRun) -> None:
    run = make_run("a", outcomes(0.5, problems=24, n=2))
    plain, ends = (CliRunner().invoke(click_command(), [str(run), "--plan", *m]) for m in ([], ["--metric", "pass@1"]))
    assert plain.stdout == ends.stdout
    wrong = CliRunner().invoke(click_command(), [str(run), "--plan", "--metric", "toy_pass"])
    assert "toy_pass is no metric of" in str(wrong.exception)
    assert "Did you mean toy_pass@1?" in str(wrong.exception)


def test_a_plan_has_no_more_noise_than_its_rate_allows(make_run: MakeRun) -> None:
    run = make_run("a", {f"t/{i}": [True, False] for i in range(24)})
    assert "variance 0.2500" in CliRunner().invoke(click_command(), [str(run), "--plan"]).stdout


@pytest.mark.parametrize(
    "metric",
    ["word_perplexity", "bits_per_byte (none)", "toy_head1_loss", "loss", "nll", "latency", "time", "WER", "cer,strict-match",
     "TER (first)", "mse", "mae", "rmse", "brier_score", "edit_distance", "token-error-rate", "scorer.Loss", "nll_mean",
     "latency_p95"],
)  # fmt: skip
def test_a_smaller_loss_error_or_time_is_the_better_one(metric: str) -> None:
    assert lower_is_better(metric, "")
    assert is_known(metric, "")


@pytest.mark.parametrize(
    ("metric", "known"),
    [("acc", True), ("exact_match (strict)", True), ("x_pass@3", True), ("pass_at_1", True), ("verify", False),
     ("perplexity_log_likelihood", True), ("lossless", False), ("winter", False), ("glossary", False), ("timely", False)],
)  # fmt: skip
def test_no_other_name_is_taken_for_a_loss(metric: str, known: bool) -> None:
    assert not lower_is_better(metric, "")
    assert is_known(metric, "") is known


def test_seeds_that_differ_are_named(make_run: MakeRun) -> None:
    notes = compare([make_run("a", outcomes(0.5), seed=3), make_run("b", outcomes(0.5), seed=4)]).notes
    assert any("under different seeds (a: 3, b: 4)" in note for note in notes)


def test_names_of_problems_and_runs_are_of_one_line_and_hide_nothing(make_run: MakeRun) -> None:
    names = [f"t/{i}\n  p = 0\u202e\x1b[2J" for i in range(3)]
    a, b = make_run("a", {n: [True] for n in names}), make_run("b\nnote: x", {n: [False] for n in names})
    found = list(lines(compare([a, b])))
    assert all(line.isprintable() for line in found)
    assert any("t/0\\n  p = 0\\u202e\\x1b[2J" in line for line in found)
    assert "     is  b\\nnote: x  (model of b\\nnote: x)" in found
    done = CliRunner().invoke(runs_command, ["list", "--runs", str(a.parent)]).stdout
    assert done.count("\n") == 2
    with pytest.raises(wmtp.ConfigError, match=r"1 of its own \(t/0\\n") as refused:
        compare([a, make_run("c", {n: [True] for n in names[1:]})])
    assert "\x1b" not in str(refused.value)
    shown = CliRunner().invoke(click_command(), [str(a), "--show", names[0]]).stdout
    assert "t/0\\n  p = 0\\u202e\\x1b[2J · sample 0" in shown


@pytest.mark.parametrize("undecided", [True, False])
def test_a_run_that_was_to_be_decided_says_whether_it_was(make_run: MakeRun, undecided: bool) -> None:
    base = make_run("base", outcomes(0.5))
    note = ("undecided against base" if undecided else "better than base") + " after 100 pairs of samples"
    recipe = {"eval": {"metrics": ["toy_pass@1"], "against": "runs/base"}}
    run = make_run("run", outcomes(0.5, seed=2), results={"recipe": recipe, "notes": {"toy-v1": [note]}})
    told = next(note for note in compare([base, run]).notes if note.startswith("run was"))
    assert ("ended at its most samples undecided (toy-v1)" in told) is undecided
    assert ("was sampled until it was decided" in told) is not undecided


def test_the_page_of_several_takes_no_runs_own_place(make_run: MakeRun) -> None:
    a, b = make_run("a", outcomes(0.5)), make_run("b", outcomes(0.5, seed=2))
    own = [write_report([run]) for run in (a, b)]
    before = [page.read_bytes() for page in own]
    assert write_report([a, b]) == b / "compared.html"
    assert [page.read_bytes() for page in own] == before


def test_files_of_a_run_are_sent_to_its_folder(make_run: MakeRun) -> None:
    a, b = make_run("a", outcomes(0.5)), make_run("b", outcomes(0.5), values={"x_loss": {"t/0": 1.0}})
    for name in ("verdicts/toy-v1.jsonl", "samples/toy-v1.jsonl", "values/toy-v1.jsonl", "results.json"):
        with pytest.raises(wmtp.ConfigError, match=f"Give the (run's )?folder.*{b}"):
            compare([a, b / name])


def test_uneven_numbers_of_samples_are_told(make_run: MakeRun) -> None:
    whole = outcomes(0.5, problems=20, n=4)
    cut = {**whole, "t/19": whole["t/19"][:1]}
    found = compare([make_run("a", whole), make_run("b", cut)])
    assert "b has from 1 to 4 samples a problem" in found.notes
    assert not any(note.startswith("a has from") for note in found.notes)


def test_verdicts_that_are_gone_are_told_by_file(make_run: MakeRun) -> None:
    a, b = (make_run(name, outcomes(0.5, problems=4)) for name in "ab")
    (b / "verdicts" / "toy-v1.jsonl").unlink()
    with pytest.raises(
        wmtp.ConfigError, match=r"b: results.json counts 1 verdicts of toy-v1, and verdicts/toy-v1.jsonl holds 0"
    ):
        compare([a, b])


def test_a_run_whose_results_were_edited_is_refused_as_the_list_of_runs_refuses_it(make_run: MakeRun) -> None:
    a, b = (make_run(name, outcomes(0.5, problems=4), values={"x_score": {"t/0": 0.25}}) for name in "ab")
    stated = json.loads((b / "results.json").read_text())
    stated["metrics"]["x_score"]["value"] = 0.75
    (b / "results.json").write_text(json.dumps(stated))
    with pytest.raises(wmtp.ConfigError, match=r"results.json states 0.75 of x_score, and the mean of .* is 0.25"):
        compare([a, b])


def test_a_metric_may_be_called_by_its_end_where_one_alone_ends_so(make_run: MakeRun) -> None:
    runs = [make_run(name, outcomes(0.5, n=4, seed=i)) for i, name in enumerate("ab")]
    for asked, meant in (("pass@1", "toy_pass@1"), ("pass@2", "toy_pass@2"), ("toy_pass@4", "toy_pass@4")):
        assert [c.metric for c in compare(runs, metrics=[asked]).comparisons] == [meant]
    assert len(compare(runs, metrics=["pass@1", "toy_pass@1"]).comparisons) == 1
    loss = {f"t/{i}": i / 100 for i in range(100)}
    several = [make_run(n, outcomes(0.5), values={"a_loss": loss, "b_loss": loss}) for n in "cd"]
    with pytest.raises(wmtp.ConfigError, match="loss may be a_loss or b_loss: say which"):
        compare(several, metrics=["loss"])
    with pytest.raises(wmtp.ConfigError, match=r"toy_pas@1 is not .*Did you mean toy_pass@1\?"):
        compare(runs, metrics=["toy_pas@1"])


def test_metrics_that_one_run_alone_has_are_told(make_run: MakeRun) -> None:
    loss = {f"t/{i}": i / 100 for i in range(100)}
    a, b = make_run("a", outcomes(0.5, n=2), values={"x_loss": loss}), make_run("b", outcomes(0.5, n=2))
    assert "not compared, as only a has it: x_loss" in compare([a, b]).notes
    assert not any("only a" in note for note in compare([a, b], metrics=["pass@1"]).notes)
    with pytest.raises(wmtp.ConfigError, match="x_loss is not a metric of every run; only a has it"):
        compare([a, b], metrics=["x_loss"])
    c = make_run("c", outcomes(0.5, n=2), metric="toy_pass@2")
    made = compare([a, c], metrics=["toy_pass@2"]).comparisons[0]
    assert made.found.samples == 2


def test_copies_of_a_run_are_told_and_so_are_samples_that_repeat(make_run: MakeRun) -> None:
    def same(problem: str, index: int) -> str:
        return problem

    a, b = (make_run(name, outcomes(0.5, n=2), code=same) for name in "ab")
    notes = compare([a, b]).notes
    assert any(note.startswith("a and b hold the same text in every sample that both have (200)") for note in notes)
    assert any(note.startswith("in b, all samples of 100 of 100 problems are equal") for note in notes)
    other = compare([a, make_run("c", outcomes(0.5, n=2))]).notes
    assert not any("same text" in note or note.startswith("in c") for note in other)


def test_what_differs_adds_up(make_run: MakeRun) -> None:
    """pass@2 of 3 samples: passes that change without changing the metric are no problems that differ, nor flips."""
    a = make_run("a", {"p": [True, True, False], "q": [False] * 3, "r": [True] * 3, "s": [True, False, False]})
    b = make_run("b", {"p": [True] * 3, "q": [True] * 3, "r": [True] * 3, "s": [False] * 3})
    found = compare([a, b], metrics=["pass@2"])
    one = found.comparisons[0]
    assert (one.found.discordant, one.found.rose) == (2, 1)
    assert (one.gained, one.lost) == (("q",), ("s",))
    done = CliRunner().invoke(click_command(), [str(a), str(b), "--metric", "pass@2"]).stdout
    assert "2 of 4 problems differ: 1 rose, 1 fell" in done
    assert "gained, from under one half to one half or more: 1 (q)" in done
    assert found.to_json()["comparisons"][0]["rose"] + found.to_json()["comparisons"][0]["fell"] == 2


def test_too_few_problems_are_told_so(make_run: MakeRun) -> None:
    a, b = make_run("a", {"p": [True], "q": [True]}), make_run("b", {"p": [False], "q": [True]})
    done = CliRunner().invoke(click_command(), [str(a), str(b)])
    assert "too few problems" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("samples/toy-v1.jsonl", '{"index": 0}'), ("samples/toy-v1.jsonl", '{"problem": ["p"], "index": 0}'),
        ("verdicts/toy-v1.jsonl", '{"problem": {}, "index": 0, "status": "passed", "passed": true, "judge_key": ""}'),
        ("verdicts/toy-v1.jsonl", '{"problem": "t/0", "index": 0, "status": "failed", "passed": true, "judge_key": ""}'),
        ("verdicts/toy-v1.jsonl", '{"problem": "t/0", "index": 0, "status": "passed", "passed": 1, "judge_key": ""}'),
        ("values/toy-v1.jsonl", '{"problem": "t/0"}'), ("values/toy-v1.jsonl", '{"problem": "t/0", "values": 3}'),
        ("values/toy-v1.jsonl", '{"problem": "t/0", "values": {"x_loss": NaN}}'),
    ],
)  # fmt: skip
def test_lines_that_are_no_records_are_told_by_file(make_run: MakeRun, file: str, line: str) -> None:
    a = make_run("a", outcomes(0.5))
    b = make_run("b", outcomes(0.5), values={"x_loss": {f"t/{i}": 0.5 for i in range(100)}})
    with (b / file).open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(wmtp.ConfigError, match=file):
        compare([a, b])


def test_what_no_test_would_find_is_not_said_to_be_found(make_run: MakeRun) -> None:
    """Of four problems or fewer with one sample each, nothing is found; of 24 none of which differs, 26.5 points are."""
    for problems in (1, 2, 3, 4, 24):
        same = outcomes(0.5, problems=problems)
        runs = [make_run(f"{problems}{name}", same) for name in "ab"]
        stdout = CliRunner().invoke(click_command(), [str(run) for run in runs]).stdout
        found = compare(runs).to_json()["comparisons"][0]["smallest_detectable"]
        assert ("too few problems" in stdout) is (problems < 5)
        assert found >= 1 if problems < 5 else 0.26 < found < 0.27
        plan = CliRunner().invoke(click_command(), [str(runs[0]), "--plan"]).stdout
        assert ("n =  1: finds no difference" in plan) is (problems < 5)
    assert "a difference of 26.5 points would have been found" in stdout


def test_a_difference_that_would_have_been_found_is_rounded_up(make_run: MakeRun) -> None:
    values = {f"t/{i}": 0.5 + i / 1000 for i in range(100)}
    same = outcomes(0.5)
    a, b = (
        make_run("a", same, values={"x_f1": values}),
        make_run("b", same, values={"x_f1": {p: v + 0.1 for p, v in values.items()}}),
    )
    c, d = (
        make_run(name, same, values={"y_loss": {p: 2 * v + shift for p, v in values.items()}})
        for name, shift in (("c", 0), ("d", 0.1))
    )
    for pair, metric in (((a, b), "x_f1"), ((c, d), "y_loss")):
        done = CliRunner().invoke(click_command(), [*map(str, pair), "--metric", metric]).stdout
        assert "would have been found" in done
        assert not re.search(r"difference of 0\.0+( points)? would", done)
        assert compare(pair, metrics=[metric]).comparisons[0].found.smallest_detectable > 0
    schema = json.loads(SCHEMA.read_text())
    few = [
        make_run(name, outcomes(0.5, problems=3), values={"z_loss": {f"t/{i}": 1.0 + i for i in range(3)}})
        for name in "ef"
    ]
    found = compare(few, metrics=["z_loss"]).to_json()
    jsonschema.validate(found, schema)
    assert found["comparisons"][0]["smallest_detectable"] is None
    assert (
        "too few problems: no difference is"
        in CliRunner().invoke(click_command(), [*map(str, few), "--metric", "z_loss"]).stdout
    )


def unlike(samples: int) -> tuple[dict[str, list[bool]], dict[str, list[bool]]]:
    """20 problems: 11 rise from a quarter to three, 9 fall as much; of others like these that tells nothing."""
    quarter = [i % 4 == 0 for i in range(samples)]
    rest = [not of for of in quarter]
    pairs = [(quarter, rest) if i < 11 else (rest, quarter) for i in range(20)]
    return {f"t/{i}": a for i, (a, _) in enumerate(pairs)}, {f"t/{i}": b for i, (_, b) in enumerate(pairs)}


def test_more_samples_settle_what_the_p_value_asks_and_the_verdict_says_of_which_problems(
    make_run: MakeRun, tmp_path: Path
) -> None:
    few, many = (
        [make_run(f"{name}{n}", of, seed=i) for i, (name, of) in enumerate(zip("ab", unlike(n), strict=True))]
        for n in (8, 100)
    )
    undecided = CliRunner().invoke(click_command(), [str(run) for run in few]).stdout
    plan = compare(few).comparisons[0].needed
    assert plan is not None
    assert (plan.samples, plan.samples_these is not None) == (None, True)
    line = next(text for text in undecided.splitlines() if "of these problems alone by" in text)
    assert f"{plan.samples_these} samples a problem; of new ones no number of samples on these would" in line
    assert "on these problems would" not in undecided
    one = compare(many).comparisons[0]
    assert (one.verdict, one.found.low < 0 < one.found.high) == ("better", True)
    page = tmp_path / "page.html"
    decided = CliRunner().invoke(click_command(), [*map(str, many), "--html", str(page)]).stdout
    assert "better of these problems; of new ones the interval holds zero" in decided
    assert 'data-t="only_these"' in page.read_text(encoding="utf-8")
    clear = [make_run(name, outcomes(rate, seed=i)) for i, (name, rate) in enumerate((("c", 0.2), ("d", 0.8)))]
    assert "holds zero" not in CliRunner().invoke(click_command(), [str(run) for run in clear]).stdout


def test_flips_come_in_the_order_of_names_whatever_the_metric_and_the_file(make_run: MakeRun) -> None:
    names = [f"t/{i}" for i in (10, 9, 2, 1, 100, 20)]
    fail, win = ({p: [ok] for p in names} for ok in (False, True))
    low, high = ({p: float(ok) for p in names} for ok in (False, True))
    a, b = make_run("a", fail, values={"x_exact": low}), make_run("b", win, values={"x_exact": high})
    for one in compare([a, b]).comparisons:
        assert one.gained == tuple(f"t/{i}" for i in (1, 2, 9, 10, 20, 100))
    assert {c.metric for c in compare([a, b]).comparisons} == {"toy_pass@1", "x_exact"}


def test_a_plan_from_one_sample_a_problem_says_at_most(make_run: MakeRun) -> None:
    one = CliRunner().invoke(click_command(), [str(make_run("a", outcomes(0.5))), "--plan"]).stdout
    more = CliRunner().invoke(click_command(), [str(make_run("b", outcomes(0.5, n=4))), "--plan"]).stdout
    assert one.count("at most") == 3
    assert "one sample a problem cannot tell" in one
    assert "at most" not in more
