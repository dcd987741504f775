"""Which way a model is decoded: at each row's own pace, by rows of equal length through its own cache, or without a cache.

The first is the fastest and takes a model whose attention does what our masks and positions say. Types of which tests have
shown that are listed; whatever else transformers loads is decoded by the model's own cache, after that has been compared with
whole forwards of the model as it was loaded.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import attrs
import torch
from torch import Tensor
from transformers import Cache

from wmtp.errors import GenerationError, first_line
from wmtp.generation.compared import ALIGNED, RAGGED, RECURRENT, WINDOWED
from wmtp.generation.stepping import NoCache, OwnCache, State, Stepper, join_rows, select_rows
from wmtp.kit.contexts import context_of, rope_parameters
from wmtp.models.causal import refusal
from wmtp.models.placement import input_device

log = logging.getLogger(__name__)

Path = Literal["ragged", "aligned", "recomputed"]

ROPE_BY_POSITION = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotary positions that look at nothing but a token's own position."""

STATE_KINDS = frozenset({"linear_attention", "conv", "mlp", "moe"})
"""Kinds of layers that keep a state and no keys, or nothing at all, as transformers names them."""
RECURRENT_KINDS = STATE_KINDS | {"hybrid"}

LONGEST_PROBE = (
    640  # tokens of the longer text that is compared; one past every window and threshold, if that is no more
)
TOLERANCE = {torch.float32: 2e-3, torch.float64: 2e-3}
COARSE_TOLERANCE = 0.1  # of the logits' norm, in half precision


@attrs.frozen
class ChosenPath:
    """How a model is decoded.

    Attributes:
        path: ``ragged``, ``aligned`` or ``recomputed``.
        why: one line; empty for the fastest.
        stepper: for the latter two.
    """

    path: Path
    why: str = ""
    stepper: Stepper | None = None


def text_config(model: Any) -> Any:
    """The part of its configuration that is about text."""
    return model.config.get_text_config(decoder=True)


def not_ragged(config: Any) -> str:
    """Why rows of a model with this configuration cannot advance at their own pace; empty where they can."""
    kind = runs_as(config)
    if kind not in RAGGED | WINDOWED | RECURRENT:
        return f"no test has decoded {config.model_type} at each row's own pace"
    kinds = layer_kinds(config)
    if kind in RECURRENT and not hasattr(Cache, "get_conv_state"):
        return "recurrent layers of this transformers do not say what they ask of a cache"
    known = {"full_attention", *(("sliding_attention",) if kind in WINDOWED else ())}
    if kinds - known - (RECURRENT_KINDS if kind in RECURRENT else set()):
        return f"{config.model_type} has layers of {', '.join(sorted(kinds))}"
    if kind not in WINDOWED and (window := only_window(config)):
        return f"a sliding window of {window}"
    if getattr(config, "attention_chunk_size", None):
        return f"attention in chunks of {config.attention_chunk_size}"
    if getattr(config, "alibi", False):
        return "ALiBi"
    if odd := sorted(rope_types(config) - ROPE_BY_POSITION):
        return f"rotary positions of type {', '.join(odd)}"
    return ""


def only_window(config: Any) -> int | None:
    """The window of all layers, of a type whose layers are of one kind; ``None`` where they see everything in the context."""
    if getattr(config, "layer_types", None) or not getattr(config, "use_sliding_window", True):
        return None
    window = getattr(config, "sliding_window", None) if hasattr(type(config), "sliding_window") else None
    return int(window) if window and window < context_of(config) else None


def layer_kinds(config: Any) -> set[str]:
    """Kinds of layers that a configuration names, for all layers; nothing where they are all alike."""
    return set(getattr(config, "layer_types", None) or ())


def windows_of(config: Any) -> dict[str, int | None] | int | None:
    """How far back layers see: by kind where a model has several, one number where all are alike, ``None`` for everything."""
    kinds = layer_kinds(config)
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" not in kinds or not window:
        return only_window(config)
    return {"full_attention": None, "sliding_attention": int(window)}


def runs_as(config: Any) -> str:
    """The type of transformers that runs a model: its own, or its trunk's where an architecture record names that."""
    return str(getattr(config, "runs_as", "") or config.model_type)


def rope_types(config: Any) -> set[str]:
    """Kinds of rotary positions that a configuration names."""
    return {str(p.get("rope_type", p.get("type", "default"))) for p in rope_parameters(config)}


def choose_path(model: Any, *, drafts: bool = False) -> ChosenPath:
    """The fastest path that is right. Raises GenerationError for a model that no path decodes.

    drafts: whether some are made: a recurrent state is put back behind wrong ones where rows have one length.
    """
    config = text_config(model)
    if why := refusal(model.config):
        raise GenerationError(f"{type(model).__name__}: {why}")
    why = not_ragged(config)
    if not why and drafts and layer_kinds(config) & RECURRENT_KINDS:
        why = "drafts behind recurrent layers"
    if not why:
        return ChosenPath("ragged")
    ways: tuple[tuple[Path, Stepper], ...] = (("aligned", OwnCache(model)), ("recomputed", NoCache(model)))
    if runs_as(config) in ALIGNED | RAGGED | WINDOWED | RECURRENT:
        return ChosenPath(
            "aligned", f"{why}: rows of equal length go together, through the model's own cache", ways[0][1]
        )
    failures: list[str] = []
    for path, stepper in ways:
        failure = compare(model, stepper)
        if not failure:
            how = (
                "rows of equal length go together, through the model's own cache"
                if path == "aligned"
                else (f"the model's own cache is not used ({failures[0]}), and the text is run again for every token")
            )
            return ChosenPath(path, f"{why}: {how}", stepper)
        log.info("%s is not decoded %s: %s", config.model_type, path, failure)
        failures.append(failure)
    raise GenerationError(
        f"{type(model).__name__} ({config.model_type}) cannot be decoded here: {why}; through its own cache: {failures[0]}; "
        f"by whole forwards: {failures[1]}"
    )


