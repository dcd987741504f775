"""Limits that both sides must know. Standard library only."""

STACK_BYTES = 120 << 20  # the kernel leaves 128 MiB below the stack of any process, whatever its limit was at exec
CHECKER_BYTES = 4 << 30
"""Of address space, for the process that compares answers."""


def backstop(cpu: int) -> int:
    """The kernel's own limit on CPU seconds, of a program that may have so many by exact clocks."""
    return cpu + 1 + cpu // 2
