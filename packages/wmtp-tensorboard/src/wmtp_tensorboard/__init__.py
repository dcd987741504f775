"""WMTP tracker for TensorBoard."""
