"""The engine of `wmtp.engine`: its model may be another one when it is used again."""

from __future__ import annotations

from typing import Any

from wmtp.generation.engine import DecodingEngine
from wmtp.generation.in_memory import identity_of
from wmtp.models.placement import in_eval_mode


class InMemoryEngine(DecodingEngine):
    """Decodes a model that a program holds, and may train, move or cast between two runs."""

    def __init__(self, model: Any, tokenizer: Any, **choices: Any) -> None:
        """choices: `n_heads`, `speculative` and `batch_size` of `DecodingEngine`."""
        self._given, self._choices = (model, tokenizer), choices
        self.refresh()

    def refresh(self) -> None:
        """Everything that was concluded from the model is concluded anew. See `wmtp.contracts.engines.Refreshes`."""
        model, tokenizer = self._given
        with in_eval_mode(model):
            super().__init__(
                model,
                tokenizer,
                identity=identity_of(model, tokenizer),
                origin={"id": "in memory"},
                **self._choices,
            )
