"""What each head gives a text that is known: its cross-entropy, whether its first choice was right, its logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs
import torch
from torch import Tensor

from wmtp.contracts.engines import HeadScores
from wmtp.contracts.models import Drafter, TargetModel
from wmtp.errors import GenerationError

AT_ONCE = 1 << 24  # logits held at a time: 64 MiB in float32


@attrs.frozen(eq=False)
class KnownText:
    """A text that every head has run over, each given all that stands before the position it looks from.

    Attributes:
        ids: its tokens, those of the prompt before it included: [length].
        start: where the text begins.
        vocabulary: width of the logits.
    """

    ids: Tensor
    start: int
    vocabulary: int
    _states: tuple[Tensor, ...]
    _project: tuple[Callable[[Tensor], Tensor], ...]

    @property
    def heads(self) -> int:
        """The next-token head included."""
        return len(self._states)

    def first(self, head: int) -> int:
        """The first token of the text that a head predicts: one far ahead has nowhere to look from for the first few."""
        return max(self.start, head + 1)

    def logits(self, head: int, first: int, last: int) -> Tensor:
        """Of tokens first … last − 1: [tokens, vocabulary], float32. Head i looks from position p − 1 − i at token p."""
        return self._project[head](self._states[head][first - 1 - head : last - 1 - head]).float()

    def pieces(self, first: int, matrices: int = 1) -> Iterator[tuple[int, int]]:
        """The tokens from `first` on, cut so that few logits are held at a time."""
        size = max(1, AT_ONCE // self.vocabulary // matrices)
        for at in range(first, len(self.ids), size):
            yield at, min(at + size, len(self.ids))


def known_text(
    target: TargetModel, drafter: Drafter, ids: Sequence[int], start: int, device: torch.device
) -> KnownText:
    """Runs all heads over a text whose tokens from `start` on are to be predicted."""
    tokens = torch.tensor([list(ids)], device=device)
    hidden, states = target.all_states(tokens)
    found, project = [states[0]], [target.project]
    if drafter.depth:
        found += [state[0] for state in drafter.all_states(tokens, hidden)]
        project += [partial(drafter.project, depth=depth) for depth in range(drafter.depth)]
    return KnownText(tokens[0], start, target.vocabulary, tuple(found), tuple(project))


def head_scores(text: KnownText) -> HeadScores:
    """Scores of the text's tokens under every head."""
    losses, right, counts = [], [], []
    for head in range(text.heads):
        loss, hits, first = 0.0, 0, text.first(head)
        for begin, end in text.pieces(first):
            logits, wanted = text.logits(head, begin, end), text.ids[begin:end]
            loss += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
            hits += int((logits.argmax(-1) == wanted).sum())
        losses.append(loss)
        right.append(hits)
        counts.append(max(0, len(text.ids) - first))
    wrong = next((head for head, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if wrong is not None:
        kind = str(text._states[0].dtype).removeprefix("torch.")
        whose = f"logits of draft {wrong}" if wrong else "model's logits"
        raise GenerationError(f"the {whose} are not finite (computed in {kind}): no loss can be made of them")
    return HeadScores(loss=tuple(losses), right=tuple(right), scored=tuple(counts))
