"""Problems that are known to be bad, and why. They stay in the score; report.md gives the score without them beside it."""

KNOWN_BAD = {
    "HumanEval/47": "its docstring says 15.0 for an example that its test and reference answer with 8.0 (human-eval pull 23)",
    "HumanEval/116": "its docstring's examples are not what its test asks for (evalplus issue 12)",
}
