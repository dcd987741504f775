"""MBPP end to end: the real split, the prompts of the paper, the program's order, and scoring what others wrote."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import wmtp as public
from wmtp.contracts.engines import Completion, GenerationRequest, Sampling

Write = Callable[..., None]
Results = Callable[..., dict[str, Any]]


def test_the_test_split_at_strict(
    shared: Path, tmp_path: Path, evaluate: Callable[..., Any], write_files: Write, results: Results
) -> None:
    data = shared / "data" / "mbpp" / "mbpp.jsonl"
    write_files(
        {"paths": {"datasets": {"mbpp_local": str(data)}}, "judging": {"level": "strict"}},
        eval={"metrics": ["mbpp_exact", "mbpp_pass@1"]},
    )
    found = evaluate()
    assert found.complete
    body = results()
    full = {
        "value": 1.0, "low": pytest.approx(0.99265, abs=1e-5), "high": 1.0, "problems": 500, "samples": 500,
        "method": "wilson-effective",
    }  # fmt: skip
    assert body["metrics"] == {"mbpp_exact": full, "mbpp_pass@1": full}
    assert body["verdicts"] == {"mbpp-v1": {"passed": 500}}
    assert (body["judging"]["level"], body["judging"]["infrastructure"]) == ("strict", 0)
    assert set(body["judging"]) == {"level", "infrastructure", "notes"}
    assert body["failed_evaluators"] == {}


@pytest.mark.slow
def test_all_splits_and_the_sanitized_set_at_strict(
    shared: Path, evaluate: Callable[..., Any], write_files: Write, results: Results
) -> None:
    folder = shared / "data" / "mbpp"
    for file, counts in (("mbpp.jsonl", (10, 500, 90, 374)), ("sanitized-mbpp.json", (7, 257, 43, 120))):
        for split, count in zip(("prompt", "test", "validation", "train"), counts, strict=True):
            write_files(
                {"paths": {"datasets": {"mbpp_local": str(folder / file)}}, "judging": {"level": "strict"}},
                run={"name": f"{split}-{file}"},
                eval={
                    "metrics": ["mbpp_exact", "mbpp_pass@1"],
                    "evaluators": {"mbpp-v1": {"split": split, "shots": 0, "challenge_tests": True}},
                },
            )
            assert evaluate().complete
            assert results(f"{split}-{file}")["verdicts"] == {"mbpp-v1": {"passed": count}}


class Asked:
    """A loader that keeps what the engine was asked, and answers with the reference."""

    identity: Mapping[str, str] = {"id": "asked:"}

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []

    @public.hookimpl
    def wmtp_loaders(self) -> list[public.LoaderSpec]:
        return [public.LoaderSpec(name="asked", summary="keeps requests", matches="asked:".__eq__, load=lambda _: self)]

    def generate(self, requests: Iterator[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        for request in requests:
            self.requests.append(request)
            yield Completion(
                key=request.key,
                text=request.reference or "",
                finish_reason="stop",
                tokens=0,
                seconds=0.0,
            )


@pytest.fixture
def ask(evaluate: Callable[..., Any], write_files: Write, shared: Path) -> Callable[..., GenerationRequest]:
    """The request for the first problem of the real test split, under settings of the evaluator."""

    def first(**settings: Any) -> GenerationRequest:
        asked = Asked()
        write_files(
            {"paths": {"datasets": {"mbpp_local": str(shared / "data" / "mbpp" / "mbpp.jsonl")}}},
            model={"base_id": "asked:"},
            eval={"metrics": ["mbpp_pass@1"], "limit": 1, "evaluators": {"mbpp-v1": settings}},
        )
        name = "-".join(["run", *(f"{key}-{value}" for key, value in settings.items())])
        assert evaluate(f"run.name={name}", plugins=public.create_plugin_manager(plugins=[asked])).complete
        return asked.requests[0]

    return first


QUESTION = """You are an expert Python programmer, and here is your task: Write a python function to remove first and last \
occurrence of a given character from the string. Your code should pass these tests:

