"""What generation_config.json asks for and a run does not do: the recipe decides how is sampled, for every model alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wmtp.contracts.engines import Sampling

_SHOWN = 60  # characters of a value
_ALWAYS: dict[str, Any] = {
    "repetition_penalty": 1, "no_repeat_ngram_size": 0, "encoder_repetition_penalty": 1, "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": [], "force_words_ids": [], "constraints": [], "sequence_bias": {}, "suppress_tokens": [],
    "begin_suppress_tokens": [], "forced_bos_token_id": None, "forced_eos_token_id": None, "min_length": 0,
    "min_new_tokens": 0, "exponential_decay_length_penalty": None, "guidance_scale": 1, "watermarking_config": None,
    "num_beams": 1, "penalty_alpha": 0, "dola_layers": None, "token_healing": False, "stop_strings": [],
}  # fmt: skip
_IN_DRAWS: dict[str, Any] = {
    "temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "typical_p": 1, "epsilon_cutoff": 0, "eta_cutoff": 0, "top_h": None,
}  # fmt: skip
"""What changes a text, and the value with which it does not; the second where tokens are drawn (``do_sample``)."""


def end_tokens(model: Any, tokenizer: Any) -> tuple[frozenset[int], tuple[Any, ...]]:
    """Tokens that end an answer: those that generation_config.json names, and the tokenizer's.

    A chat model may end its turn with a token that only one of the two knows.

    Returns:
        Their ids, and what is named there and is no token id.
    """
    config = getattr(model, "generation_config", None)
    named: Any = config.eos_token_id if config else None
    named = named.tolist() if hasattr(named, "tolist") else named  # a model in memory may have a tensor there
    told = [tokenizer.eos_token_id, *(named if isinstance(named, list | tuple) else [named])]
    ends = [end for end in told if end is not None]
    good = frozenset(end for end in ends if isinstance(end, int) and not isinstance(end, bool) and end >= 0)
    return good, tuple(end for end in ends if not isinstance(end, int) or end not in good)


def not_applied(model: Any, sampling: Sampling, strange: tuple[Any, ...]) -> str:
    """One sentence for the report; empty where nothing is asked for that is not done.

    Args:
        model: of transformers, with the generation_config that was loaded with it.
        sampling: what the recipe asks for instead.
        strange: ends that are no token ids, of `end_tokens`.
    """
    config = getattr(model, "generation_config", None)
    asked = list(_asked(config, sampling)) if config is not None else []
    asked += [f"eos_token_id {end!r}, which is no token id" for end in strange]
    if not asked:
        return ""
    return f"generation_config.json asks for {', '.join(asked)}: not applied, the recipe's sampling alone decides."


def _asked(config: Any, sampling: Sampling) -> Iterator[str]:
    done = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    known = {**_ALWAYS, **(_IN_DRAWS if getattr(config, "do_sample", None) else {})}
    for name, neutral in known.items():
        value = getattr(config, name, None)
        if value is None or value == neutral or value == done.get(name):
            continue
        shown = str(value)
        yield f"{name} {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}"
