"""Answers that count and are odd all the same: empty ones, and those that do not keep to the length that was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import wmtp
from wmtp_openai.answers import Answer

PROMPT = 32
"""Letters of a prompt from which on nobody begins an answer with it by chance."""


class Oddities:
    """Counts them, to be told once at the end. Touched by the loop's thread alone; read by others."""

    def __init__(self) -> None:
        self._empty = self._thought = self._uncounted = self._cut = self._long = 0
        self._longest_cut = 0
        self._repeats = 0
        self._restarts: dict[str, None] = {}

    def add(self, request: wmtp.GenerationRequest, answer: Answer, *, cut: bool) -> None:
        """Takes note of an answer. cut: the server says that it ended at its length."""
        most, tokens = request.max_new_tokens, answer.tokens
        self._repeats += bool(
            request.prompt and len(request.prompt) >= PROMPT and answer.text.startswith(request.prompt)
        )
        if not answer.text.strip():
            self._empty += 1
            self._thought += "reasoning" in answer.extra
        if not tokens:
            self._uncounted += bool(answer.text)
        elif cut and tokens < most - 1:
            self._cut += 1
            self._longest_cut = max(self._longest_cut, tokens)
        elif tokens > most + 1:  # some count the token that ended it
            self._long += 1

    def restarted(self, url: str, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Takes note of what a server that was away says of itself, where it is not what it said before."""
        for name in sorted(before.keys() & now.keys()):
            if before[name] != now[name]:
                told = f"{url} was away, and is another since: {name} {now[name]}, before {before[name]}"
                self._restarts[told] = None

    def notes(self) -> list[str]:
        """A line for each kind that was seen."""
        thought = f", {self._thought} of them with reasoning alone" if self._thought else ""
        told = (
            (self._empty, f"the server's answer is empty {self._empty} times{thought}; they count as answers"),
            (
                self._cut,
                f"{self._cut} answers were cut off before max_new_tokens, after {self._longest_cut} tokens at most: by the "
                "server's context, or by a limit of its own",
            ),
            (
                self._long,
                f"{self._long} answers are longer than max_new_tokens: the server does not keep to max_tokens",
            ),
            (
                self._repeats,
                f"{self._repeats} answers begin with the whole prompt: the server repeats what it was asked, or the model does",
            ),
            (self._uncounted, f"the server did not count the tokens of {self._uncounted} answers"),
        )
        return [*(line for count, line in told if count), *self._restarts]
