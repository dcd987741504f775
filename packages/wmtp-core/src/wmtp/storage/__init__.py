"""Storages, the cache, and how a model or data set is found: local → cache → storage → hub."""
