"""Limits that both sides must know. Standard library only."""

STACK_BYTES = 120 << 20  # the kernel leaves 128 MiB below the stack of any process, whatever its limit was at exec
CHECKER_BYTES = 4 << 30
