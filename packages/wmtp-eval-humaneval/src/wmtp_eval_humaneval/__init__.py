"""HumanEval for WMTP: the data set ``humaneval`` and the evaluator ``humaneval-v1``."""