def compare(model: Any, stepper: Stepper) -> str:
    """How two texts, stepped through side by side, differ from whole forwards; empty where they do not.

    The texts are as different in length as the configuration asks for, so that a window, a chunk or a threshold lies between.
    """
    config = text_config(model)
    longest = min(max([24, *(n + 8 for n in _thresholds(config))]), LONGEST_PROBE, context_of(config) - 4)
    generator = torch.Generator().manual_seed(7)
    vocabulary = int(config.vocab_size)
    device = input_device(model)
    try:
        with torch.inference_mode():
            for length in (9, longest):
                ids = torch.randint(1, vocabulary, (2, length), generator=generator).to(device)
                wanted = torch.stack([_whole(model, ids, length - 2 + i) for i in range(3)])
                found = torch.stack(_stepped(stepper, ids))
                if not bool(torch.isfinite(wanted).all()):
                    return "logits that are not finite"
                off = float((found - wanted).float().norm() / wanted.float().norm().clamp(min=1e-6))
                if off > TOLERANCE.get(wanted.dtype, COARSE_TOLERANCE):
                    return f"logits differ by {100 * off:.1f} % of their norm at {length} tokens"
    except Exception as error:  # whatever a model that was not made for this raises  # noqa: BLE001
        return f"{type(error).__name__}: {first_line(error)}"
    return ""


def compare_blocks(model: Any, stepper: OwnCache) -> str:
    """How several tokens run at once from a state differ from the same ones run one by one; empty where they do not."""
    ids = torch.randint(1, int(text_config(model).vocab_size), (1, 13), generator=torch.Generator().manual_seed(8))
    ids = ids.to(input_device(model))
    try:
        with torch.inference_mode():
            state, _ = stepper.start(ids[:, :9])
            kept = join_rows([state], [1])
            found = stepper.run(ids, state, 4, keep=4)[1][0]
            wanted = []
            for length in range(10, 14):
                kept, logits = stepper.step(ids[:, :length], kept)
                wanted.append(logits[0])
            alone = torch.stack(wanted)
            off = float((found - alone).float().norm() / alone.float().norm().clamp(min=1e-6))
    except Exception as error:  # whatever a cache raises that takes one token at a time  # noqa: BLE001
        return f"{type(error).__name__}: {first_line(error)}"
    if not off <= TOLERANCE.get(alone.dtype, COARSE_TOLERANCE):
        return f"logits of several tokens at once differ by {100 * off:.1f} % of their norm from one by one"
    return ""


def _whole(model: Any, ids: Tensor, length: int) -> Tensor:
    """Logits behind the first `length` tokens of each row, each run alone and without a cache: [rows, vocabulary]."""
    whole = NoCache(model)
    return torch.cat([whole.start(row[None, :length])[1] for row in ids])


def _stepped(stepper: Stepper, ids: Tensor) -> list[Tensor]:
    """The same through a stepper, with rows that are multiplied, joined, and taken out."""
    length = ids.shape[1]
    starts = [stepper.start(row[None, : length - 2]) for row in ids]
    found = [torch.cat([logits for _, logits in starts])]
    twice = torch.zeros(2, dtype=torch.int64, device=ids.device)
    states: list[State] = [select_rows(state, twice, 1) for state, _ in starts]
    try:
        rows, state = ids[[0, 0, 1, 1]], join_rows(states, [2, 2])
    except ValueError:  # decoded apart, then
        apart = [_two_steps(stepper, ids[[i, i]], state)[:2] for i, state in enumerate(states)]
        return [*found, *(torch.cat([both[i][:1] for both in apart]) for i in range(2))]
    one, two = _two_steps(stepper, rows, state, keep=torch.tensor([1, 3], device=ids.device))
    return [*found, one[[1, 3]], two]


def _two_steps(stepper: Stepper, rows: Tensor, state: State, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    length = rows.shape[1]
    state, one = stepper.step(rows[:, : length - 1], state)
    if keep is not None:
        state, rows = select_rows(state, keep, len(rows)), rows[keep]
    return one, stepper.step(rows, state)[1]


def _thresholds(config: Any) -> list[int]:
    """Lengths at which a model may begin to do something else, as its configuration names them."""
    names = (
        "sliding_window", "attention_chunk_size", "window_size", "attention_window_size", "keep_window_size", "chunk_size",
        "block_size", "floor_scale", "conv_kernel",
    )  # fmt: skip
    found = [getattr(config, name, None) for name in names]
    return [n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0]
