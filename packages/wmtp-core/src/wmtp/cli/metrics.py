"""``wmtp metrics``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import click

from wmtp.cli.session import Session, echo_json


@click.command(name="metrics")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """List the metrics that the installed plugins answer for.

    {k} stands for any positive number: mbpp_pass@{k} is asked for as mbpp_pass@1, mbpp_pass@10, and so on. {1..8} stands
    for each of these numbers.
    """
    plugins = session.plugins
    claimed = [o for owners in plugins.evaluators.conflicts.values() for o in owners]
    rows = [
        {"metric": metric, "evaluator": o.spec.id, "dataset": o.spec.dataset, "distribution": o.distribution,
         "summary": o.spec.descriptions.get(metric, o.spec.summary)}
        for o in [*plugins.evaluators.values(), *claimed]
        for metric in o.spec.metrics
    ]  # fmt: skip
    rows.sort(key=lambda row: (str(row["metric"]), str(row["distribution"])))
    if as_json:
        echo_json({"metrics": rows})
        return
    if not rows:
        click.echo("no installed plugin answers for a metric; one that does: pip install wmtp-eval-mbpp", err=True)
    shown = list(_joined(rows))
    width = max((len(name) for name, _ in shown), default=0)
    for name, row in shown:
        click.echo(f"{name:<{width}}  {row['evaluator']} ({row['distribution']}): {row['summary']}")


def _joined(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One line for metrics that differ in a number alone and are described alike: ``mbpp_head{1..8}_loss``."""

    def form(row: dict[str, Any]) -> tuple[str, ...]:
        return (re.sub(r"\d+", "0", row["metric"]), row["evaluator"], row["distribution"], row["summary"])

    for _, alike in groupby(sorted(rows, key=form), key=form):
        found = list(alike)
        names = [re.split(r"(\d+)", row["metric"]) for row in found]  # every second part is a number
        vary = [i for i, parts in enumerate(zip(*names, strict=True)) if len(set(parts)) > 1]
        numbers = sorted(int(parts[vary[0]]) for parts in names) if len(vary) == 1 else []
        if numbers and numbers == list(range(numbers[0], numbers[0] + len(found))):
            names[0][vary[0]] = f"{{{numbers[0]}..{numbers[-1]}}}"
            yield "".join(names[0]), found[0]
        else:
            yield from ((row["metric"], row) for row in found)
