"""WMTP tracker for MLflow."""
