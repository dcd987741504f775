"""Limits on this process that would be its programs' too: nobody may raise them for a child."""

from __future__ import annotations

import resource
from collections.abc import Callable

from wmtp.errors import JudgeError
from wmtp.judging.host.pair import FILE_MIB, FILES, PROCESSES
from wmtp.judging.wire.limits import CHECKER_BYTES, STACK_BYTES

INTERPRETER_MIB = 256
"""Of address space, beside what a program may have."""
SHALLOW = (
    "the limit on the stack (ulimit -Hs) is {have} here, not {wanted}: deep recursion may end a program that is right"
)


def check(memory_mib: int) -> tuple[str, ...]:
    """Loud notes of limits that few programs meet. Raises JudgeError for one that honest programs, or the judge itself, would.

    memory_mib: what a program may have.
    """
    space = memory_mib + INTERPRETER_MIB << 20
    wanted: dict[int, tuple[int, str, Callable[[int], str]]] = {
        resource.RLIMIT_NOFILE: (FILES, "open files at once (ulimit -Hn)", str),
        resource.RLIMIT_FSIZE: (FILE_MIB << 20, "in a file (ulimit -Hf)", _mib),
        resource.RLIMIT_NPROC: (PROCESSES, "processes at once (ulimit -Hu)", str),
        resource.RLIMIT_AS: (max(CHECKER_BYTES, space), "of address space (ulimit -Hv)", _mib),
        resource.RLIMIT_DATA: (space, "of data (ulimit -Hd)", _mib),
    }
    for which, (least, what, told) in wanted.items():
        have = resource.getrlimit(which)[1]
        if have != resource.RLIM_INFINITY and have < least:
            raise JudgeError(
                f"this process may have no more than {told(have)} {what}, and judging needs {told(least)}: programs would end "
                "for it, which is no fault of theirs. Raise the limit where this process is started"
            )
    stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if stack != resource.RLIM_INFINITY and stack < STACK_BYTES:
        return (SHALLOW.format(have=_mib(stack), wanted=_mib(STACK_BYTES)),)
    return ()


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.4g} MiB"
