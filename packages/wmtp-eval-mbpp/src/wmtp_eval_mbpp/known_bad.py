"""Problems that are known to be bad, and why. They stay in the score; report.md gives the score without them beside it."""

_BROKEN = "EvalPlus took it out of MBPP+ 0.2.0 as broken (evalplus issue 147, tools/mbpp/fix_v010.py)"
_TAKEN_OUT = "83 115 117 143 164 229 249 295 396 400 407 431 438 442 461 574 582 595 640 746 783"
KNOWN_BAD = dict.fromkeys(_TAKEN_OUT.split(), _BROKEN)
KNOWN_BAD["461"] = f"its asserts count one capital in 'PYthon', as its reference stops at the first letter; {_BROKEN}"
KNOWN_BAD["295"] = f"it asks for the sum of all divisors, and its asserts leave the number itself out; {_BROKEN}"
