"""Limits on this process that would be its programs' too: nobody may raise them for a child."""

from __future__ import annotations

import resource
from collections.abc import Callable

from wmtp.errors import JudgeError
from wmtp.judging.host.pair import FILE_MIB, FILES, PROCESSES
from wmtp.judging.wire.limits import CHECKER_BYTES, STACK_BYTES, backstop

INTERPRETER_MIB = 256
"""Of address space, beside what a program may have."""
OWN_SECONDS = 60
"""Of CPU, which the judge's own processes may take before they are replaced."""
SHALLOW = (
    "the limit on the stack (ulimit -Hs) is {have} here, not {wanted}: deep recursion may end a program that is right"
)


def check(cpu: int, memory_mib: int) -> tuple[str, ...]:
    """Loud notes of limits that few programs meet. Raises JudgeError for one that honest programs, or the judge itself, would.

    Args:
        cpu: CPU seconds that a program may have.
        memory_mib: What it may have of memory.
    """
    fixed: dict[int, tuple[int, str, Callable[[int], str]]] = {
        resource.RLIMIT_NOFILE: (FILES, "open files at once (ulimit -Hn)", str),
        resource.RLIMIT_FSIZE: (FILE_MIB << 20, "in a file (ulimit -Hf)", _mib),
        resource.RLIMIT_NPROC: (PROCESSES, "processes at once (ulimit -Hu)", str),
    }
    if lack := _first_lack(fixed) or lacking(cpu, memory_mib):
        raise JudgeError(lack)
    return (SHALLOW.format(have=have, wanted=_mib(STACK_BYTES)),) if (have := short_stack()) else ()


def lacking(cpu: int, memory_mib: int) -> str:
    """Which limit keeps a program from having so much, and what to do; ``""`` if none does."""
    space = memory_mib + INTERPRETER_MIB << 20
    return _first_lack({
        resource.RLIMIT_CPU: (OWN_SECONDS + backstop(cpu), "of CPU (ulimit -Ht)", "{} s".format),
        resource.RLIMIT_AS: (max(CHECKER_BYTES, space), "of address space (ulimit -Hv)", _mib),
        resource.RLIMIT_DATA: (space, "of data (ulimit -Hd)", _mib),
    })  # fmt: skip


def short_stack() -> str:
    """How much of a stack programs have, where it is less than elsewhere: part of what verdicts depend on. Else ``""``."""
    stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
    return _mib(stack) if stack != resource.RLIM_INFINITY and stack < STACK_BYTES else ""


def _first_lack(wanted: dict[int, tuple[int, str, Callable[[int], str]]]) -> str:
    for which, (least, what, told) in wanted.items():
        have = resource.getrlimit(which)[1]
        if have != resource.RLIM_INFINITY and have < least:
            return (
                f"this process may have no more than {told(have)} {what}, and judging needs {told(least)}: programs would end "
                "for it, which is no fault of theirs. Raise the limit where this process is started"
            )
    return ""


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.4g} MiB"
