"""Which token is drawn: temperature, top-p, and the Gumbel-max rule under position-keyed noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wmtp.contracts.engines import Sampling
from wmtp.errors import GenerationError
from wmtp.generation.noise import gumbel

GREEDY_BELOW = 1e-6  # a temperature at which noise decides nothing but exact ties, and near which dividing overflows
TOP_FIRST = 256  # most distributions have their nucleus among so many tokens; sorting all is for the others


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Which tokens are in the smallest set of probability at least `top_p`: boolean [rows, vocabulary].

    Ties with the last token of the set are in it. The largest token always is.
    """
    probabilities = torch.softmax(logits, dim=-1)
    count = min(TOP_FIRST, logits.shape[-1])
    largest = torch.topk(probabilities, count, dim=-1).values
    enough = largest.sum(-1) >= top_p
    if not bool(enough.all()):
        whole = torch.sort(probabilities[~enough], dim=-1, descending=True).values
        threshold = torch.empty(len(logits), 1, dtype=probabilities.dtype, device=logits.device)
        threshold[~enough] = _threshold(whole, top_p)
        threshold[enough] = _threshold(largest[enough], top_p)
    else:
        threshold = _threshold(largest, top_p)
    return probabilities >= threshold


def _threshold(descending: Tensor, top_p: float) -> Tensor:
    """The probability of the last token in the nucleus: [rows, 1]."""
    before = descending.cumsum(-1) - descending
    last = (before < top_p).sum(-1, keepdim=True).clamp(min=1) - 1
    return descending.gather(-1, last)


def sample_tokens(logits: Tensor, sampling: Sampling, noise_keys: Sequence[tuple[bytes, int]]) -> Tensor:
    """One token for each row of logits [rows, vocabulary], row i under the noise of noise_keys[i]: int64 [rows]."""
    scores = logits.float()
    if sampling.temperature < GREEDY_BELOW:
        return scores.argmax(-1)
    scores = scores / sampling.temperature
    if sampling.top_p < 1:
        scores = scores.masked_fill(~nucleus(scores, sampling.top_p), float("-inf"))
    return (scores + gumbel(noise_keys, scores.shape[-1], scores.device)).argmax(-1)


def check_finite(logits: Tensor, tokens: Tensor) -> None:
    """Raises GenerationError where a drawn token's logit is no number: what was drawn is no answer of the model's.

    Args:
        logits: [rows, vocabulary].
        tokens: [rows].
    """
    if not all(map(math.isfinite, logits.gather(-1, tokens[:, None]).flatten().tolist())):
        kind = str(logits.dtype).removeprefix("torch.")
        advice = (
            "the weights hold something that is no number"
            if logits.dtype in (torch.float32, torch.float64)
            else "try devices.dtype: float32 (bfloat16 also overflows later than float16); else the weights are damaged"
        )
        raise GenerationError(
            f"the model's logits are not finite (computed in {kind}): {advice}. Nothing is stored of them."
        )
