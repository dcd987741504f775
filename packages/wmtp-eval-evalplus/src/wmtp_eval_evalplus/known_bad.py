"""Problems that are known to be bad, and why. They stay in every score; the report gives the score without them beside it."""

HUMANEVAL = {
    "HumanEval/47": "its docstring says 15.0 for an example that its tests and reference answer with 8.0",
    "HumanEval/116": "its docstring's examples are not what its tests ask for (evalplus issue 12)",
}
_WRONG = "the reference of MBPP+ 0.2.0 is wrong, EvalPlus corrected it for 0.2.1 (evalplus issue 210, tools/mbpp/fix_v020.py)"
MBPP = {f"Mbpp/{number}": _WRONG for number in (102, 459, 559)}
_BROKEN = "EvalPlus took it out of MBPP+ 0.2.0 as broken (evalplus issue 147, tools/mbpp/fix_v010.py)"
_TAKEN_OUT = "83 115 117 143 164 229 249 295 396 400 407 431 438 442 461 574 582 595 640 746 783"
MBPP |= {f"Mbpp/{number}": _BROKEN for number in _TAKEN_OUT.split()}
