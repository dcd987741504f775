"""When an answer counts as the reference's: the rules of evalplus 0.3.1 (evalplus/eval), restated as expressions for tests.

They are over `args`, `out`, `wanted` and `atol`. docs/benchmarks.md lists what differs from EvalPlus on purpose.
"""

SAME = "near_same(out, wanted, atol)"
NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")
_SETS = ("similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum", "intersection_array",
         "find_dissimilar", "Diff")  # fmt: skip
# The surface of a square pyramid whose height is meant up to its tip; the differences of digits that stand below each other.
_UPRIGHT = "round(args[0]**2 + 2 * args[0] * math.sqrt((args[0] / 2) ** 2 + args[1]**2))"
_DIGITS = "sum(abs(ord(a) - ord(b)) for a, b in zip(*(str(n).zfill(max(len(str(m)) for m in args)) for n in args)))"
OWN = {
    "humaneval_plus": {"find_zero": "abs(sum(c * math.pow(out, i) for i, c in enumerate(args[0]))) <= atol"},
    "mbpp_plus": {
        **dict.fromkeys(_SETS, "set(out) == set(wanted)"),
        **dict.fromkeys(NOT_NONE, "(out if isinstance(out, bool) else out is not None) == wanted"),
        "sum_div": f"near_same(out, 0, 0) or {SAME}",
        "surface_Area": f"out == wanted or (isinstance(out, (int, float)) and abs(out - {_UPRIGHT}) <= atol)",
        "digit_distance_nums": f"out == wanted or out == {_DIGITS}",
    },
}
