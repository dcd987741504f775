"""MBPP for WMTP: the data set ``mbpp`` and the evaluator ``mbpp-v1``."""
