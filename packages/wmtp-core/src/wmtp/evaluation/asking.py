"""What problems are asked with, and what is done where that does not fit the model's context (``eval.too_long``)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from wmtp.contracts.engines import Message
from wmtp.contracts.evaluation import Sample, TooLong

Prompt = str | list[Message]
MAX_NAMED_PROBLEMS = 5
DONE: Mapping[str, str] = {
    "error": "not there (eval.too_long: fail would count them as failed; fewer-shots asks with fewer solved examples)",
    "fail": "counted as failed (eval.too_long: fail)",
    "fewer-shots": "asked with fewer solved examples (eval.too_long: fewer-shots)",
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest(prompt: Prompt) -> str:
    """Digest of a prompt: of its text, or of its turns as JSON."""
    return sha256(prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False))


class Asking:
    """The prompt of each problem, and which samples belong to it.

    Attributes:
        given: Problem → what its samples are asked with now.
        left_out: Problem → how many solved examples fewer that has than the benchmark's own prompt.
        digests: Problem → digest of the benchmark's own prompt.
    """

    def __init__(
        self, own: Mapping[str, Prompt], prompts: Callable[[str], Iterator[Prompt]], too_long: TooLong
    ) -> None:
        """Take the problems on.

        Args:
            own: Problem → its prompt.
            prompts: Problem → its prompt, then the same with fewer and fewer solved examples.
            too_long: What is done where one does not fit.
        """
        self.given: dict[str, Prompt] = dict(own)
        self.left_out: dict[str, int] = {}
        self.digests = {problem: digest(prompt) for problem, prompt in own.items()}
        self._prompts, self._too_long = prompts, too_long
        self._shorter: dict[str, list[Prompt]] = {}
        self._given_digests: dict[str, str] = dict(self.digests)

    def digest(self, problem: str) -> str:
        """Digest of what a problem is asked with now."""
        return self._given_digests[problem]

    def belongs(self, sample: Sample) -> bool | None:
        """Whether a stored sample is one of those that are wanted. ``False``: it is made again, since `too_long` was
        otherwise then. ``None``: its prompt is not this problem's at all."""
        problem = sample.key.problem
        if sample.prompt_sha256 == self.digests[problem]:
            return sample.finish_reason != "too-long" or self._too_long == "fail"
        for fewer, prompt in enumerate(self._shorter_of(problem), 1):
            if sample.prompt_sha256 == digest(prompt):
                if self._too_long == "fewer-shots":
                    self._give(problem, prompt, fewer)
                return self._too_long == "fewer-shots"
        return None

    def shorten(self, problem: str) -> bool:
        """Take a solved example out of a problem's prompt. False where none is left, or none may be taken out."""
        fewer = self.left_out.get(problem, 0)
        if self._too_long != "fewer-shots" or fewer >= len(self._shorter_of(problem)):
            return False
        self._give(problem, self._shorter_of(problem)[fewer], fewer + 1)
        return True

    def _give(self, problem: str, prompt: Prompt, fewer: int) -> None:
        self.given[problem], self.left_out[problem] = prompt, fewer
        self._given_digests[problem] = digest(prompt)

    def _shorter_of(self, problem: str) -> list[Prompt]:
        if problem not in self._shorter:
            self._shorter[problem] = list(self._prompts(problem))[1:]
        return self._shorter[problem]


class TooLongCount:
    """Samples whose prompt was too long, by what was done, and of which problems."""

    def __init__(self) -> None:
        """Begin with none."""
        self._samples: Counter[str] = Counter()
        self._problems: dict[str, dict[str, None]] = {}

    def add_absent(self, problem: str) -> None:
        """A sample of this problem that is not there because of it."""
        self._add("error", problem)

    def add(self, sample: Sample) -> None:
        """A sample that counts."""
        if sample.finish_reason == "too-long":
            self._add("fail", sample.key.problem)
        elif sample.extra.get("shots_left_out"):
            self._add("fewer-shots", sample.key.problem)

    def _add(self, what: str, problem: str) -> None:
        self._samples[what] += 1
        self._problems.setdefault(what, {})[problem] = None

    @property
    def counts(self) -> dict[str, int]:
        return {what: self._samples[what] for what in DONE if what in self._samples}

    def notes(self) -> Iterator[str]:
        """A line for each thing that was done."""
        for what, count in self.counts.items():
            problems = list(self._problems[what])
            named = ", ".join(problems[:MAX_NAMED_PROBLEMS]) + (", …" if len(problems) > MAX_NAMED_PROBLEMS else "")
            yield (
                f"{count} sample{'s' if count > 1 else ''} of {len(problems)} problem{'s' if len(problems) > 1 else ''} "
                f"({named}): the prompt does not fit the model's context; {DONE[what]}"
            )
