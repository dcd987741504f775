"""A sample plugin for WMTP: a toy benchmark to copy from."""
