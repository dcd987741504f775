"""Does each wall hold? Run in a forked child of the zygote, where a program would run. Standard library only."""

from __future__ import annotations

import _thread
import errno
import os
import resource
from collections.abc import Callable, Mapping
from typing import Any

from wmtp.judging.sandbox import lockdown, root
from wmtp.judging.wire.limits import backstop

PROBE_STACK_BYTES = 256 << 10  # little, and no less than any C library wants


def _fails_with(numbers: tuple[int, ...], action: Callable[[], object]) -> str:
    """``""`` if the action fails with one of these errors, else what happened."""
    try:
        action()
    except OSError as error:
        return "" if error.errno in numbers else f"failed with {errno.errorcode.get(error.errno or 0, error)}"
    return "it succeeded"


def _file_system() -> str:
    if os.path.exists("/etc/passwd") or os.listdir("/proc"):
        return "files of the host are in sight"
    return _fails_with((errno.EROFS, errno.EACCES, errno.EPERM), lambda: open("/usr/wmtp-probe", "w"))


def _work_folder() -> str:
    with open("probe", "w", encoding="ascii") as file:
        file.write("x")
    os.unlink("probe")
    limit = os.statvfs(".")
    return "" if limit.f_files and limit.f_blocks * limit.f_frsize < 1 << 30 else "/tmp has no size limit"


def _processes(most: int) -> str:
    """Starts threads until no more are to be had, then forks: the limit counts both, and holds not for a uid that is 0 outside.
    To fork as often would take the time of thirty programs."""
    _thread.stack_size(PROBE_STACK_BYTES)
    until = _thread.allocate_lock()
    until.acquire()
    try:
        for _ in range(most + 1):
            _thread.start_new_thread(until.acquire, ())
    except RuntimeError:
        return _fails_with((errno.EAGAIN,), _fork)
    return f"{most + 1} threads were started"


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _limits(expected: Mapping[str, Any]) -> str:
    wanted = {resource.RLIMIT_CPU: backstop(expected["cpu"]), resource.RLIMIT_NPROC: expected["processes"]}
    wrong = [which for which, value in wanted.items() if resource.getrlimit(which)[0] > value]
    if wrong or resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return "limits are not in force"
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (1 << 20, 1 << 20))
    except (ValueError, OSError):  # Python turns this EPERM into ValueError
        return ""
    return "limits can be raised again"


def probe(limits: Mapping[str, Any]) -> dict[str, str]:
    """Layer → ``""`` if it holds, else what was seen instead."""
    checks: dict[str, Callable[[], str]] = {
        "pid namespace": lambda: "" if os.getpid() < 1000 and os.getppid() == 1 else "pids of the host are in sight",
        "own root": _file_system,
        "work folder": _work_folder,
        "landlock": lambda: _fails_with((errno.EACCES,), lambda: open(root.CANARY)),  # noqa: SIM115
        "seccomp": lambda: _fails_with((errno.EPERM,), lambda: os.memfd_create("probe")),
        "capabilities": lambda: "" if lockdown.capabilities() == 0 else "some are left",
        "resource limits": lambda: _limits(limits),
        "process limit": lambda: _processes(limits["processes"]),
    }
    result = {}
    for name, check in checks.items():
        try:
            result[name] = check()
        except (OSError, ValueError) as error:
            result[name] = f"{type(error).__name__}: {error}"
    return result
