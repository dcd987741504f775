"""How two outputs of a stdin program are compared. Runs in the trusted process. docs/decisions/0040 says why as it does."""

from __future__ import annotations

import re
import string
from decimal import Decimal, InvalidOperation

_SEPARATORS = re.compile("[ \\n\\t\\r\\v]+")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII)
_INFINITE = {"inf": "inf", "+inf": "inf", "infinity": "inf", "+infinity": "inf", "-inf": "-inf", "-infinity": "-inf"}
ABSOLUTE, RELATIVE = 1e-5, 1e-9


def same_output(expected: str, printed: str, how: str) -> bool:
    """``"tokens"``: words without regard to ASCII case, numbers by value; ``"lines"``: the same text but for white space at the
    ends of lines and of the text; ``"decimals"``: that, with white space in front too, and a line of numbers by their values;
    ``"exact"``: the same text."""
    if how == "exact":
        return expected == printed
    if how == "decimals":
        lines = (
            [line.strip() for line in expected.strip().split("\n")],
            [line.strip() for line in printed.strip().split("\n")],
        )
        return len(lines[0]) == len(lines[1]) and all(map(_same_numbers, *lines))
    if how == "lines":
        return _lines(expected) == _lines(printed)
    wanted, got = _tokens(expected), _tokens(printed)
    return len(wanted) == len(got) and all(map(_same_token, wanted, got))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().replace("\r\n", "\n").split("\n")]


def _same_numbers(wanted: str, got: str) -> bool:
    """The same line; or numbers alone on both, of exactly the same values. A tolerance there is none."""
    if wanted == got:
        return True
    pair = wanted.split(), got.split()
    if len(pair[0]) != len(pair[1]) or not all(_NUMBER.fullmatch(word.lower()) for words in pair for word in words):
        return False
    try:
        return all(Decimal(one) == Decimal(other) for one, other in zip(*pair, strict=True))
    except InvalidOperation:  # an exponent that no decimal has
        return False


def _tokens(text: str) -> list[str]:
    return [word for word in _SEPARATORS.split(text.translate(_LOWER)) if word]


def _whole(word: str) -> str:
    """A whole number as all write it that mean the same. Not as a number: to read millions of digits takes minutes."""
    digits = word.lstrip("+-").lstrip("0")
    return f"-{digits}" if digits and word[0] == "-" else digits


def _same_token(wanted: str, got: str) -> bool:
    if wanted == got:
        return True
    if wanted in _INFINITE:
        return _INFINITE.get(got) == _INFINITE[wanted]
    if not (_NUMBER.fullmatch(wanted) and _NUMBER.fullmatch(got)):
        return False
    if _WHOLE.fullmatch(wanted) and _WHOLE.fullmatch(got):
        return _whole(wanted) == _whole(got)
    one, other = float(wanted), float(got)
    return abs(one - other) <= max(ABSOLUTE, RELATIVE * abs(one))
