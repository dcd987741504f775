"""Target models: any decoder of transformers that runs on ragged rows, and those that hand a drafter their trunk's states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from wmtp.contracts.models import DecodingCache, DecodingParts, ParallelHeadsModel
from wmtp.errors import GenerationError
from wmtp.generation.drafting import NoDrafts, ParallelHeads, whole_text
from wmtp.generation.paths import RECURRENT_KINDS, STATE_KINDS, layer_kinds, text_config, windows_of
from wmtp.generation.sequential import SequentialHeads
from wmtp.generation.stepping import accepted_arguments, cache_name
from wmtp.kit import context_of
from wmtp.models.architectures.load import StoredModules
from wmtp.models.architectures.trunk import Trunk

MOST_STEPS = 16  # drafts with sequential modules: the last one can be run again on its own output, ever less well


class CausalTarget:
    """A causal language model of transformers. It hands a drafter nothing: hidden states are empty."""

    def __init__(self, model: Any) -> None:
        self._model = model
        config = text_config(model)
        self.layers = int(config.num_hidden_layers)
        self.vocabulary = int(config.vocab_size)
        self.rows = embedding_rows(model) or self.vocabulary
        self.context = context_of(config)
        self._windows = windows_of(config)
        accepted = accepted_arguments(model)
        self._cache_name, self._positions = cache_name(accepted), "position_ids" in accepted
        kinds = layer_kinds(config)
        self._recurrent, self._attends = bool(kinds & RECURRENT_KINDS), not kinds or bool(kinds - STATE_KINDS)

    def verify(self, ids: Tensor, cache: DecodingCache) -> tuple[Tensor, Tensor]:
        """States are logits."""
        return self._forward(ids, cache)

    def prefill(self, ids: Tensor, cache: DecodingCache) -> tuple[Tensor, Tensor]:
        """A prompt's other logits are never computed."""
        return self._forward(ids, cache, logits_to_keep=1)

    def _forward(self, ids: Tensor, cache: DecodingCache, **options: Any) -> tuple[Tensor, Tensor]:
        options[self._cache_name] = cache
        if self._positions:
            options["position_ids"] = cache.positions
        out = self._model(input_ids=ids, attention_mask=self._mask(cache), use_cache=True, **options)
        return out.logits[..., :0], out.logits

    def _mask(self, cache: DecodingCache) -> Tensor | dict[str, Tensor | None] | None:
        """One mask, or one for each kind of layers; recurrent ones take none."""
        if not self._attends:
            return None
        dtype = self._model.dtype
        if self._recurrent:
            return {**dict.fromkeys(RECURRENT_KINDS), "full_attention": cache.mask(dtype)}
        if isinstance(self._windows, dict):
            return {kind: cache.mask(dtype, window) for kind, window in self._windows.items()}
        mask: Tensor = cache.mask(dtype, self._windows)
        return mask

    def all_states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._model(input_ids=ids, use_cache=False).logits
        return logits[..., :0], logits

    def project(self, states: Tensor) -> Tensor:
        return states


class TrunkTarget(CausalTarget):
    """The next-token head of a model with parallel heads. It hands over the trunk's output."""

    def verify(self, ids: Tensor, cache: DecodingCache) -> tuple[Tensor, Tensor]:
        """States are the head's, before norm and output matrix."""
        mask = cache.mask(self._model.dtype)
        trunk = self._model.trunk_states(ids, cache.positions, mask, cache)
        return trunk, self._model.run_heads(trunk, range(1), cache.positions, mask, cache)[0]

    def prefill(self, ids: Tensor, cache: DecodingCache) -> tuple[Tensor, Tensor]:
        trunk, states = self.verify(ids, cache)
        return trunk, states[:, -1:]

    def all_states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        positions, mask = whole_text(ids, self._model.dtype)
        trunk = self._model.trunk_states(ids, positions, mask, None)
        return trunk, self._model.run_heads(trunk, range(1), positions, mask, None)[0]

    def project(self, states: Tensor) -> Tensor:
        return self._model.project(states)  # type: ignore[no-any-return]


class ListenedTarget(CausalTarget):
    """A causal language model whose trunk's states are handed over: those that its sequential modules take.

    Its logits are the model's own, so that drafts decide nothing else.
    """

    def __init__(self, trunk: Trunk, hidden: str) -> None:
        """hidden: ``pre`` for states before the trunk's final norm, ``post`` for those behind it."""
        super().__init__(trunk.model)
        self._trunk = trunk
        self._which = ("pre", "post").index(hidden)

    @contextmanager
    def states(self) -> Iterator[list[Tensor]]:
        """What a drafter takes of every forward that is run inside, [rows, width, hidden]."""
        found: list[Tensor] = []
        with self._trunk.listening() as heard:
            yield found
            found += [pair[self._which] for pair in heard]

    def _forward(self, ids: Tensor, cache: DecodingCache, **options: Any) -> tuple[Tensor, Tensor]:
        with self._trunk.listening() as heard:
            _, logits = super()._forward(ids, cache, **options)
        return heard[-1][self._which], logits

    def all_states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        with self._trunk.listening() as heard:
            _, logits = super().all_states(ids)
        return heard[-1][self._which], logits


def embedding_rows(model: Any) -> int:
    """Rows of the matrix that token ids look up; 0 where there is no such matrix."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    return 0 if weight is None else int(weight.shape[0])


def decoding_parts(model: Any, stored: StoredModules | None = None) -> DecodingParts:
    """A loaded model as the decoder takes it: with its extra heads if it has parallel ones, with its sequential modules, or
    without drafts. stored: modules behind it, which are read when a drafter is made of them.
    """
    if isinstance(model, ParallelHeadsModel):
        target = TrunkTarget(model)
        return DecodingParts(
            target=target,
            max_depth=model.head_count() - 1,
            drafter=lambda depth: ParallelHeads(model, depth) if depth else NoDrafts(),
        )
    if stored is not None:
        return _sequential_parts(model, stored)
    return DecodingParts(target=CausalTarget(model), drafter=lambda depth: NoDrafts(), own_pace=False)


def _sequential_parts(model: Any, stored: StoredModules) -> DecodingParts:
    return DecodingParts(
        target=ListenedTarget(Trunk(model), stored.spec.convention.hidden),
        max_depth=max(stored.count, MOST_STEPS),
        depth=stored.count,
        drafter=lambda depth: SequentialHeads(stored.open(), depth) if depth else NoDrafts(),
        own_pace=False,
    )


def drafting_depth(parts: DecodingParts, n_heads: int | None) -> int:
    """Drafts for `model.mtp.n_heads`, which counts the next-token head (``None``: all). Raises GenerationError."""
    if n_heads is not None and n_heads > parts.max_depth + 1:
        raise GenerationError(f"model.mtp.n_heads is {n_heads}, but the model has {parts.max_depth + 1}")
    if n_heads is not None:
        return n_heads - 1
    return parts.max_depth if parts.depth is None else parts.depth
