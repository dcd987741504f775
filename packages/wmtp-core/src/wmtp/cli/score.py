"""``wmtp score``."""

from __future__ import annotations

import click

from wmtp.cli.options import run_options, with_judge
from wmtp.cli.session import Session


@click.command("score")
@click.argument("samples", type=click.Path(exists=True, dir_okay=False))
@click.option("--benchmark", required=True, help="An evaluator id, or its data set's name: mbpp-v1, mbpp.")
@click.option("--data", type=click.Path(exists=True), help="File or folder of the data set.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="A config.yaml; the defaults do without.")
@run_options
@click.option("--fresh", is_flag=True, help="Judge all of them again.")
@click.option("--json", "as_json", is_flag=True, help="Print the object of results.json.")
@click.pass_obj
def command(
    session: Session,
    samples: str,
    benchmark: str,
    data: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    judge: str | None,
    runs: str,
    fresh: bool,
    as_json: bool,
) -> int:
    """Judge SAMPLES, which are already written, and report their metrics.

    SAMPLES is a samples file of a run directory, human-eval's or EvalPlus's jsonl, or bigcode's generations.json.
    """
    from wmtp.cli.show import told
    from wmtp.evaluation.score import score

    settings = with_judge(overrides, judge)
    with told(as_json=as_json) as shown:
        results = score(
            samples,
            benchmark,
            config=config,
            data=data,
            overrides=settings,
            plugins=session.plugins,
            progress=shown.progress,
            runs=runs,
            fresh=fresh,
            finished=shown.finished,
        )
    return 0 if results.complete else 1
