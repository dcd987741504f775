"""Options that several commands have, with one wording and one meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number of a range, never nan or infinite: to these every comparison says no, or every bound is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number that can be used here.", param, ctx)
        return number


def run_options(command: Command) -> Command:
    """``--set``, ``--judge`` and ``--runs``: the arguments ``overrides``, ``judge`` and ``runs`` of a command that judges."""
    for option in (
        click.option("--runs", type=click.Path(file_okay=False), default="runs", help="Folder of run directories."),
        click.option("--judge", type=click.Choice(["strict", "process", "auto"]), help="Level of the sandbox."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. eval.limit=20."
        ),
    ):
        command = option(command)
    return command


def with_judge(overrides: Sequence[str], judge: str | None) -> list[str]:
    """What ``--set`` gave, and ``--judge`` as the key that it stands for."""
    return [*overrides, *([f"judging.level={judge}"] if judge else [])]
