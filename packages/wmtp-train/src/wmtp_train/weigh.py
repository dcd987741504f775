"""From scores to the weights of a micro-batch: document by document, mean 1 over what is trained, the control's last word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from wmtp_train.order import key
from wmtp_train.rows import Batch


class Documents:
    """The documents of packed rows as rows of their own, and back."""

    def __init__(self, batch: Batch) -> None:
        spans = [
            (row, place)
            for row, numbers in enumerate(batch.keys)
            for place in ((batch.segments[row] == s).nonzero().flatten() for s in range(len(numbers)))
        ]
        self.keys = [number for numbers in batch.keys for number in numbers]
        self._shape = batch.ids.shape
        width = max((len(place) for _, place in spans), default=1)
        device = batch.ids.device
        self._rows = torch.zeros((len(spans), width), dtype=torch.long, device=device)
        self._places = torch.zeros((len(spans), width), dtype=torch.long, device=device)
        self.exists = torch.zeros((len(spans), width), dtype=torch.bool, device=device)
        for number, (row, place) in enumerate(spans):
            self._rows[number, : len(place)] = row
            self._places[number, : len(place)] = place
            self.exists[number, : len(place)] = True

    def apart(self, tensor: Tensor) -> Tensor:
        """[rows, width] → [documents, longest], zero behind each end."""
        found = tensor[self._rows, self._places]
        return torch.where(self.exists, found, torch.zeros((), dtype=found.dtype, device=found.device))

    def together(self, tensor: Tensor) -> Tensor:
        """[documents, longest] → [rows, width], zero where no document is."""
        whole = torch.zeros(self._shape, dtype=tensor.dtype, device=tensor.device)
        whole[self._rows[self.exists], self._places[self.exists]] = tensor[self.exists]
        return whole


class Weigher:
    """Gives every trained token its weight: the mean is 1 over each document's, whatever scorer and control do."""

    def __init__(
        self,
        scorer: Callable[..., Tensor] | None,
        control: Callable[..., Tensor] | None,
        *,
        prompt_weight: float,
        seed: int,
    ) -> None:
        self._scorer, self._control = scorer, control
        self._prompt_weight, self._seed = prompt_weight, seed

    def __call__(self, batch: Batch, found: Mapping[str, Tensor]) -> Tensor:
        """Weights [rows, width], constants; 0 where nothing is trained.

        Args:
            batch: The micro-batch.
            found: What the scorer needs (``base_ce``, ``reference_ce``, ``values``), each [rows, width].
        """
        if not batch.keys:
            return torch.zeros(batch.ids.shape, device=batch.ids.device)
        apart = Documents(batch)
        answer, trained = apart.apart(batch.answer), apart.apart(batch.trained)
        weights = self._of_answers(apart, answer, self._view(apart, answer, batch, found))
        weights = torch.where(trained & ~answer, self._prompt_weight, weights)
        if self._prompt_weight > 0:
            weights = _mean_one(weights, trained)
        return apart.together(weights).detach()

    def _view(self, apart: Documents, answer: Tensor, batch: Batch, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a scorer is given."""
        view = {name: apart.apart(tensor) for name, tensor in found.items()}
        if batch.given is not None:
            view["given"] = apart.apart(batch.given)
        return {**view, "mask": answer, "exists": apart.exists, "targets": apart.apart(batch.ids)}

    def _of_answers(self, apart: Documents, answer: Tensor, view: Mapping[str, Tensor]) -> Tensor:
        if self._scorer is None:
            return answer.float()
        weights = self._scorer(view).float().detach()
        if self._control is not None:
            keys = [key("control", self._seed, number) for number in apart.keys]
            weights = _mean_one(self._control(weights, answer, keys), answer)
        return weights

    def moments(self, batch: Batch, found: Mapping[str, Tensor]) -> list[Tensor | None]:
        """What scorer and control learn from, to be summed over a step; ``None`` for one that learns nothing."""
        if not batch.keys:
            return [None, None]
        apart = Documents(batch)
        answer = apart.apart(batch.answer)
        view = self._view(apart, answer, batch, found)
        of_scorer = self._scorer.moments(view) if hasattr(self._scorer, "moments") else None  # type: ignore[union-attr]
        of_control = None
        if self._scorer is not None and hasattr(self._control, "moments"):
            of_control = self._control.moments(self._scorer(view).float().detach(), answer)  # type: ignore[union-attr]
        return [of_scorer, of_control]

    @property
    def learners(self) -> list[Any]:
        """Scorer and control, each where it has a state that training changes, else ``None``."""
        return [one if hasattr(one, "update") else None for one in (self._scorer, self._control)]

    def state_dict(self) -> list[Any]:
        """What a checkpoint keeps of scorer and control: plain numbers."""
        return [one.state_dict() if one is not None else None for one in self.learners]

    def load_state_dict(self, state: list[Any]) -> None:
        """Goes on from `state_dict`."""
        for one, of in zip(self.learners, state, strict=True):
            if one is not None:
                one.load_state_dict(of)


def _mean_one(weights: Tensor, mask: Tensor) -> Tensor:
    """Weights scaled to mean 1 over each row's masked tokens; a row whose weights are all 0 stays so."""
    total = (weights.double() * mask).sum(-1, keepdim=True)
    scale = mask.sum(-1, keepdim=True) / total.clamp(min=1e-300)
    return torch.where(mask & (total > 0), (weights.double() * scale).to(weights.dtype), torch.zeros_like(weights))
