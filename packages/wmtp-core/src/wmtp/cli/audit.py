"""``wmtp audit``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wmtp.cli.options import Finite, run_options, with_judge
from wmtp.cli.session import Session, echo_json, plugins_print_aside

if TYPE_CHECKING:
    from wmtp.contracts.engines import Departure
    from wmtp.evaluation.audit import Audit, Difference

SHOWN = 10


@click.command("audit")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--against", metavar="REFERENCE", help="Another engine of the same model, instead of the model without drafts."
)
@click.option(
    "--equivalent",
    type=Finite(0, 1, min_open=True, max_open=True),
    default=0.02,
    show_default=True,
    metavar="D",
    help="Differences of pass@1 that do not matter.",
)
@run_options
@click.option("--fresh", is_flag=True, help="Start both sides again: what they hold is deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON.")
@click.pass_obj
def command(
    session: Session,
    config: str,
    recipe: str,
    against: str | None,
    equivalent: float,
    overrides: tuple[str, ...],
    judge: str | None,
    runs: str,
    fresh: bool,
    as_json: bool,
) -> int:
    """Say whether drafts change what a model writes: every request of RECIPE with them, and without.

    Exit status 1 where texts differ by more than rounding explains. The sides are runs, and go on where they stopped.
    """
    from wmtp.cli.show import progress
    from wmtp.config import load_configuration
    from wmtp.evaluation.audit import audit
    from wmtp.runs.printable import printable

    settings = with_judge(overrides, judge)
    configuration, structured = load_configuration(config, recipe, plugins=session.plugins, overrides=settings)
    with plugins_print_aside(), progress() as report:
        found = audit(
            configuration,
            structured,
            against=against,
            equivalent=equivalent,
            plugins=session.plugins,
            progress=report,
            runs=Path(runs),
            fresh=fresh,
        )
    if as_json:
        echo_json(found.to_json())
    else:
        click.echo(printable("\n".join(lines(found))))
    return 0 if found.passed else 1


def lines(found: Audit) -> Iterator[str]:
    """What people read."""
    share = f" ({found.equal / found.samples:.1%})" if found.samples else ""
    yield f"{found.equal} of {found.samples} texts are equal{share}: {found.sides[0]} (a), {found.sides[1]} (b)"
    for side, acceptance in zip("ab", found.acceptance, strict=True):
        if acceptance:
            yield f"  drafts of {side} accepted, by head: " + ", ".join(
                "-" if a is None else f"{a:.1%}" for a in acceptance
            )
    for one in sorted(found.differences, key=lambda d: d.near_tie is True)[:SHOWN]:
        yield f"  {one.key.evaluator} problem {one.key.problem}, sample {one.key.index}: {_kind(one)}"
        for side, departure, asked in (("a", one.a, one.asked[0]), ("b", one.b, one.asked[1])):
            if departure is not None:
                yield f"    {side}: {_told(departure, asked)}"
    if found.left_out:
        yield f"  {found.left_out} more that differ were not looked at"
    yield from found.notes
    # Of equal texts there is nothing to be undecided about.
    if found.comparison is not None and found.equal < found.samples:
        from wmtp.comparison.table import lines as table

        yield from table(found.comparison)
    yield _verdict(found)


def _kind(one: Difference) -> str:
    kind = {True: "a near tie", False: "NOT a near tie", None: "differs; nobody can tell why"}[one.near_tie]
    a, b = (repr(text) if text else "nothing more" for text in one.written)
    return f"{kind}; from character {one.character} on a writes {a} and b {b}"


def _told(departure: Departure, asked: str) -> str:
    other = repr(departure.other) if departure.other else "none of the likely tokens"
    engine = repr(departure.engine) if departure.engine else "the end"
    margin = "not known" if departure.margin is None else f"{departure.margin:.2g}"
    least = "at least " if departure.margin is not None and not departure.other else ""
    return (
        f"token {departure.position}: {other} instead of {engine}, which {asked} writes there by a margin of {least}{margin}; "
        f"rounding there moves scores by {departure.rounding:.1g}"
    )


def _verdict(found: Audit) -> str:
    if found.faults:
        return f"FAULT: {len(found.faults)} texts differ by more than rounding"
    if found.unexplained and not found.sampled:
        return f"NOT EXPLAINED: {len(found.unexplained)} texts differ, and it is not known whether rounding can have done it"
    if found.unexplained:
        ends = "pass@1 differs" if not found.passed else "no difference of pass@1 is shown"
        return f"Texts were drawn under noise that nobody knows here, so they differ; {ends}."
    return "No text differs." if found.equal == found.samples else "No text differs beyond near ties."
