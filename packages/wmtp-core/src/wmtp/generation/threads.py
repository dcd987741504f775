"""How many threads a model on the CPU runs with.

torch takes one a core, which is slower than one alone where other processes are busy: threads wait for each other at every
product. The number decides how sums are split and so the last bits of logits, so it is chosen once, before the first sample,
and kept with the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wmtp.models.placement import input_device

log = logging.getLogger("wmtp.generation")
_ROWS, _TRIES = 8, 3


def chosen_threads(model: Any, asked: int | None) -> int | None:
    """The number of threads for a model; ``None`` where it does not run on the CPU.

    Args:
        model: of transformers, on its device.
        asked: a number, or ``None``: the faster of torch's own and one, by a step of eight rows that each makes three times.
    """
    if input_device(model).type != "cpu":
        return None
    before = torch.get_num_threads()
    if asked is not None or before == 1:
        return asked or before
    ids = torch.zeros(_ROWS, 1, dtype=torch.long)
    best = {before: float("inf"), 1: float("inf")}
    with torch.inference_mode():
        model(input_ids=ids, use_cache=False)  # the first step of a process also pays for what is made once
        for _ in range(_TRIES):
            for count in best:
                with running_on(count):
                    started = time.perf_counter()
                    model(input_ids=ids, use_cache=False)
                    best[count] = min(best[count], time.perf_counter() - started)
    fastest = min(best, key=best.__getitem__)
    log.info(
        "%d of %d threads: a step takes %s",
        fastest, before, ", ".join(f"{1e3 * seconds:.1f} ms on {count}" for count, seconds in best.items()),
    )  # fmt: skip
    return fastest


@contextmanager
def running_on(count: int | None) -> Iterator[None]:
    """torch's number of threads within; what it was before, behind. ``None`` changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
