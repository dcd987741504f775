"""Benchmarks, the meta-mtp evaluator, metrics, the run directory and reports."""
