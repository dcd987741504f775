"""What a zygote has imported and set before its first program, which every program finds. Standard library only."""

from __future__ import annotations

import _sitebuiltins
import builtins
import signal
import sys
import threading

from wmtp.judging.sandbox import rehearsal

# What programs import most. Each module more makes every fork a little dearer, and a program that needs another loads it.
WARM = (
    "abc", "bisect", "collections", "collections.abc", "contextlib", "copy", "datetime", "decimal", "enum", "fractions",
    "functools", "heapq", "io", "itertools", "json", "math", "numbers", "operator", "random", "re", "string", "struct",
    "threading", "time", "types", "typing",
)  # fmt: skip
THREAD_STACK_BYTES = 8 << 20


def become() -> None:
    """Makes this process one that programs are forked from. For one that has run nothing else."""
    for name in WARM:
        __import__(name)
    # which `site` would have put there
    builtins.exit = builtins.quit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    rehearsal.adapt()
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(kind, signal.SIG_DFL)
    # A thread's stack is RLIMIT_STACK by default, which we raise for deep recursion: eight threads would fill the memory.
    threading.stack_size(THREAD_STACK_BYTES)
    sys.argv = ["program.py"]
    sys.set_int_max_str_digits(0)  # data sets are older than that limit, and CPU is limited anyway
