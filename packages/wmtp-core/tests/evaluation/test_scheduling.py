"""Whoever replays samples takes no processor from a program that runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from wmtp.evaluation.scheduling import interrupting_nobody

ORDINARY = os.SCHED_OTHER
PROGRAM = """
import os
from wmtp.evaluation.scheduling import interrupting_nobody
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
with interrupting_nobody():
    print(os.sched_getscheduler(0) == os.SCHED_BATCH)
print(os.sched_getscheduler(0) == os.SCHED_BATCH)
"""


@pytest.mark.skipif(os.sched_getscheduler(0) != ORDINARY, reason="we run under another policy ourselves")
def test_within_it_waits_for_a_processor_and_afterwards_it_is_as_before() -> None:
    def in_a_thread() -> None:
        for _ in range(2):
            with interrupting_nobody():
                found.append(os.sched_getscheduler(0))
            found.append(os.sched_getscheduler(0))

    found: list[int] = []
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == 2 * [os.SCHED_BATCH, ORDINARY]


def test_a_policy_of_ones_own_stays() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