assert remove_Occ("hello","l") == "heo"
assert remove_Occ("abcda","a") == "bcd"
assert remove_Occ("PHP","P") == "H"
"""


def test_the_prompt_of_the_paper(ask: Callable[..., GenerationRequest], shared: Path) -> None:
    request = ask()
    assert request.key.problem == "11"
    assert request.stop == ("[DONE]",)
    assert request.prompt is not None
    assert request.prompt.endswith(f"{QUESTION}[BEGIN]\n")
    assert request.prompt.count("You are an expert Python programmer") == 4
    rows = {}
    for line in (shared / "data" / "mbpp" / "mbpp.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["task_id"]] = row
    shots = [f"[BEGIN]\n{rows[i]['code']}\n[DONE]\n" for i in (2, 3, 4)]
    places = [request.prompt.index(shot) for shot in shots]
    assert places == sorted(places)


def test_the_prompt_without_shots(ask: Callable[..., GenerationRequest]) -> None:
    assert ask(shots=0).prompt == f"{QUESTION}[BEGIN]\n"


def test_the_chat_forms(ask: Callable[..., GenerationRequest]) -> None:
    bare = ask(shots=0, chat=True)
    assert bare.prompt is None
    assert bare.messages == ({"role": "user", "content": QUESTION},)
    shown = ask(shots=2, chat=True).messages
    assert shown is not None
    assert [turn["role"] for turn in shown] == ["user", "assistant", "user", "assistant", "user"]
    assert shown[1]["content"].startswith("```python\n")
    assert shown[-1] == {"role": "user", "content": QUESTION}


def _row(**fields: Any) -> dict[str, Any]:
    base = {"task_id": 20, "text": "", "test_setup_code": "", "challenge_test_list": []}
    return {**base, **fields}


def test_the_setup_runs_after_the_completion(
    evaluate: Callable[..., Any], write_files: Write, write_problems: Callable[..., Path], results: Results
) -> None:
    """As in problem 367, whose setup builds a tree of the candidate's own class."""
    row = _row(
        code="class Node:\n    def __init__(self, value):\n        self.value = value\ndef get(node):\n    return node.value\n",
        test_setup_code="root = Node(3)",
        test_list=["assert get(root) == 3"],
    )
    write_files(problems=1)
    write_problems(1, extra=[row])
    assert evaluate().complete
    assert results()["verdicts"] == {"mbpp-v1": {"passed": 2}}


def test_challenge_tests_count_only_when_asked_for(
    evaluate: Callable[..., Any], write_files: Write, write_problems: Callable[..., Path]
) -> None:
    row = _row(
        code="def f(x):\n    return 1\n", test_list=["assert f(0) == 1"], challenge_test_list=["assert f(1) == 2"]
    )
    for challenge, value in ((False, 1.0), (True, 0.5)):
        settings = {"mbpp-v1": {"shots": 0, "challenge_tests": challenge}}
        write_files(
            problems=1, run={"name": f"run-{challenge}"}, eval={"metrics": ["mbpp_pass@1"], "evaluators": settings}
        )
        write_problems(1, extra=[row])
        assert evaluate().metrics["mbpp_pass@1"].value == value


def test_tests_that_cannot_run_are_nobodys_failure(
    evaluate: Callable[..., Any], write_files: Write, write_problems: Callable[..., Path], results: Results, wmtp: Any
) -> None:
    write_files(problems=1)
    write_problems(1, extra=[_row(code="def f(x):\n    return 1\n", test_list=["assert f(1 =="])])
    found = evaluate()
    assert not found.complete
    metric = found.metrics["mbpp_pass@1"]
    assert (metric.value, metric.problems) == (None, 2)
    assert results()["judging"]["infrastructure"] == 1
    done = wmtp("eval", "config.yaml", "recipe.yaml")
    assert done.returncode == 1
    assert "mbpp-v1: problem 20, sample 0: the tests do not parse" in done.stderr


