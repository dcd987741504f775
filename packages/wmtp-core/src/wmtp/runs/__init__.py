"""Run folders: what is in them, written and read. Nothing here needs torch, a judge or a plugin."""
