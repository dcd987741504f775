"""Every kind of frame, once. Numbers of one direction never mean anything in the other. Standard library only."""

from __future__ import annotations

# Checker to child.
PROGRAM, CALL, OPERATE, CASE, RETURNED, THREW = range(1, 7)
# Child to checker.
READY, RAISED, VALUE, SAME, REFUSED, RAN, CALLBACK, COROUTINE = range(16, 24)
# Parent to checker, and back.
JOB, JOB_CASE, JOB_END = range(32, 35)
OUTCOME, CASE_RESULT = range(48, 50)