def test_the_keys_of_results_json_are_stable(
    evaluate: Callable[..., Any], write_files: Write, results: Results
) -> None:
    write_files(problems=1)
    assert evaluate().to_json() == results()
    body = results()
    assert list(body) == [
        "schema", "run", "metrics", "verdicts", "generation", "judging", "failed_evaluators", "notes", "provenance",
        "config", "recipe",
    ]  # fmt: skip
    assert list(body["metrics"]["mbpp_pass@1"]) == ["value", "low", "high", "problems", "samples", "method"]
    assert {"tokens", "seconds", "tokens_per_forward", "truncated"} <= set(body["generation"])
    assert set(body["judging"]) == {"level", "infrastructure", "notes"}
    provenance = body["provenance"]
    assert list(provenance) == ["packages", "plugins", "plugin_errors", "model", "data", "keys"]
    assert provenance["packages"]["wmtp-core"] == public.__version__
    assert {"distribution": "wmtp-eval-mbpp", "version": version("wmtp-eval-mbpp"), "state": "loaded"} in provenance[
        "plugins"
    ]
    assert provenance["data"]["mbpp"]["source"] == "local"
    assert provenance["keys"]["judge"]["mbpp-v1"]["level"] == "process"
    assert body["recipe"]["eval"]["metrics"] == ["mbpp_exact", "mbpp_pass@1"]
    assert body["config"]["judging"]["level"] == "process"


# What others wrote


@pytest.fixture
def foreign(tmp_path: Path, write_problems: Callable[..., Path]) -> Callable[[str], Path]:
    """Two samples for each of four problems, as one of the formats: the first is right, the second for even ids."""
    write_problems(4)
    texts = {
        i: [f"def add_{i}(x):\n    return x + {i}\n", f"def add_{i}(x):\n    return x + {i if i % 2 == 0 else 1}\n"]
        for i in (11, 12, 13, 14)
    }

    def write(form: str) -> Path:
        if form == "bigcode":
            path = tmp_path / "generations.json"
            path.write_text(json.dumps(list(texts.values())), encoding="utf-8")
            return path
        path = tmp_path / f"{form}.jsonl"
        rows = []
        for i, both in texts.items():
            for text in both:
                if form == "human-eval":
                    rows.append({"task_id": i, "completion": text})
                else:
                    rows.append(
                        {
                            "task_id": f"Mbpp/{i}",
                            "solution": text if form == "evalplus" else f"Here:\n```python\n{text}```\n",
                        }
                    )
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


SCORE = (
    "--benchmark",
    "mbpp",
    "--data",
    "problems.jsonl",
    "--judge",
    "process",
    "--set",
    "eval.evaluators.mbpp-v1.shots=0",
)


@pytest.mark.parametrize("form", ["human-eval", "evalplus", "bigcode"])
def test_score_reads_what_others_wrote(foreign: Callable[[str], Path], wmtp: Any, form: str) -> None:
    done = wmtp("score", str(foreign(form)), *SCORE, "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert {name: metric["value"] for name, metric in body["metrics"].items()} == {
        "mbpp_exact": 1.0,
        "mbpp_pass@1": 0.75,
    }
    assert body["verdicts"] == {"mbpp-v1": {"failed": 2, "passed": 6}}
    assert body["metrics"]["mbpp_pass@1"]["samples"] == 8


def test_samples_of_another_benchmark_are_refused_although_numbers_fit(
    foreign: Callable[[str], Path], wmtp: Any
) -> None:
    """``Mbpp/11`` is MBPP's problem 11; ``HumanEval/11`` is not."""
    file = foreign("evalplus")
    file.write_text(file.read_text(encoding="utf-8").replace("Mbpp/", "HumanEval/"), encoding="utf-8")
    done = wmtp("score", str(file), *SCORE)
    assert done.returncode != 0
    assert "has samples of HumanEval/…, and mbpp-v1 is no evaluator of that name" in done.stderr


