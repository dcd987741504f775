"""Equal, or near where floats are meant, for tests that compare as numpy would: the checker has no numpy.

The text of this module (`near_source`) goes in front of such a test. Standard library only; and no answer may make it raise,
since an exception in a test is the test's fault.
"""

import math
from collections.abc import Callable
from typing import Any


def near_source() -> str:
    """What a test begins with that calls ``near_same``."""
    with open(__file__, encoding="utf-8") as file:
        return file.read()


def near_same(out: Any, wanted: Any, atol: float) -> bool:
    """Equal; or, for floats and where a tolerance is given, near as ``numpy.allclose(rtol=1e-7)`` has it."""
    if out == wanted:
        return True
    several = isinstance(wanted, (list, tuple)) and len(wanted) > 0 and all(isinstance(item, float) for item in wanted)
    allowed = atol or (1e-6 if several or isinstance(wanted, float) else 0)
    return bool(allowed) and type(out) is type(wanted) and _near_values(out, wanted, allowed)


def near_held(rule: Callable[..., Any], *given: Any) -> bool:
    """Whether a rule holds of an answer. One that cannot be asked of it, since it is of another kind, does not."""
    try:
        return bool(rule(*given))
    except (TypeError, ValueError, OverflowError):
        return False


def _near_values(out: Any, wanted: Any, atol: float) -> bool:
    if isinstance(wanted, (list, tuple)):
        return (isinstance(out, (list, tuple)) and len(out) == len(wanted)
                and all(_near_values(a, b, atol) for a, b in zip(out, wanted, strict=True)))  # fmt: skip
    for number in (out, wanted):
        if not isinstance(number, (int, float, complex)) or (isinstance(number, int) and abs(number) >= 2**63):
            return False  # numpy compares no others
    limit = atol + 1e-7 * math.hypot(wanted.real, wanted.imag)
    off = out - wanted
    return bool(out == wanted or math.hypot(off.real, off.imag) <= limit < math.inf)
