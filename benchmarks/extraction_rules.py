"""Three ways to take programs out of answers, on the labelled answers of the tests: ours, EvalPlus' and lm-eval's.

    python benchmarks/extraction_rules.py [--evalplus PYTHON]

PYTHON is an interpreter with evalplus 0.3.1 (its own sanitiser is called there); without it that column is left out. lm-eval's
regular expressions are said again here. Where a rule can be handed the answer alone or behind its prompt, it counts as right if
either is. Prints the share of answers from which each takes a right program (or none, where there is none), and those of ours
that are wrong. Exits with 1 where ours is below 99.5 % or below another.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "packages/wmtp-core/tests/kit"))

import answers

from wmtp.kit import extract

LEAST = 0.995
SANITISE = """
import json, sys
from evalplus.sanitize import sanitize
for text, name in json.load(sys.stdin):
    try:
        print(json.dumps(sanitize(text, name or None)))
    except Exception as error:  # noqa: BLE001
        print(type(error).__name__, file=sys.stderr)
        print(json.dumps(""))
"""


def right(code: str | None, task: Any, holds: bool) -> bool:
    if not holds or not code or not code.strip():
        return holds is bool(code and code.strip())
    try:
        return bool(task.passes(code))
    except (Exception, SystemExit):  # noqa: BLE001  # whatever a wrongly taken program raises
        return False


def lm_eval(text: str, prompt: str) -> tuple[str, ...]:
    """What lm-eval judges: bare tasks the text as it is, instructed ones the first block, of a text whose fence its own
    prefill may have opened; the prompt in front of either or not."""
    block = r"```(?:\w+)?\n?(.*?)\n?```"
    found = [*re.findall(block, f"```{text}", re.DOTALL)[:1], *re.findall(block, text, re.DOTALL)[:1], text]
    return (*found, *(prompt + each for each in found))


def evalplus(python: str, texts: Sequence[tuple[str, str]]) -> list[str]:
    done = subprocess.run(
        [python, "-c", SANITISE], input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=600
    )
    if done.stderr.strip():
        print("evalplus raised", len(done.stderr.split()), "times")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--evalplus", metavar="PYTHON", default="")
    python = parser.parse_args().evalplus
    warnings.simplefilter("ignore")
    labelled = list(answers.labelled())
    both = [(text, task.wanted.prompt + text) for _, task, text, _ in labelled]
    taken: dict[str, list[tuple[str | None, ...]]] = {
        "ours": [(extract(text, task.wanted).code,) for _, task, text, _ in labelled],
        "lm-eval": [lm_eval(text, task.wanted.prompt) for _, task, text, _ in labelled],
    }
    if python:
        names = [task.name for _, task, _, _ in labelled]
        columns = [evalplus(python, [(pair[i], name) for pair, name in zip(both, names, strict=True)]) for i in (0, 1)]
        taken["evalplus"] = list(zip(*columns, strict=True))
    shares = {}
    for rule, codes in taken.items():
        good = [
            any(right(code, task, holds) for code in found)
            for found, (_, task, _, holds) in zip(codes, labelled, strict=True)
        ]
        shares[rule] = sum(good) / len(good)
        functions = [ok for ok, (_, task, _, _) in zip(good, labelled, strict=True) if task.name]
        print(
            f"{rule:10} {sum(good)} of {len(good)} right, {100 * shares[rule]:.2f} %; of functions alone, "
            f"EvalPlus' own field, {100 * sum(functions) / len(functions):.2f} %"
        )
        if rule == "ours":
            wrong = [name for ok, (name, *_) in zip(good, labelled, strict=True) if not ok]
    print("ours are wrong in:", "; ".join(wrong) or "none")
    return int(
        shares["ours"] < LEAST or any(shares["ours"] <= other for rule, other in shares.items() if rule != "ours")
    )


if __name__ == "__main__":
    sys.exit(main())
