"""Engines and judging on a Ray cluster: ``model.loader: ray``, ``judging.where: ray``."""
