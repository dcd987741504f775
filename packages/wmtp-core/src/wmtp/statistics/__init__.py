"""Intervals, paired tests and plans, on plain arrays. The unit is the problem; see docs/compare.md for what is asked."""
