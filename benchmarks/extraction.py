"""Taking programs out of answers, beside `ast.parse` on the same programs; and answers made to take long.

    python benchmarks/extraction.py

Prints, for 10,000 answers of about 4 KiB in several forms, the time of `wmtp.kit.extract` over that of `ast.parse` on the
programs that they hold, and seconds for texts of 1 MB full of fences. Exits with 1 where a limit is passed.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Callable
from functools import partial

from wmtp.kit import Wanted, extract

ANSWERS = 10_000
LIMIT_RATIO = 1.2
LIMIT_SECONDS = 1.0
LOOP = "    for i in range(len(xs)):\n        if xs[i] % {n} == 0 and xs[i] > {n}:\n            found.append(xs[i] * {n} + i)\n"


def program(number: int) -> str:
    return (
        "def wanted(xs):\n    found = []\n"
        + "".join(LOOP.format(n=number + k) for k in range(36))
        + "    return found\n"
    )


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> int:
    programs = [program(n) for n in range(250)]
    forms: dict[str, Callable[[str], str]] = {
        "code alone": lambda code: code,
        "words and one block": lambda code: f"Here it is:\n\n```python\n{code}```\n\nIt goes over the values.\n",
        "a thought, then a block": lambda code: f"<think>\nLet me see.\n</think>\n\n```python\n{code}```\n",
    }
    wanted = Wanted(names={"wanted"})
    total_ours = total_parse = 0.0
    rounds = ANSWERS // len(programs) // len(forms)
    print(f"{len(programs[0]) / 1024:.1f} KiB a program, {rounds * len(programs)} answers a form")
    for name, form in forms.items():
        texts = [form(code) for code in programs]
        ours = parse = 0.0
        for _ in range(rounds):  # in turns, so that both meet the same machine
            for code, text in zip(programs, texts, strict=True):  # nothing is kept: a heap of trees slows the collector
                parse += seconds(partial(ast.parse, code))
                ours += seconds(partial(extract, text, wanted))
        total_ours, total_parse = total_ours + ours, total_parse + parse
        print(f"{name:28} extract {ours:6.2f} s   ast.parse {parse:6.2f} s   ratio {ours / parse:.3f}")
    ratio = total_ours / total_parse
    print(f"all forms: ratio {ratio:.3f}, limit {LIMIT_RATIO}")
    slowest = 0.0
    for name, piece in {
        "fences": "```\n",
        "blocks": "```python\nx = 1\n```\n",
        "docstrings": '```\n"""\n```\n"""\n```\n',
    }.items():
        took = seconds(partial(extract, piece * (2**20 // len(piece)), wanted))
        slowest = max(slowest, took)
        print(f"1 MB of {name:20} {took:6.2f} s")
    return int(ratio > LIMIT_RATIO or slowest > LIMIT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
