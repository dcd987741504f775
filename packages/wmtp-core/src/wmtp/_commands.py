"""Core's own commands, as plain tuples: core's plugin registers them like anyone's, and the command line knows them without
loading a plugin.

Each: the name, where its click command is, its one line of help, and whether it goes on where it stopped when started again.
"""

from __future__ import annotations

COMMANDS: tuple[tuple[str, str, str, bool], ...] = (
    ("eval", "wmtp.cli.eval:command", "Evaluate a model: CONFIG says where things are, RECIPE what to run.", True),
    ("score", "wmtp.cli.score:command", "Judge samples that are already written, and report their metrics.", True),
    ("compare", "wmtp.cli.compare:command", "Say which run is better, and what would settle it.", False),
    ("audit", "wmtp.cli.audit:command", "Say whether drafts change what a model writes.", True),
    ("report", "wmtp.cli.report:command", "Write report.html of a run, or compared.html of several.", False),
    ("heads", "wmtp.cli.heads:command", "Say what heads a model has to draft with, and how good they are.", False),
    ("track", "wmtp.cli.track:command", "Send what trackers have not heard of a run yet.", True),
    ("runs", "wmtp.cli.runs:command", "List runs: their state, and their metrics.", False),
    ("metrics", "wmtp.cli.metrics:command", "List the metrics that the installed plugins answer for.", False),
    ("plugins", "wmtp.cli.plugins:command", "List plugins: their state, and what each provides.", False),
    ("config", "wmtp.cli.config:command", "Check, describe or migrate configuration files.", False),
    ("fetch", "wmtp.cli.fetch:command", "Bring a model or a data set to this machine ahead of time.", True),
    ("upload", "wmtp.cli.upload:command", "Put a run directory or a checkpoint into the storage.", True),
    ("convert", "wmtp.cli.convert:command", "Convert Meta's checkpoints to transformers format.", False),
    ("cache", "wmtp.cli.cache:command", "List, verify or prune what has been downloaded.", False),
    ("doctor", "wmtp.cli.doctor:command", "Say what sandbox, GPU, storage and hub can do here.", False),
)
