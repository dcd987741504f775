"""``wmtp metrics``."""

from __future__ import annotations

import click

from wmtp.cli.session import Session, echo_json


@click.command(name="metrics")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """List the metrics that the installed plugins answer for.

    {k} stands for any positive number: mbpp_pass@{k} is asked for as mbpp_pass@1, mbpp_pass@10, and so on.
    """
    plugins = session.plugins
    claimed = [o for owners in plugins.evaluators.conflicts.values() for o in owners]
    rows = [
        {"metric": metric, "evaluator": o.spec.id, "dataset": o.spec.dataset, "distribution": o.distribution,
         "summary": o.spec.summary}
        for o in [*plugins.evaluators.values(), *claimed]
        for metric in o.spec.metrics
    ]  # fmt: skip
    rows.sort(key=lambda row: (str(row["metric"]), str(row["distribution"])))
    if as_json:
        echo_json({"metrics": rows})
        return
    if not rows:
        click.echo("no installed plugin answers for a metric; one that does: pip install wmtp-eval-mbpp", err=True)
    width = max((len(str(row["metric"])) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['metric']:<{width}}  {row['evaluator']} ({row['distribution']}): {row['summary']}")
