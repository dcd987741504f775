"""Where the CPU of a verdict at strict goes: each step of the zygote by itself, behind the walls that it builds.

    python benchmarks/judge_parts.py [--count 400]

Steps are added one by one to a bare fork of the warm interpreter that exits at once; what one costs is the difference to the
row above it, in microseconds of CPU (this process and its children). The kernel's own operations are the bound that no
rewriting of ours goes below. Needs strict to hold here.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable

from wmtp.judging.sandbox import candidate, first_steps, libraries, lockdown, warm, zygote


def used() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(getattr(resource.getrusage(who), key) for who in kinds for key in ("ru_utime", "ru_stime"))


def forked(child: Callable[[], object], before: Callable[[], object], after: Callable[[], object]) -> None:
    before()
    pid = lockdown.fork()
    if pid == 0:
        child()
        os._exit(0)
    os.waitpid(pid, 0)
    after()


def steps(walls: zygote.Walls) -> dict[str, Callable[[], None]]:
    limits = candidate.bounds({"cpu": 10, "memory_mib": 1024, "baseline": 1 << 30})
    channel = socket.socketpair()[0].detach()
    program = "def f(x):\n    return x + 1\n"

    def nothing() -> None:
        pass

    def mount() -> None:
        lockdown.mount_work(64)
        walls.next_pid()

    def folder() -> None:
        mount()
        os.mkdir(f"{lockdown.WORK}/program", 0o700)
        os.chdir(f"{lockdown.WORK}/program")

    def clean() -> None:
        os.chdir("/")
        lockdown.unmount_work()

    confining = [first_steps.no_capabilities(), first_steps.restricted(walls.rules)]
    owning = [*confining, first_steps.own_session(), *first_steps.no_descriptors(channel)]
    limiting = [*owning, first_steps.unblocked(signal.SIGCHLD), *first_steps.limits(limits)]

    def rights() -> None:
        first_steps.take(confining)

    def own() -> None:
        first_steps.take(owning)

    def limited() -> None:
        first_steps.take(limiting)

    def compiled() -> None:
        limited()
        space = candidate.new_main("program").__dict__
        exec(candidate.compile_program(program), space)
        space["f"](3)

    return {
        "a bare fork of the warm interpreter": lambda: forked(nothing, nothing, nothing),
        "a file system of its own, the same pid": lambda: forked(nothing, mount, lockdown.unmount_work),
        "a folder in it": lambda: forked(nothing, folder, clean),
        "no capabilities, Landlock": lambda: forked(rights, folder, clean),
        "a session, no descriptors": lambda: forked(own, folder, clean),
        "limits": lambda: forked(limited, folder, clean),
        "compiling and running three lines": lambda: forked(compiled, folder, clean),
    }


def inside(count: int) -> dict[str, float]:
    """In pid 1 of the namespaces."""
    warm.become()
    found = libraries.find(())
    outside = lockdown.namespace_ids()
    lockdown.enter_namespaces(tempfile.mkdtemp(), os.getpid(), found, [])
    here, there = os.pipe()
    first = os.fork()
    if first:
        os.close(there)
        with os.fdopen(here) as file:
            text = file.read()
        os.waitpid(first, 0)
        result: dict[str, float] = json.loads(text)
        return result
    walls, _ = zygote._build_walls(outside, found, lockdown.open_proc())
    walls.calls.install()
    gc.collect()
    gc.freeze()
    costs = {}
    every = steps(walls)
    for _ in range(2):  # warm, then measured
        for name, step in every.items():
            before = used()
            for _ in range(count):
                step()
            costs[name] = (used() - before) / count * 1e6
    os.write(there, json.dumps(costs).encode())
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    costs = inside(parser.parse_args().count)
    last = 0.0
    print(f"{'':<48}{'us of CPU':>10}{'more':>8}")
    for name, cost in costs.items():
        print(f"{name:<48}{cost:>10.0f}{cost - last:>8.0f}")
        last = cost
    return 0


if __name__ == "__main__":
    sys.exit(main())
