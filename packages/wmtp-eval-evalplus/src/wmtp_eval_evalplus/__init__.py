"""HumanEval+ and MBPP+ for WMTP (EvalPlus, Liu et al., arXiv 2305.01210)."""
