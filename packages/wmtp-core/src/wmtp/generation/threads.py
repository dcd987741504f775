"""How many threads a model on the CPU runs with.

torch takes one a core, which is slower than one alone where other processes are busy: threads wait for each other at every
product. The number decides how sums are split and so the last bits of logits, so it is chosen once, before the first sample,
and kept with the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wmtp.contracts.models import ParallelHeadsModel
from wmtp.generation.kernels.fused_layer import fused, fused_layers
from wmtp.generation.kernels.skinny_linear import large_layers, skinny_products
from wmtp.generation.paths import not_ragged, text_config
from wmtp.generation.ragged_cache import RaggedCache
from wmtp.generation.targets import decoding_parts
from wmtp.models.placement import in_eval_mode, input_device

log = logging.getLogger("wmtp.generation")
_ROWS, _TRIES, _AT = 8, 3, 7


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
    best = {before: float("inf"), 1: float("inf")}
    step = _step_of(model)
    with torch.inference_mode(), in_eval_mode(model), skinny_products(large_layers(model)), fused(fused_layers(model)):
        step()  # the first of a process also pays for what is made once, and makes a cache's keys
        for _ in range(_TRIES):
            for count in best:
                with running_on(count):
                    started = time.perf_counter()
                    step()
                    best[count] = min(best[count], time.perf_counter() - started)
    fastest = min(best, key=best.__getitem__)
    log.info(
        "%d of %d threads: a step takes %s",
        fastest, before, ", ".join(f"{1e3 * seconds:.1f} ms on {count}" for count, seconds in best.items()),
    )  # fmt: skip
    return fastest


def _step_of(model: Any) -> Callable[[], object]:
    """A step of a few rows as the decoder makes it, or a whole forward where rows do not advance at their own pace."""
    ids = torch.zeros(_ROWS, 1, dtype=torch.long)
    if not isinstance(model, ParallelHeadsModel) and not_ragged(text_config(model)):
        return lambda: model(input_ids=ids, use_cache=False)
    target = decoding_parts(model).target
    cache = RaggedCache(target.layers, _AT + 1)

    def step() -> object:
        cache.set_positions(torch.full((_ROWS, 1), _AT), _AT + 1)
        return target.project(target.verify(ids, cache)[1])

    return step


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
