"""How much memory is free: the device's, or this machine's within what the process's control groups allow it."""

from __future__ import annotations

from pathlib import Path

import torch

_GROUPS = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Memory that is free now, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines() if _GROUPS.is_dir() else []
    own = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), "")
    return min([machine, *_left(_GROUPS, own)])


def _left(groups: Path, own: str) -> list[int]:
    """What each limit leaves, of the process's own group (version 2) and of those that it is in. In a container, the root's."""
    group, found = groups / own, []
    while group.is_relative_to(groups):
        limit = group / "memory.max"
        if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()) != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            # Pages of files are given back when memory is asked for; a model that is only mapped is one of them.
            found.append(max(0, int(text) - used + int(counts["inactive_file"]) + int(counts["active_file"])))
        group = group.parent
    return found
