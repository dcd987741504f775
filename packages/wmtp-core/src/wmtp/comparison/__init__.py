"""Comparing runs: which is better, by how much, and what would settle it. Reads run folders and files of other tools."""
