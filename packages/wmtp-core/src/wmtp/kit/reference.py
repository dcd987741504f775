"""What a reference solution answers, for benchmarks that ship inputs and no outputs: computed once, apart, and kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import validators

from wmtp.contracts.judging import CallTests
from wmtp.errors import ConfigError
from wmtp.kit import reference_process

VERSION = 2
SECONDS = 900.0
NAMES = """
from collections import Counter, OrderedDict, deque
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
"""
"""Source of the names that the answers' sources use, for a test."""


@attrs.frozen(kw_only=True, slots=False)  # stands beside another base
class ReferenceLimits:
    """The settings of a benchmark whose programs answer what a reference answers; its own settings derive from it.

    Attributes:
        time_limit: CPU seconds that a program has for all inputs of a problem together, at least.
        time_factor: Where the reference takes long itself, a program has so many times its CPU seconds.
    """

    time_limit: float = attrs.field(default=10.0, validator=validators.gt(0))
    time_factor: float = attrs.field(default=4.0, validator=validators.gt(0))


@attrs.frozen(kw_only=True)
class ReferenceAnswers:
    """What a reference answers.

    Attributes:
        sources: Source of an equal value, for each input; its tests have the names that it uses.
        seconds: CPU time of all calls together.
    """

    sources: Sequence[str]
    seconds: float

    def tests(self, groups: Sequence[Sequence[Any]], right: str, head: str = "") -> tuple[str, ...]:
        """A test for each group of the inputs that is not empty, for `wmtp.CallTests`.

        Args:
            groups: The inputs that were answered, parted in their order.
            right: Source of an expression over ``_args`` and ``_wanted`` that calls the program.
            head: Source in front of the first test, which may define what `right` uses.

        Raises:
            ValueError: all groups are empty.
        """
        found, start = [], 0
        for inputs in groups:
            wanted = ", ".join(self.sources[start : start + len(inputs)])
            start += len(inputs)
            if inputs:
                found.append(f"for _args, _wanted in zip({inputs}, [{wanted}], strict=True):\n    assert {right}\n")
        if not found:
            raise ValueError("no inputs, so every program would pass")
        found[0] = f"{head}{NAMES}{found[0]}"
        return tuple(found)


def reference_answers(
    code: str, entry_point: str, inputs: Sequence[Sequence[Any]], *, problem: str
) -> ReferenceAnswers:
    """Run a reference on inputs, in a process of its own with limits (300 s of CPU, 4 GiB) and no sandbox.

    What it answers is kept in ``~/.cache/wmtp/references`` by the digest of code, inputs and Python's version.

    Args:
        code: The program. It is the data set's own, and runs with the user's rights.
        entry_point: The function that is called with each of `inputs`.
        inputs: Arguments of each call, plain data; a call gets a copy.
        problem: The problem's name, for messages.

    Raises:
        ConfigError: the reference fails, or answers with what is no plain data.
    """
    job = {
        "version": VERSION,
        "python": sys.version_info[:2],
        "code": code,
        "entry_point": entry_point,
        "inputs": repr(list(inputs)),
    }
    text = json.dumps(job)
    kept = _folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    try:
        return ReferenceAnswers(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = _computed(text, problem)
        _keep(kept, found)
        return found


def reference_tests(
    code: str,
    entry_point: str,
    groups: Sequence[Sequence[Sequence[Any]]],
    right: str,
    limits: ReferenceLimits,
    *,
    problem: str,
    head: str = "",
) -> CallTests:
    """How programs are judged that shall answer what a reference answers, see `reference_answers`.

    Args:
        code: The reference.
        entry_point: The function of it that answers.
        groups: The inputs; each group that is not empty is a test.
        right: Source of an expression, see `ReferenceAnswers.tests`.
        limits: The benchmark's settings.
        problem: The problem's name, for messages.
        head: Source that defines what `right` uses.

    Raises:
        ConfigError: the reference fails.
    """
    found = reference_answers(code, entry_point, [given for group in groups for given in group], problem=problem)
    seconds = max(limits.time_limit, math.ceil(limits.time_factor * found.seconds))
    return CallTests(tests=found.tests(groups, right, head), time_limit=seconds)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "wmtp" / "references"


def _computed(job: str, problem: str) -> ReferenceAnswers:
    command = [sys.executable, "-s", "-P", reference_process.__file__]
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}  # as the judge has it: sets of words come in one order
    if "LD_LIBRARY_PATH" in os.environ:  # some interpreters do not start without it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    with tempfile.TemporaryDirectory(prefix="wmtp-reference-") as folder:
        try:
            done = subprocess.run(
                command,
                input=job,
                capture_output=True,
                text=True,
                encoding="utf-8",
                cwd=folder,
                env=environment,
                timeout=SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{problem}: its reference takes longer than {SECONDS:.0f} s") from None
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [f"ended with status {error.returncode}"])[-1]
            raise ConfigError(f"{problem}: its reference gives no answers to compare with: {last[:300]}") from None
    return ReferenceAnswers(**json.loads(done.stdout))


def _keep(path: Path, found: ReferenceAnswers) -> None:
    """Written beside and moved into place. A cache that cannot be written costs time and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as file:
            json.dump(attrs.asdict(found), file)
        os.replace(file.name, path)
    except OSError:
        return
