"""When an answer counts as the reference's: the rule of evalplus 0.3.1 (evalplus/eval), restated.

The text of this module is part of every test, behind that of `wmtp.kit.near`, so it runs in the judge's checker. Standard
library only; and no answer may make it raise, since an exception in a test is the test's fault. docs/benchmarks.md lists what
differs from EvalPlus on purpose.
"""

import math
from collections.abc import Callable
from typing import Any

_SETS = {"similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum", "intersection_array",
         "find_dissimilar", "Diff"}  # fmt: skip
_NOT_NONE = {"check_str", "text_match_three", "text_starta_endb"}


def _oracle_right(
    same: Callable[..., bool], dataset: str, entry_point: str, args: Any, out: Any, wanted: Any, atol: float
) -> bool:
    """Whether `out` is right where the reference answers `wanted`: by the problem's own oracle, or `same` as a value."""
    if dataset == "humaneval_plus" and entry_point == "find_zero":
        return _oracle_zero(args[0], out, atol)
    if dataset == "mbpp_plus":
        if entry_point in _SETS:
            return bool(_oracle_set(out) == set(wanted))
        if entry_point in _NOT_NONE:
            return bool((out if isinstance(out, bool) else out is not None) == wanted)
        if entry_point == "sum_div" and same(out, 0, 0):
            return True
        if entry_point == "surface_Area" and isinstance(out, (int, float)):
            return bool(out == wanted or abs(out - _oracle_pyramid(*args)) <= atol)
        if entry_point == "digit_distance_nums":
            return bool(out == wanted or out == _oracle_digits(*args))
    return same(out, wanted, atol)


def _oracle_zero(coefficients: Any, out: Any, atol: float) -> bool:
    try:
        return bool(abs(sum(c * math.pow(out, i) for i, c in enumerate(coefficients))) <= atol)
    except (TypeError, ValueError, OverflowError):
        return False


def _oracle_set(out: Any) -> Any:
    try:
        return set(out)
    except TypeError:
        return None


def _oracle_pyramid(base: float, height: float) -> float:
    """Surface of a square pyramid whose height is meant up to its tip, not along its side."""
    return round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))


def _oracle_digits(one: int, other: int) -> int:
    """Sum of the differences of digits that stand below each other."""
    width = max(len(str(one)), len(str(other)))
    return sum(abs(ord(a) - ord(b)) for a, b in zip(str(one).zfill(width), str(other).zfill(width), strict=True))
