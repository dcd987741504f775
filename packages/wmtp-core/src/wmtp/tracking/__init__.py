"""Tracking: a run's journal, and the processes beside the run that follow it, one a tracker.

The journal is written first, in the run folder; trackers only read it. So a server that is slow or away costs the run nothing,
a process that is killed loses nothing, and sending again (``wmtp track sync``) sends what is missing.
"""
