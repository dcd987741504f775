"""How often a draft from one distribution would be accepted under another: closed forms of the three rules in use.

A target distribution p and a draft distribution q, over one vocabulary. Three rules accept with different probabilities:

* ``argmax``: the draft is the likeliest token of q, and is accepted where the target draws that token: p[argmax q].
* ``ratio``: the draft is drawn from q and accepted with probability min(1, p/q) (Leviathan, Kalman, Matias, arXiv
  2211.17192): 1 − TV(p, q) in all.
* ``gumbel``: draft and target are drawn by the Gumbel-max rule under the same noise, and the draft is accepted where they
  are equal (Daliri, Musco, Suresh, arXiv 2408.07978): Σᵢ 1 / Σⱼ max(pⱼ/pᵢ, qⱼ/qᵢ). This is the rule of our decoder.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

RULES = ("argmax", "ratio", "gumbel")


@attrs.frozen(eq=False)
class Acceptance:
    """Probabilities of acceptance for each rule, in the order of `RULES`.

    Attributes:
        expected: before the target's token is known: [3, positions].
        given: when the target's token is the text's own: [3, positions]. Its mean over tokens drawn from p is `expected`.
    """

    expected: Tensor
    given: Tensor


def acceptance(target: Tensor, draft: Tensor, tokens: Tensor) -> Acceptance:
    """Acceptance of drafts from `draft` at positions where `tokens` stand in the text.

    Args:
        target: probabilities p, float [positions, vocabulary]; rows sum to 1.
        draft: probabilities q of the same shape.
        tokens: what the text has there, int64 [positions].
    """
    best = draft.argmax(-1, keepdim=True)
    there = tokens[:, None]
    p, q = target.gather(-1, there)[:, 0], draft.gather(-1, there)[:, 0]
    certain = torch.where(p > 0, q / p, torch.zeros_like(p)).clamp(max=1)
    shared = _shared_noise(target, draft)
    ones = torch.where(p > 0, shared.gather(-1, there)[:, 0] / p, torch.zeros_like(p)).clamp(max=1)
    return Acceptance(
        expected=torch.stack(
            [target.gather(-1, best)[:, 0], torch.minimum(target, draft).sum(-1), shared.sum(-1)]
        ).clamp(max=1),
        given=torch.stack([(best[:, 0] == tokens).to(p.dtype), certain, ones]),
    )


def _shared_noise(target: Tensor, draft: Tensor) -> Tensor:
    """The probability that both draw token i under the same Gumbel noise, for every i: [positions, vocabulary].

    In the sum over j, pⱼ/pᵢ is the larger where pⱼ/qⱼ ≥ pᵢ/qᵢ. Sorted by p/q, it is two cumulative sums: V log V, not V².
    """
    ratio = torch.log(target) - torch.log(draft)  # ±inf where one of them is 0; nan where both are
    order = torch.argsort(torch.nan_to_num(ratio, nan=0.0, posinf=torch.inf, neginf=-torch.inf), dim=-1)
    p, q = target.gather(-1, order), draft.gather(-1, order)
    above = p.flip(-1).cumsum(-1).flip(-1)  # Σ p from i on, i included
    below = q.cumsum(-1) - q  # Σ q before i
    both = p * q
    total = above * q + below * p
    shared = torch.where(both > 0, both / total.clamp(min=torch.finfo(total.dtype).tiny), torch.zeros_like(both))
    return torch.empty_like(shared).scatter_(-1, order, shared)