def test_a_stored_solution_is_a_program_and_nothing_is_taken_out_of_it(
    foreign: Callable[[str], Path], wmtp: Any
) -> None:
    """EvalPlus stores programs in that field: what is no program there is wrong, however right a block in it would be."""
    done = wmtp("score", str(foreign("evalplus, not sanitized")), *SCORE, "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["metrics"]["mbpp_pass@1"]["value"] == 0.0
    assert body["verdicts"]["mbpp-v1"].get("passed", 0) == 0


def test_score_with_another_judge_does_not_lead_to_itself(foreign: Callable[[str], Path], wmtp: Any) -> None:
    file = str(foreign("human-eval"))
    assert wmtp("score", file, *SCORE).returncode == 0
    other = wmtp("score", file, *SCORE, "--set", "judging.memory_mib=512")
    assert other.returncode == 2
    assert "memory_mib: 1024 → 512" in other.stderr
    assert "--set run.name=…), or --fresh" in other.stderr
    assert "wmtp score" not in other.stderr
    assert wmtp("score", file, *SCORE, "--set", "judging.memory_mib=512", "--fresh").returncode == 0


def test_score_needs_no_solved_examples(foreign: Callable[[str], Path], tmp_path: Path, wmtp: Any) -> None:
    """No prompt is made, so what only prompts hold may be absent from the data."""
    file = foreign("human-eval")
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [json.dumps(row) + "\n" for row in rows if row["task_id"] > 10]
    (tmp_path / "problems.jsonl").write_text("".join(kept), encoding="utf-8")
    done = wmtp("score", str(file), *SCORE[:-2], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["mbpp_pass@1"]["value"] == 0.75


def test_score_reads_our_own_and_goes_on_where_it_stopped(
    tmp_path: Path, evaluate: Callable[..., Any], wmtp: Any, write_files: Write
) -> None:
    write_files()
    assert evaluate().complete
    file = str(Path("runs", "run", "samples", "mbpp-v1.jsonl"))
    done = wmtp("score", file, *SCORE)
    assert done.returncode == 0, done.stderr
    assert "mbpp_pass@1" in done.stdout
    assert "100.0 %" in done.stdout
    (folder,) = (tmp_path / "runs").glob("score-*")
    verdicts = folder / "verdicts" / "mbpp-v1.jsonl"
    before = verdicts.read_bytes()
    again = wmtp("score", file, *SCORE, "--set", "eval.metrics=[mbpp_pass@1]", "--json")
    assert list(json.loads(again.stdout)["metrics"]) == ["mbpp_pass@1"]
    assert verdicts.read_bytes() == before
    # The report's own command needs neither the samples' name nor the data's.
    last = (folder / "report.md").read_text(encoding="utf-8").splitlines()[-1]
    command = shlex.split(last.removeprefix("Once more: `wmtp ").removesuffix("`"))
    once_more = wmtp(*command, "--json")
    assert once_more.returncode == 0, once_more.stderr
    assert verdicts.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ('{"task_id": 11, "completion": "x"}\n{"task_id"', SCORE, "line 2: not valid JSON"),
        ('{"task_id": 11}\n', SCORE, "line 1: expected a sample"),
        ("", SCORE, "holds no samples"),
        (
            '{"task_id": 11, "completion": "x"}\n',
            ("--benchmark", "mbbp"),
            "did you mean 'mbpp'? installed: ",
        ),
        (
            '{"task_id": 11, "completion": "x"}\n',
            ("--benchmark", "mbpp", "--no-plugin", "wmtp-eval-mbpp"),
            "wmtp-eval-mbpp",
        ),
    ],
)
def test_score_says_what_is_wrong(
    tmp_path: Path, wmtp: Any, write_problems: Callable[..., Path], text: str, arguments: tuple[str, ...], says: str
) -> None:
    write_problems(1)
    (tmp_path / "samples.jsonl").write_text(text, encoding="utf-8")
    done = wmtp("score", "samples.jsonl", *arguments)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_lacks_problems_gets_no_number(foreign: Callable[[str], Path], wmtp: Any) -> None:
    """A problem without samples is missing, not failed; and not left out of the mean."""
    file = foreign("human-eval")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:6]), encoding="utf-8")
    done = wmtp("score", str(file), *SCORE, "--json")
    assert done.returncode == 2
    assert "no sample of problem 14, of 4 in the split" in done.stderr
    part = wmtp("score", str(file), *SCORE, "--set", "eval.limit=3", "--json")
    assert part.returncode == 0, part.stderr
    assert json.loads(part.stdout)["metrics"]["mbpp_pass@1"]["problems"] == 3


