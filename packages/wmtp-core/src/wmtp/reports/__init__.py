"""Runs for people to look at: ``report.html``, one file that opens from disk."""
