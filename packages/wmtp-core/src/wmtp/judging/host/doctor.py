"""What ``wmtp doctor`` says of the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

from wmtp.contracts.judging import CallTests, Level
from wmtp.contracts.specs import Check
from wmtp.errors import JudgeError
from wmtp.judging.host.pair import PairDied
from wmtp.judging.judge import open_judge


def checks() -> Iterator[Check]:
    """A line a level: does it start, and judge a right and a wrong program as it should? And one for each wall of strict."""
    levels: tuple[Level, ...] = ("strict", "process")
    for level in levels:
        try:
            with open_judge(level=level, workers=1) as judge:
                held = judge.layers
                test = CallTests(tests=("assert double(4) == 8",))
                right = judge.submit("def double(x): return 2 * x", test).result()
                wrong = judge.submit("def double(x): return x", test).result()
        except (JudgeError, PairDied) as error:
            yield Check(f"judge: {level}", False, str(error))
            continue
        yield from (Check(f"judge: {layer}", not seen, seen) for layer, seen in held.items())
        sound = right.passed and wrong.status == "failed"
        yield Check(f"judge: {level}", sound, "" if sound else f"{right.status}, {wrong.status}")
