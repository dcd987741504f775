"""``wmtp eval``."""

from __future__ import annotations

import json
import os

import click

from wmtp.cli.options import run_options, with_judge
from wmtp.cli.session import Session


@click.command("eval")
@click.argument("config", required=False, type=click.Path(exists=True, dir_okay=False))
@click.argument("recipe", required=False, type=click.Path(exists=True, dir_okay=False))
@run_options
@click.option(
    "--until-decided",
    "against",
    type=click.Path(exists=True, file_okay=False),
    metavar="RUN",
    help="Stop sampling once it stands whether this is better than RUN, worse, or equivalent (eval.against).",
)
@click.option(
    "--difference",
    type=float,
    metavar="D",
    help="With --until-decided: the difference to look for (eval.decide.difference; 0.02 is two points).",
)
@click.option("--fresh", is_flag=True, help="Start the run again: what it holds is deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print the object of results.json.")
@click.pass_obj
def command(
    session: Session,
    config: str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    judge: str | None,
    runs: str,
    against: str | None,
    difference: float | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Evaluate a model: CONFIG says where things are, RECIPE what to run.

    The run lives in runs/<run name>/. The same command goes on where a stopped one left off.
    """
    from wmtp.cli.show import told
    from wmtp.config import load_configuration
    from wmtp.errors import ConfigError
    from wmtp.evaluation.driver import evaluate

    if difference is not None and against is None:
        raise click.UsageError("--difference belongs to --until-decided RUN; a recipe says eval.decide.difference")
    settings = [
        *with_judge(overrides, judge),
        *([f"eval.against={json.dumps(os.path.abspath(against))}"] if against is not None else []),
        *([f"eval.decide.difference={difference}"] if difference is not None else []),
    ]
    configuration, structured = load_configuration(config, recipe, plugins=session.plugins, overrides=settings)
    if recipe is None and not structured.eval.metrics:
        raise ConfigError(
            "no recipe was given: it says which model to run, and which metrics are wanted. The command line reads\n"
            f"  wmtp eval {config or 'config.yaml'} recipe.yaml\n"
            "and --set can stand for a recipe: --set model.base_id=org/name --set 'eval.metrics=[mbpp_pass@1]'"
        )
    with told(as_json=as_json) as shown:
        results = evaluate(
            configuration,
            structured,
            plugins=session.plugins,
            progress=shown.progress,
            runs=runs,
            fresh=fresh,
            finished=shown.finished,
        )
    return 0 if results.complete else 1
