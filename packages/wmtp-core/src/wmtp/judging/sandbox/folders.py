"""Emptying a folder that a program has used. Standard library only."""

from __future__ import annotations

import os


def empty(top: str) -> None:
    """Removes everything in `top`, folders that were closed to us included. No recursion: a program can nest deep."""
    folders = [top]
    for folder in folders:  # grows while we go
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                folders.append(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    for folder in reversed(folders[1:]):
        os.rmdir(folder)
