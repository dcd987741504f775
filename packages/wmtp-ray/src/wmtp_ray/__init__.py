"""Engines of a model on a Ray cluster: ``model.loader: ray``."""