def test_every_sample_counts_where_problems_have_different_numbers(foreign: Callable[[str], Path], wmtp: Any) -> None:
    """Cut to the fewest, three of four wrong samples could vanish, and the score with them."""
    file = foreign("human-eval")
    wrong = "".join(json.dumps({"task_id": 11, "completion": f"x = {i}"}) + "\n" for i in range(4))
    with file.open("a", encoding="utf-8") as more:
        more.write(wrong)
    done = wmtp("score", str(file), *SCORE, "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["metrics"]["mbpp_pass@1"]["value"] == pytest.approx((1 / 6 + 1 + 1 / 2 + 1) / 4)
    assert body["metrics"]["mbpp_pass@1"]["samples"] == 12
    impossible = wmtp("score", str(file), *SCORE, "--set", "eval.metrics=[mbpp_pass@3]")
    assert impossible.returncode == 2
    assert "pass@3" in impossible.stderr


def test_samples_of_problems_that_the_data_lacks_are_refused(foreign: Callable[[str], Path], wmtp: Any) -> None:
    file = foreign("human-eval")
    with file.open("a", encoding="utf-8") as more:
        more.write(json.dumps({"task_id": 99, "completion": "x"}) + "\n")
    done = wmtp("score", str(file), *SCORE)
    assert done.returncode == 2
    assert "samples of problem 99, which the data does not have" in done.stderr


@pytest.mark.parametrize("lists", [3, 5])
def test_generations_that_do_not_align_are_refused(foreign: Callable[[str], Path], wmtp: Any, lists: int) -> None:
    file = foreign("bigcode")
    texts = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps([*texts, texts[0]][:lists]), encoding="utf-8")
    done = wmtp("score", str(file), *SCORE)
    assert done.returncode == 2
    assert f"{lists} lists for 4 problems" in done.stderr


def test_scoring_loads_no_torch(foreign: Callable[[str], Path], tmp_path: Path, wmtp_env: dict[str, str]) -> None:
    script = (
        "import sys\n"
        "from wmtp.cli import main\n"
        f"status = main(['score', {str(foreign('human-eval'))!r}, *{list(SCORE)!r}])\n"
        "heavy = sorted({'torch', 'transformers', 'pandas', 'boto3'} & set(sys.modules))\n"
        "sys.exit(f'loaded {heavy}' if heavy else status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=wmtp_env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_recipe_that_was_run_can_be_run_again(
    tmp_path: Path, evaluate: Callable[..., Any], write_files: Write, wmtp: Any, results: Results
) -> None:
    """The run directory's own config.yaml and recipe.yaml are the run."""
    write_files()
    assert evaluate().complete
    folder = tmp_path / "runs" / "run"
    assert yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))["run"]["name"] == "run"
    done = wmtp("eval", str(folder / "config.yaml"), str(folder / "recipe.yaml"), "--set", "run.name=second", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"] == results()["metrics"]
