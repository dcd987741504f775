"""How two outputs of a stdin program are compared. Runs in the trusted process."""

from __future__ import annotations


def same_output(expected: str, printed: str, how: str) -> bool:
    """``"tokens"``: as DeepMind's CodeContests tester: lower-cased words, numbers within 1e-5. ``"exact"``: the same text."""
    if how == "exact":
        return expected == printed
    wanted, got = expected.lower().split(), printed.lower().split()
    return len(wanted) == len(got) and all(map(_same_token, wanted, got))


def _same_token(wanted: str, got: str) -> bool:
    if wanted == got:
        return True
    try:
        return abs(float(wanted) - float(got)) < 1e-5
    except ValueError:
        return False
