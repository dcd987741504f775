"""The engine: prompts are tokenized, decoded, and come back as completions, under an identity that keys them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch

from wmtp.contracts.architectures import HeadsFound
from wmtp.contracts.engines import (
    Completion,
    Departure,
    GenerationRequest,
    GenerationStats,
    HeadScores,
    Message,
    SampleKey,
    Sampling,
)
from wmtp.contracts.models import DecodingParts, Drafter
from wmtp.errors import GenerationError, ResourceError
from wmtp.generation.aligned import AlignedDecoder
from wmtp.generation.aligned_drafting import DraftingDecoder
from wmtp.generation.asked import end_tokens, not_applied
from wmtp.generation.decoder import RaggedDecoder
from wmtp.generation.departures import Tracer
from wmtp.generation.kernels.fused_layer import fused, fused_layers
from wmtp.generation.kernels.skinny_linear import large_layers, skinny_products
from wmtp.generation.likelihood import KnownText, head_scores, known_text
from wmtp.generation.paths import ChosenPath, choose_path, compare_blocks
from wmtp.generation.scheduling import WaitingQueue
from wmtp.generation.sequences import Counters
from wmtp.generation.sequential import SequentialHeads
from wmtp.generation.stepping import OwnCache, Stepper
from wmtp.generation.targets import ListenedTarget, decoding_parts, drafting_depth
from wmtp.generation.threads import running_on
from wmtp.kit.tokenizing import encoded
from wmtp.models.architectures.load import StoredModules
from wmtp.models.placement import in_eval_mode, input_device

ENGINE_VERSION = "2"
"""Part of generation_key. It rises when a sample could come out differently."""


class DecodingEngine:
    """Decodes a causal language model of transformers, with drafts where it has something to draft with."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        identity: Mapping[str, str],
        origin: Mapping[str, str] | None = None,
        n_heads: int | None = None,
        speculative: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        parts: DecodingParts | None = None,
        stored: StoredModules | None = None,
        heads: HeadsFound | None = None,
    ) -> None:
        """Args:
        model: on its device. It is in eval mode while it is used, and each module in its own mode again afterwards.
        identity: what decides samples: the weights, not where they lay.
        origin: where that was, for the record.
        n_heads: heads to use, the next-token head included (``None``: all).
        speculative: ``auto``, ``off``, or ``always``: drafts are made also where they cost more than they save.
        batch_size: rows decoded together; ``None``: planned from free memory.
        threads: of the CPU, while it decodes; ``None``: as many as torch has.
        parts: target and drafter of the model; ``None``: as it can be seen from the model itself, and from `stored`.
        stored: sequential modules behind it. heads: what was found of heads, used or not.

        Raises:
            GenerationError: for more heads than there are.
        """
        self._model, self._large, self._fused = model, large_layers(model), fused_layers(model)
        self._tokenizer = tokenizer
        self._device = input_device(model)
        self._parts = parts = parts or decoding_parts(model, stored)
        self._scoring: dict[int, Drafter] = {}
        self.stored_modules, self.heads = stored, heads or HeadsFound()
        self._depth = drafting_depth(parts, n_heads)
        self._drafts_asked = speculative == "always" or (n_heads or 0) > 1
        self._target = parts.target
        self._counters = Counters()
        self._ends, self._strange_ends = end_tokens(model, tokenizer)
        drafts = speculative != "off" and self._depth > 0
        self.path = ChosenPath("ragged") if parts.own_pace else choose_path(model, drafts=drafts)
        # Where rounding depends on the batch's shape, a choice by the clock would make runs differ.
        exact = self._device.type == "cpu" and model.dtype == torch.float32
        self._decoder = self._make_decoder(speculative, batch_size, may_stop_drafting=speculative != "always" and exact)
        # Speculation is not part of it: it changes no token.
        self.identity: Mapping[str, str] = {**identity, "engine": ENGINE_VERSION}
        self._threads = threads
        chosen = {} if threads is None else {"threads": str(threads)}
        told = {"heads": str(self.heads)} if self.heads is not heads and heads else {}
        self.origin: Mapping[str, str] = {**(origin or {}), **told, "decoding": self.path.path, **chosen}
        self._thinking_opened: set[SampleKey] = set()  # by the template, in the prompts of these

    def _make_decoder(
        self, speculative: str, batch_size: int | None, *, may_stop_drafting: bool
    ) -> RaggedDecoder | AlignedDecoder:
        """The decoder of the path that was chosen."""
        target, depth = self._target, 0 if speculative == "off" else self._depth
        shared: dict[str, Any] = {"device": self._device, "eos_ids": self._ends, "batch_size": batch_size}
        if self.path.stepper is None:
            drafter = self._drafter(depth)
            return RaggedDecoder(
                target, drafter, self._tokenizer, self._counters, may_stop_drafting=may_stop_drafting, **shared
            )
        self._counters.notes.append(f"Decoded {self.path.path}: {self.path.why}.")
        shared |= {"context": target.context, "vocabulary": target.rows}
        if depth and (why := self._cannot_draft(self.path.stepper)):
            self._counters.notes.append(f"Its heads do not draft ({why}); they are scored all the same.")
        elif depth and (drafter := self._drafter(depth)).depth:
            assert isinstance(self.path.stepper, OwnCache)
            assert isinstance(target, ListenedTarget)
            return DraftingDecoder(
                self.path.stepper, self._tokenizer, self._counters, target=target, drafter=drafter,
                may_stop_drafting=may_stop_drafting, **shared,
            )  # fmt: skip
        return AlignedDecoder(self.path.stepper, self._tokenizer, self._counters, **shared)

    def _cannot_draft(self, stepper: Stepper) -> str:
        """Why rows of equal length cannot draft; empty where they can."""
        if not isinstance(stepper, OwnCache):
            return "the model's own cache is not used"
        if not isinstance(self._target, ListenedTarget):
            return "only modules behind a trunk draft on this path"
        return compare_blocks(self._model, stepper)

    def _drafter(self, depth: int) -> Drafter:
        """What drafts: nothing where modules turn out, when they are read, to hold no numbers."""
        try:
            drafter = self._parts.drafter(depth)
        except ResourceError as error:
            why = f"not used: {error}"
            if self._drafts_asked:
                raise GenerationError(f"model.mtp asks for drafts, and the modules are {why}") from error
            self._parts, self._depth, self.stored_modules = decoding_parts(self._model), 0, None
            self.heads = attrs.evolve(self.heads, used=False, why=why)
            return self._parts.drafter(0)
        if isinstance(drafter, SequentialHeads):
            self._large = [*self._large, *large_layers(drafter.modules)]
            self._fused = [*self._fused, *fused_layers(drafter.modules)]
        return drafter

    def _scoring_drafter(self, depth: int | None) -> Drafter:
        """All heads, whether they draft or not."""
        wanted = self._depth if depth is None else drafting_depth(self._parts, depth + 1)
        if wanted not in self._scoring:
            self._scoring[wanted] = self._parts.drafter(wanted)
        return self._scoring[wanted]

    @property
    def depth(self) -> int:
        """Draft steps that it was made with, whether they are taken or not."""
        return self._depth

    @property
    def max_depth(self) -> int:
        """Draft steps that its heads can be run for."""
        return self._parts.max_depth

    @property
    def context(self) -> int:
        """Positions that the model takes."""
        return self._target.context

    @property
    def drafts(self) -> bool:
        """Whether its path takes drafts."""
        return self._depth > 0 and isinstance(self._decoder, RaggedDecoder | DraftingDecoder)

    @property
    def batch_invariant(self) -> bool:
        """Elsewhere logits vary with the batch they are computed in, and so, now and then, does a sample."""
        plain = (self.identity.get("device"), self.identity.get("dtype")) == ("cpu", "float32")
        return plain and "quantised" not in self.identity

    @property
    def stats(self) -> GenerationStats:
        return self._counters.stats()

    def head_scores(self, prompt: str | Sequence[Message], text: str) -> HeadScores:
        """How each head predicts `text` behind the prompt. Raises GenerationError where the two do not fit the context."""
        with torch.inference_mode(), in_eval_mode(self._model):
            return head_scores(self.known_text(*self.tokens(prompt, text)))

    def tokens(self, prompt: str | Sequence[Message], text: str) -> tuple[list[int], int]:
        """The tokens of a text behind its prompt, and where it begins in them."""
        before = self._encode(prompt)
        if isinstance(prompt, str):
            ids = self._encode(prompt + text)
            # Where the text begins, a token may reach across: from the first that differs, all is scored.
            return ids, next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), len(before))
        answer = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*before, *answer], len(before)

    def known_text(self, ids: Sequence[int], start: int, depth: int | None = None) -> KnownText:
        """Every head, run over these tokens. To be called in inference mode.

        Args:
            start: where the text that is to be predicted begins.
            depth: draft steps; ``None``: as many as the engine was made with.
        """
        if len(ids) > self._target.context or start >= len(ids):
            raise GenerationError(f"{len(ids)} tokens of prompt and text, for a context of {self._target.context}")
        with running_on(self._threads), in_eval_mode(self._model):
            return known_text(self._target, self._scoring_drafter(depth), ids, max(1, start), self._device)

    def generate(self, requests: Iterable[GenerationRequest], sampling: Sampling) -> Iterator[Completion]:
        """Completions as they finish. A prompt that does not fit the context is an ``error`` completion.

        Raises GenerationError for `Sampling.extra`: this engine knows nothing beyond the named fields.
        """
        if sampling.extra:
            raise GenerationError(
                f"eval.sampling.extra: this engine knows no {', '.join(map(repr, sorted(sampling.extra)))}"
            )
        note = not_applied(self._model, sampling, self._strange_ends)
        if note and note not in self._counters.notes:
            self._counters.notes.append(note)
        aligned = isinstance(self._decoder, AlignedDecoder)
        queue = WaitingQueue(requests, self._tokenize, shortest_first=aligned)
        steps = self._decoder.decode(queue, sampling)
        while True:
            # Left before each completion is handed out: what its reader does with torch is the reader's own.
            with (
                torch.inference_mode(),
                in_eval_mode(self._model),
                running_on(self._threads),
                skinny_products(self._large),
                fused(self._fused),
            ):
                completion = next(steps, None)
            if completion is None:
                return
            if completion.key in self._thinking_opened:
                completion = attrs.evolve(completion, extra={**completion.extra, "thinking_opened": True})
            yield completion

    def departures(
        self, request: GenerationRequest, sampling: Sampling, texts: Sequence[str]
    ) -> list[Departure | None]:
        """Where each text leaves what the model writes without cache, drafts and neighbours."""
        prompt = request.prompt or "" if request.messages is None else request.messages
        ids = self._begun(encoded(self._tokenizer, prompt, request.template_args)[0])
        found = []
        with torch.inference_mode(), in_eval_mode(self._model):
            for text in texts:
                tracer = Tracer(
                    target=self._target,
                    tokenizer=self._tokenizer,
                    device=self._device,
                    ends=self._ends,
                    request=request,
                    sampling=sampling,
                    prompt=ids,
                    budget=min(request.max_new_tokens, self._target.context - len(ids)),
                )
                found.append(tracer.departure(text))
        return found

    def _tokenize(self, request: GenerationRequest) -> list[int]:
        prompt = request.prompt or "" if request.messages is None else request.messages
        ids, opened = encoded(self._tokenizer, prompt, request.template_args)
        if opened:
            self._thinking_opened.add(request.key)
        return self._begun(ids)

    def _begun(self, ids: list[int]) -> list[int]:
        """A prompt without a token is the one that every text begins with, where there is such."""
        first = self._tokenizer.bos_token_id
        return ids or ([] if first is None else [first])

    def _encode(self, prompt: str | Sequence[Message]) -> list[int]:
        return self._begun(encoded(self._tokenizer, prompt)[0])
